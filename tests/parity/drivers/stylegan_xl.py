"""StyleGAN-XL: a stem and the stages built on it, the mean style in the file, the class an input.

Gradients are taken in float64 also where the card's are float32: in single precision, rounding puts
some activations on the other side of a kink, others in every implementation.
"""

import copy
from typing import Any

import torch
from torch import Tensor

from latentzoo.hub.keys import Rule
from latentzoo.nn.alias_free import plan
from latentzoo.nn.truncation import truncate
from latentzoo.zoo import stylegan_xl
from latentzoo.zoo.stylegan_xl import StyleGANXL


def build(config: dict[str, Any]) -> StyleGANXL:
    stem, shape = config["stem"], {}
    for ours, theirs in {
        "channel_base": "channel_base",
        "channel_max": "channel_max",
        "channels": "img_channels",
        "critical": "num_critical",
        "first_cutoff": "first_cutoff",
        "first_stopband": "first_stopband",
        "last_stopband": "last_stopband_rel",
        "margin": "margin_size",
    }.items():
        if theirs in stem:
            shape[ours] = stem[theirs]
    layers = plan(stem["img_resolution"], stem["num_layers"], **shape)
    for stage in config.get("stages", []):
        layers = plan(stage["img_resolution"], stage["head_layers"], before=layers, **shape)
    return stylegan_xl.build(
        plan=layers,
        z_dim=stem["z_dim"],
        w_dim=stem["w_dim"],
        layers=stem.get("mapping_kwargs", {}).get("num_layers", 2),
        classes=stem["c_dim"],
        kernel=stem.get("conv_kernel", 3),
        radial=stem.get("use_radial_filters", False),
        output_scale=stem.get("output_scale", 0.25),
    )


def rules(network: StyleGANXL, config: dict[str, Any]) -> list[Rule]:
    return stylegan_xl.official(network)


def manifest(config: dict[str, Any]) -> tuple[StyleGANXL, list[Rule]]:
    network = build(config)
    return network, rules(network, config)


def call(
    network: StyleGANXL,
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
    waves = network.synthesis["input"]
    stored = waves.transform
    waves.transform = inputs.get("transform", stored)
    try:
        return evaluate(network, name, inputs, options)
    finally:
        waves.transform = stored


def evaluate(
    network: StyleGANXL, name: str, inputs: dict[str, Tensor], options: dict[str, Any]
) -> dict[str, Tensor]:
    """One call, with `transform` in its place."""
    if "ws" in inputs:
        latent = ws = inputs["ws"].requires_grad_()
    else:
        latent, label = inputs["z"].requires_grad_(), None
        means = [network.w_avg] * len(latent)
        if "c" in inputs:
            label = inputs["c"].argmax(dim=1)
            means = network.w_avg[label]
        psi, cutoff = options.get("truncation_psi", 1), options.get("truncation_cutoff")
        w, styles = network.mapping(latent, label), network.synthesis.styles
        each = zip(w.split(1), means, strict=True)  # each picture has the mean of its own class
        ws = torch.cat([truncate(one, mean, psi, styles, cutoff) for one, mean in each])
    if name.startswith("mapping"):
        return {"ws_out": ws.detach()}
    if name.startswith("input_layer"):
        features = network.synthesis["input"](ws[:, 0])
        return {"input_features": features[:, : options.get("channels")].detach()}
    image = network.synthesis(ws)
    if name.startswith("grad"):
        return {name: torch.autograd.grad((image * inputs["probe"]).sum(), latent)[0]}
    return {name: image.detach(), "image_ws": image.detach()}
