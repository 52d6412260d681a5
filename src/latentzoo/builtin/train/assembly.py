"""Puts the trained parts of the text-to-image pipeline together, in the folder that diffusers reads.

    python -m latentzoo.builtin.train.assembly [train] [OUT]

takes the weights of `avatar-t2i-text`, `avatar-t2i-autoencoder` and `avatar-t2i` where `latentzoo-train` left them.
"""

import argparse
from pathlib import Path

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from safetensors.torch import load_file
from torch import Tensor

from latentzoo.builtin.networks import text_to_image as parts


def assemble(text: Path, autoencoder: Path, denoiser: Path, out: Path) -> StableDiffusionPipeline:
    """Writes the pipeline of three weight files, in half precision.

    Arguments:
        text: What the recipe `grammar` exports.
        autoencoder: What the recipe `kl` exports.
        denoiser: What the recipe `captioned` exports.
        out: The folder.
    """
    words = parts.tokenizer()
    encoder = parts.text_encoder(len(words))
    encoder.load_state_dict(_below(load_file(text), "encoder."))
    pair, network = parts.autoencoder(), parts.denoiser()
    pair.load_state_dict(_below(load_file(autoencoder)))
    network.load_state_dict(_below(load_file(denoiser)))
    pipe = StableDiffusionPipeline(
        vae=pair.eval(),
        text_encoder=encoder.eval(),
        tokenizer=words,
        unet=network.eval(),
        scheduler=parts.scheduler(),
        safety_checker=None,  # pyright: ignore[reportArgumentType]
        feature_extractor=None,  # pyright: ignore[reportArgumentType]
        requires_safety_checker=False,
    )
    pipe.to(dtype=torch.float16).save_pretrained(out)
    return pipe


def _below(values: dict[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    return {k.removeprefix(prefix): x.float() for k, x in values.items() if k.startswith(prefix)}


def main() -> None:
    """Reads where the weights are and where the folder goes."""
    parser = argparse.ArgumentParser(description="Puts the text-to-image pipeline together.")
    parser.add_argument("train", nargs="?", type=Path, default=Path("train"))
    parser.add_argument("out", nargs="?", type=Path, default=Path("avatar-t2i"))
    given = parser.parse_args()
    text, pair, denoiser = (
        given.train / f"avatar-t2i{part}" / "weights.safetensors"
        for part in ("-text", "-autoencoder", "")
    )
    assemble(text, pair, denoiser, given.out)


if __name__ == "__main__":
    main()
