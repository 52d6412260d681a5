"""StyleSwin: the network in ImageNet's units; the cards give the mean style of the truncation."""

from typing import Any

import torch
from torch import Tensor

from latentzoo.hub.keys import Rule
from latentzoo.zoo import styleswin
from latentzoo.zoo.styleswin import StyleSwin


def build(config: dict[str, Any]) -> StyleSwin:
    training = {"use_checkpoint", "drop_rate", "attn_drop_rate"}
    return styleswin.build(**{k: v for k, v in config.items() if k not in training})


def rules(network: StyleSwin, config: dict[str, Any]) -> list[Rule]:
    return styleswin.KEYS["official"](network)


def manifest(config: dict[str, Any]) -> tuple[StyleSwin, list[Rule]]:
    network = build(config)
    return network, rules(network, config)


def call(
    network: StyleSwin,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    z = inputs["z"].requires_grad_()
    w = network.network.mapping(z)
    if name.startswith("mapping"):
        return {"w": w}
    psi = options.get("truncation", 1)
    if psi < 1:
        w = torch.lerp(inputs["w_mean"], w, psi)
    image = network.network(w)
    if name.startswith("post_process"):
        return {"image01": image * network.std + network.mean}
    if name.startswith("grad"):
        return {name: torch.autograd.grad((image * inputs["probe"]).sum(), z)[0]}
    return {name: image}
