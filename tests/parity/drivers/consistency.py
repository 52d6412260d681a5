"""Consistency models and the diffusion models behind them: their U-Net, and its chains with noises as inputs."""

from typing import Any

import torch
from torch import Tensor

from latentzoo.hub.keys import Rule
from latentzoo.zoo import consistency
from latentzoo.zoo.consistency import ConsistencyModel


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `build` that a card's configuration means, chains apart."""
    return {
        "width": config["model_channels"],
        "mult": config["channel_mult"],
        "depth": config["num_res_blocks"],
        "attention": config["attention_resolutions"],
        "channels": config["in_channels"],
        "classes": config["num_classes"] or 0,
        "modulate": config["use_scale_shift_norm"],
        "resample": config["resblock_updown"],
        "head_width": config["num_head_channels"],
        "resolution": config["image_size"],
    }


def build(config: dict[str, Any]) -> ConsistencyModel:
    return consistency.build(**settings(config))


def rules(network: ConsistencyModel, config: dict[str, Any]) -> list[Rule]:
    return consistency.KEYS["official"](network)


def manifest(config: dict[str, Any]) -> tuple[ConsistencyModel, list[Rule]]:
    network = build(config)
    return network, rules(network, config)


def call(
    network: ConsistencyModel,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    at_levels = name.removesuffix("_f64") in ("consistent", "denoised")
    G = consistency.build(**settings(config), **options, clip=not at_levels)
    G.unet, G.label = network.unet, inputs["y"][:1].long() if "y" in inputs else None
    if at_levels:
        levels = [G.conditioning.level(s) for s in inputs["sigma"].tolist()]
        rows = zip(inputs["x"].split(1), levels, strict=True)
        return {name: torch.cat([G.estimate(x, t).x_0 for x, t in rows])}
    z = inputs["z"].requires_grad_()
    image = G(z[:, : G.space.dim])  # the authors' chains without noise have the start alone
    if not name.startswith("grad"):
        return {name: image.detach()}
    return {name: torch.autograd.grad((image * inputs["probe"]).sum(), z)[0]}
