"""StyleGAN3, both configurations: the mean style in the file, the class an input, `transform` one where given."""

from typing import Any

import torch
from torch import Tensor

from latentzoo.hub.keys import Rule
from latentzoo.nn.alias_free import plan
from latentzoo.nn.truncation import truncate
from latentzoo.zoo import stylegan3
from latentzoo.zoo.stylegan3 import StyleGAN3


def build(config: dict[str, Any]) -> StyleGAN3:
    synthesis = config["synthesis_kwargs"]
    layers = plan(
        config["img_resolution"],
        synthesis.get("num_layers", 14),
        channel_base=synthesis.get("channel_base", 32768),
        channel_max=synthesis.get("channel_max", 512),
        channels=config["img_channels"],
        critical=synthesis.get("num_critical", 2),
    )
    return stylegan3.build(
        plan=layers,
        z_dim=config["z_dim"],
        w_dim=config["w_dim"],
        layers=config["mapping_kwargs"].get("num_layers", 2),
        classes=config["c_dim"],
        kernel=synthesis.get("conv_kernel", 3),
        radial=synthesis.get("use_radial_filters", False),
    )


def rules(network: StyleGAN3, config: dict[str, Any]) -> list[Rule]:
    return stylegan3.KEYS["official"](network)


def manifest(config: dict[str, Any]) -> tuple[StyleGAN3, list[Rule]]:
    network = build(config)
    return network, rules(network, config)


def call(
    network: StyleGAN3,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    latent = inputs["z"].requires_grad_()
    w = network.mapping(latent, inputs.get("c"))
    ws = truncate(w, network.w_avg, options["truncation_psi"], network.synthesis.styles)
    if "transform" in inputs:
        stored = network.synthesis["input"].transform
        network.synthesis["input"].transform = inputs["transform"]
        try:
            return {name: network.synthesis(ws).detach()}
        finally:
            network.synthesis["input"].transform = stored
    image = network.synthesis(ws)
    if not name.startswith("grad"):
        return {name: image.detach()}
    return {name: torch.autograd.grad((image * inputs["probe"]).sum(), latent)[0]}
