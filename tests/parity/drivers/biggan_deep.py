"""BigGAN-deep: the network on (z, class weights) at a truncation; its cards scale z outside."""

from typing import Any

import torch
from torch import Tensor

from latentzoo.hub.keys import Rule
from latentzoo.zoo import biggan_deep
from latentzoo.zoo.biggan_deep import BigGANDeep, statistics_row


def build(config: dict[str, Any]) -> BigGANDeep:
    implied = {"output_dim", "class_embed_dim"}  # by the layers and by z_dim
    return biggan_deep.build(**{k: v for k, v in config.items() if k not in implied})


def rules(network: BigGANDeep, config: dict[str, Any]) -> list[Rule]:
    return biggan_deep.KEYS["official"](network)


def manifest(config: dict[str, Any]) -> tuple[BigGANDeep, list[Rule]]:
    network = build(config)
    return network, rules(network, config)


def call(
    network: BigGANDeep,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    label = inputs[options.get("class_input", "c")]
    if name.startswith("class_embedding"):
        return {"embed": network.network.embeddings(label)}
    z = inputs["z"]
    row = statistics_row(options["truncation"], config["n_stats"]).to(z)
    if name.startswith("image"):
        return {name.removesuffix("_class"): network.network(z, label, row)}
    z, label = z.requires_grad_(), label.requires_grad_()
    inner = (network.network(z, label, row) * inputs["probe"]).sum()
    which = label if name.startswith("grad_class") else z
    return {name.replace("class", "c"): torch.autograd.grad(inner, which)[0]}
