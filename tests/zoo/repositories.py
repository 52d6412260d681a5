"""Tiny random repositories in the layout of Hugging Face diffusers, loaded as latentzoo loads them."""

import shutil
from pathlib import Path

import pytest
import torch

from latentzoo.diffusion.generator import Diffusion
from latentzoo.hub.keys import translate
from latentzoo.hub.read import read
from laws import randomise

diffusers = pytest.importorskip("diffusers")

UNET = {
    "sample_size": 4,
    "block_out_channels": (8, 8),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": 8,
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
}
NCSNPP = {
    **UNET,
    "block_out_channels": (32, 32),
    "time_embedding_type": "fourier",
    "down_block_types": ("SkipDownBlock2D", "SkipDownBlock2D"),
    "up_block_types": ("SkipUpBlock2D", "SkipUpBlock2D"),
}


def network(config=UNET):
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(**config)
    randomise(unet)
    return unet


def repository(folder: Path, unet, scheduler, pipeline=None) -> Path:
    """Writes a pipeline as its authors would."""
    (pipeline or diffusers.DDPMPipeline)(unet=unet, scheduler=scheduler).save_pretrained(folder)
    return folder


def flatten(folder: Path) -> Path:
    """Moves the components to the root, as the repositories of 2022 have them."""
    for component in ("unet", "scheduler"):
        for file in (folder / component).iterdir():
            shutil.move(file, folder / file.name)
        (folder / component).rmdir()
    return folder


def load(family, folder: Path, **options) -> Diffusion:
    """Reads a folder, recognises it and fills its generator, strictly."""
    checkpoint = read(folder)
    found = family.infer(checkpoint)
    generator = family.build(**found["config"], **options)
    rules = family.KEYS[found["keys"]](generator)
    generator.load_state_dict(translate(checkpoint.tensors, rules), strict=True)
    return generator.eval().requires_grad_(False)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
