"""StyleGAN2-ADA in NVIDIA's layout: the mean style is in the file, the class is an input.

Gradients are taken in float64 also where the card's are float32: in single precision, rounding puts
some activations on the other side of a kink, others in every implementation.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor

from latentzoo.hub.keys import Rule
from latentzoo.nn.truncation import truncate
from latentzoo.zoo import stylegan2
from latentzoo.zoo.stylegan2 import StyleGAN2


def build(config: dict[str, Any]) -> StyleGAN2:
    mapping, synthesis = config.get("mapping_kwargs", {}), config.get("synthesis_kwargs", {})
    sides = [2**n for n in range(2, int(math.log2(config["img_resolution"])) + 1)]
    base, most = synthesis.get("channel_base", 32768), synthesis.get("channel_max", 512)
    return stylegan2.build(
        widths=[min(base // side, most) for side in sides],
        z_dim=config["z_dim"],
        w_dim=config["w_dim"],
        layers=mapping.get("num_layers", 8),
        classes=config["c_dim"],
        features=mapping.get("layer_features"),
        embed_features=mapping.get("embed_features"),
        lr=mapping.get("lr_multiplier", 0.01),
        start=(4, 4) if config.get("square", True) else (4, 2),
        channels=config["img_channels"],
        noisy=synthesis.get("use_noise", True),
        architecture=synthesis.get("architecture", "skip"),
        clamp=synthesis.get("conv_clamp"),
    )


def rules(network: StyleGAN2, config: dict[str, Any]) -> list[Rule]:
    return stylegan2.nvidia(network)


def manifest(config: dict[str, Any]) -> tuple[StyleGAN2, list[Rule]]:
    network = build(config)
    return network, rules(network, config)


def call(
    network: StyleGAN2,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    if name.startswith("grad"):
        network, inputs = (
            copy.deepcopy(network).double(),
            {k: v.double() for k, v in inputs.items()},
        )
    synthesis = network.synthesis
    if "ws" in inputs:
        latent = ws = inputs["ws"].requires_grad_()
    else:
        latent = inputs["z"].requires_grad_()
        w = network.mapping(latent, inputs.get("c"))
        psi, cutoff = options.get("truncation_psi", 1), options.get("truncation_cutoff")
        ws = truncate(w, network.w_mean, psi, synthesis.styles, cutoff)
    if name.startswith("mapping"):
        return {"ws_out": ws.detach()}
    silent = options.get("noise_mode") == "none"
    _, image = synthesis(ws, noise=[0.0] * len(synthesis.layers) if silent else None)
    if name.startswith("grad"):
        return {name: torch.autograd.grad((image * inputs["probe"]).sum(), latent)[0]}
    return {name: image.detach(), "image_ws": image.detach()}
