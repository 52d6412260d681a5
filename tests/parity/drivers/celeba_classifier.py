"""Driver of the CelebA classifier cards: the network and the class energy on it."""

from typing import Any

import torch
from torch import Tensor, nn

from latentzoo.energies.attribute import Attribute
from latentzoo.guides.resnet import LAYERS, AttributeClassifier
from latentzoo.hub.keys import Rule


def build(config: dict[str, Any]) -> nn.Module:
    return AttributeClassifier(
        tuple(config.get("layers") or LAYERS), config.get("hidden_size", 2048)
    )


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
    (image,) = inputs.values()
    wanted = [bool(b) for b in options.get("binaries", [1])]
    energy = Attribute(
        [network], wanted, options.get("weights"), antialias=options["antialias"], exact=False
    )
    if name.startswith("logit"):
        return {name: energy.logits(image)}
    value = energy(image.requires_grad_())
    suffix = name.removeprefix("class_energy")
    out = {f"energy{suffix}": value}
    if options.get("gradient", True):
        (out[f"grad_image{suffix}"],) = torch.autograd.grad(value.sum(), image)
    return out
