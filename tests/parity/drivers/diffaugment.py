"""Driver of the augmentation cards: every policy of DiffAugment with its draws as inputs."""

from typing import Any

import torch
from torch import Tensor, nn

from latentzoo.energies import augment
from latentzoo.hub.keys import Rule


def build(config: dict[str, Any]) -> nn.Module:
    return nn.Identity()


def rules(network: nn.Module, config: dict[str, Any]) -> list[Rule]:
    return []


def call(
    network: nn.Module,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    image = inputs["image"].requires_grad_("probe" in inputs)
    draw = {key: inputs[source] for key, source in options["draws"].items()}
    per_image = lambda u: u.reshape(-1).expand(len(image))
    steps = {
        "color": lambda x: augment.colour(
            x, *(draw[key].reshape(-1) for key in ("brightness", "saturation", "contrast"))
        ),
        "translation": lambda x: augment.translate(
            x, draw["shift_rows"].reshape(-1).long(), draw["shift_cols"].reshape(-1).long()
        ),
        "resize": lambda x: augment.resize(x, per_image(draw["resize_u"])),
        "cutout": lambda x: augment.cutout(
            x, draw["cut_rows"].reshape(-1).long(), draw["cut_cols"].reshape(-1).long()
        ),
    }
    x = image
    for policy in options["policy"].split(","):
        x = steps[policy](x)
    out = {f"{name}_out": x}
    if "probe" in inputs:
        (out[f"{name}_grad"],) = torch.autograd.grad((x * inputs["probe"]).sum(), image)
    return out
