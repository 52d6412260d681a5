"""Guided diffusion: the U-Net with and without classes, and its chains, with the noises as inputs."""

from typing import Any

import torch
from torch import Tensor

from latentzoo.hub.keys import Rule
from latentzoo.zoo import guided_diffusion
from latentzoo.zoo.guided_diffusion import GuidedDiffusion


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `build` that a card's configuration means, chains apart."""
    width, heads = config["num_head_channels"], config["num_heads"]
    return {
        "width": config["model_channels"],
        "mult": config["channel_mult"],
        "depth": config["num_res_blocks"],
        "attention": config["attention_resolutions"],
        "channels": config["in_channels"],
        "learned": config["out_channels"] == 2 * config["in_channels"],
        "classes": config["num_classes"] or 0,
        "modulate": config["use_scale_shift_norm"],
        "resample": config["resblock_updown"],
        "parts_first": config["use_new_attention_order"],
        "resolution": config["image_size"],
        "betas": config["noise_schedule"],
        "times": config["diffusion_steps"],
    } | ({"heads": heads} if width == -1 else {"head_width": width})


def build(config: dict[str, Any]) -> GuidedDiffusion:
    return guided_diffusion.build(**settings(config))


def rules(network: GuidedDiffusion, config: dict[str, Any]) -> list[Rule]:
    return guided_diffusion.KEYS["official"](network)


def manifest(config: dict[str, Any]) -> tuple[GuidedDiffusion, list[Rule]]:
    network = build(config)
    return network, rules(network, config)


def call(
    network: GuidedDiffusion,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    label = inputs["y"].long() if "y" in inputs else None
    if name == "unet":
        return {"output": network.unet(inputs["x"], inputs["t"], label=label)}
    if name == "betas":
        alpha_bar = [network.pairs[i][0].alpha ** 2 for i in range(len(network.pairs))]
        return {"alpha_bar": torch.tensor(alpha_bar, dtype=torch.float64)}
    chain = {k: options[k] for k in ("sampler", "steps", "eta") if k in options}
    G = guided_diffusion.build(**settings(config), **chain).to(inputs["z"].dtype)
    G.unet, G.label = network.unet, label
    z = inputs["z"].requires_grad_()
    image = G(z)
    if not name.startswith("grad"):
        return {name: image.detach()}
    return {name: torch.autograd.grad((image * inputs["probe"]).sum(), z)[0]}
