"""Driver of the cards of CLIP by OpenAI's tensor names: networks, preprocessing, and the guidance energy."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from latentzoo.energies.augment import Draws
from latentzoo.energies.clip import Clip
from latentzoo.guides.clip import CLIP
from latentzoo.guides.text_image import OpenAI, TextImage
from latentzoo.hub.keys import Rule

DRAWS = {
    "brightness": "brightness",
    "saturation": "saturation",
    "contrast": "contrast",
    "shift_rows": "shift_rows",
    "shift_cols": "shift_cols",
    "resize": "resize_u",
    "cut_rows": "cut_rows",
    "cut_cols": "cut_cols",
}


def build(config: dict[str, Any]) -> nn.Module:
    return CLIP(**config)


def rules(network: nn.Module, config: dict[str, Any]) -> list[Rule]:
    sizes = ("input_resolution", "context_length", "vocab_size")
    return [*(Rule(name, None) for name in sizes), Rule("{name*}", "{name}")]


def manifest(config: dict[str, Any]) -> tuple[nn.Module, list[Rule]]:
    return build(config), rules(nn.Module(), config)


class Given(TextImage):
    """A text-image model whose text is given as token numbers."""

    def __init__(self, model: TextImage, tokens: Tensor) -> None:
        super().__init__(model.preprocess)
        self.model, self.tokens = model, tokens

    def encode_image(self, pixels: Tensor) -> Tensor:
        return self.model.encode_image(pixels)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return self.model.network.encode_text(self.tokens)


def call(
    network: nn.Module,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    return run(OpenAI(network), network.encode_text, name, inputs, options, Given)


def run(model, encode_text, name: str, inputs, options, given) -> dict[str, Tensor]:
    """One call on any text-image model; `given(model, tokens)` takes token numbers for its text."""
    suffix = "_antialias" if options.get("antialias") else ""
    if name == "text":
        return {"text_features": encode_text(inputs["tokens"].long())}
    if name == "vision":
        return {"image_features": model.encode_image(inputs["pixels"])}
    if name.startswith("preprocess"):
        return {
            f"net_input{suffix}": model.preprocess(
                inputs["oblong"], antialias=options["antialias"]
            )
        }
    image = inputs["image"].requires_grad_()
    energies = []
    for b in range(len(image)):
        draws = {field: inputs[source][b] for field, source in DRAWS.items()}
        draws["resize"] = draws["resize"].expand(options["replicate"])
        for field in ("shift_rows", "shift_cols", "cut_rows", "cut_cols"):
            draws[field] = draws[field].long()
        energy = Clip(
            "as given",
            given(model, inputs["tokens"].long()),
            antialias=options["antialias"],
            draws=Draws(**draws),
        )
        energies.append(energy(image[b : b + 1]))
    value = torch.cat(energies) * sum(options["clip_model_weights"])
    (gradient,) = torch.autograd.grad(value.sum(), image)
    return {f"energy{suffix}": value, f"grad_image{suffix}": gradient}
