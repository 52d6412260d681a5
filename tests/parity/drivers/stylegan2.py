"""StyleGAN2 in rosinality's layout: w_mean is an input, z may come in pairs, noise may be given.

Gradients are taken in float64 also where the card's are float32: in single precision, rounding puts
some activations on the other side of a kink, others in every implementation.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor

from latentzoo.hub.keys import Rule
from latentzoo.zoo import stylegan2
from latentzoo.zoo.stylegan2 import StyleGAN2


def build(config: dict[str, Any]) -> StyleGAN2:
    m = config["channel_multiplier"]
    wide = {2**n: 16 * 2**10 // 2**n * m for n in range(6, 11)}  # 64: 256 m, ..., 1024: 16 m
    sides = [2**n for n in range(2, int(math.log2(config["size"])) + 1)]
    return stylegan2.build(
        widths=[wide.get(side, 512) for side in sides],
        z_dim=config["style_dim"],
        w_dim=config["style_dim"],
        layers=config["n_mlp"],
        lr=config["lr_mlp"],
        missing=["w_mean"],
    )


def rules(network: StyleGAN2, config: dict[str, Any]) -> list[Rule]:
    return stylegan2.rosinality(network)


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
    if name == "mapping":
        return {"w": network.mapping(inputs["z"])}
    psi, layers = min(options.get("truncation", 1), 1), network.synthesis.styles
    latents = [inputs[k].requires_grad_() for k in ("z", "z2", "w", "w2", "w_plus") if k in inputs]
    ws = []
    for latent in latents:
        w = latent if options.get("input_is_latent") else network.mapping(latent)
        if psi < 1:
            w = inputs["w_mean"] + psi * (w - inputs["w_mean"])
        ws.append(w if w.ndim == 3 else w[:, None].expand(-1, layers, -1))
    if len(ws) > 1:
        at = options["inject_index"]
        ws = [torch.cat([ws[0][:, :at], ws[1][:, at:]], dim=1)]
    maps = sorted((k for k in inputs if k.startswith("noise_")), key=lambda k: int(k[6:]))
    _, image = network.synthesis(ws[0], noise=[inputs[k] for k in maps] or None)
    if name.startswith("grad"):
        return {name: torch.autograd.grad((image * inputs["probe"]).sum(), latents[0])[0]}
    image = image.detach()
    return {name: image, "image_mix": image, "image_w_plus": image}
