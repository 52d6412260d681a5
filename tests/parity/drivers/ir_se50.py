"""Driver of the IR-SE50 cards: the face network and the identity energy on it."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from latentzoo.energies.identity import Identity
from latentzoo.guides.arcface import UNITS, ArcFace, crop, read_reference
from latentzoo.hub.keys import Rule


def build(config: dict[str, Any]) -> nn.Module:
    return ArcFace(tuple(config.get("units") or UNITS))


def rules(network: nn.Module, config: dict[str, Any]) -> list[Rule]:
    return [Rule("{name*}", "{name}")]


def manifest(config: dict[str, Any]) -> tuple[nn.Module, list[Rule]]:
    return build(config), rules(nn.Module(), config)


def call(
    network: nn.Module,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    if name.startswith("reference"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "reference.png"
            (picture,) = inputs.values()
            Image.fromarray(picture.numpy().astype(np.uint8)).save(path)
            return {f"{name}_out": read_reference(path)[0]}
    if name == "embed":
        return {"embedding": network(inputs["face"])}
    if name == "crop":
        return {"cropped": crop(inputs["wide"])}
    (image_name,) = (key for key in inputs if key.startswith("image"))
    suffix, image = image_name.removeprefix("image"), inputs[image_name]
    energy = Identity(network, list(inputs["references"].split(1)))
    value = energy(image.requires_grad_())
    out = {f"energy{suffix}": value}
    if options.get("gradient", True):
        (out[f"grad_image{suffix}"],) = torch.autograd.grad(value.sum(), image)
    return out
