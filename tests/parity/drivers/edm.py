"""EDM: its U-Nets under their preconditionings, and its chains without churn."""

from typing import Any

import torch
from torch import Tensor

from latentzoo.hub.keys import Rule
from latentzoo.zoo import edm
from latentzoo.zoo.edm import EDM, NUMBERS


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `build` that a card's configuration means, chains apart."""
    adm, channels = config["model_type"] == "DhariwalUNet", config["img_channels"]
    path, names = NUMBERS[config["precond"]]
    width, encoder = config["model_channels"], config.get("encoder_type", "standard")
    return {
        "resolution": config["img_resolution"],
        "channels": channels,
        "learned": path == "iddpm",
        "width": width,
        "mult": config["channel_mult"],
        "depth": config["num_blocks"],
        "attention": config["attn_resolutions"],
        "architecture": "adm" if adm else "song",
        "features": width * config.get("channel_mult_emb", 4),
        "noise": width * config.get("channel_mult_noise", 1),
        "classes": config["label_dim"],
        "head_width": 64 if adm else None,
        "fourier": config.get("embedding_type") == "fourier",
        "aside": None if encoder == "standard" else encoder,
        "pictures": "all" if config.get("decoder_type") == "skip" else "last",
        "taps": len(config.get("resample_filter", (1, 1))),
        "path": path,
        "scales": {ours: config[name] for ours, name in names.items() if name in config},
    }


def build(config: dict[str, Any]) -> EDM:
    return edm.build(**settings(config))


def rules(network: EDM, config: dict[str, Any]) -> list[Rule]:
    return edm.KEYS["official"](network)


def manifest(config: dict[str, Any]) -> tuple[EDM, list[Rule]]:
    network = build(config)
    return network, rules(network, config)


def call(
    network: EDM,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    dtype = next(iter(inputs.values())).dtype
    G = edm.build(**settings(config), **options).to(dtype)
    G.network, G.label = network.network, inputs.get("y")
    if name.startswith("denoised"):
        levels = [G.conditioning.level(s) for s in inputs["sigma"].tolist()]
        rows = zip(inputs["x"].split(1), levels, strict=True)
        return {name: torch.cat([G.estimate(x, t).x_0 for x, t in rows])}
    z = inputs["z"].requires_grad_()
    image = G(z)
    if not name.startswith("grad"):
        return {name: image.detach()}
    return {name: torch.autograd.grad((image * inputs["probe"]).sum(), z)[0]}
