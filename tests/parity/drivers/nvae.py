"""NVAE: the decoder on given noises; the cards also draw from its output, which the library does not."""

from typing import Any

import torch
from torch import Tensor

from latentzoo.hub.keys import Rule
from latentzoo.zoo import nvae
from latentzoo.zoo.nvae import NVAE


def build(config: dict[str, Any]) -> NVAE:
    if config["arch_instance"] != "res_mbconv":
        raise ValueError(f"no decoder cells of the kind {config['arch_instance']}")
    scales, n, groups = config["num_latent_scales"], config["num_groups_per_scale"], []
    for _ in range(scales):
        groups.insert(0, n)
        if config.get("ada_groups", False):
            n = max(config.get("min_groups_per_scale", 1), n // 2)
    post = config["num_postprocess_blocks"]
    sides = {"ffhq": 256, "mnist": 32, "omniglot": 32, "cifar10": 32}
    name = config["dataset"]
    side = sides[name] if name in sides else int(name.split("_")[1])
    return nvae.build(
        groups=groups,
        width=config["num_channels_dec"] << (config["num_preprocess_blocks"] + scales - 1),
        side=side >> (scales - 1 + post),
        latents=config["num_latent_per_group"],
        cells=config["num_cell_per_cond_dec"],
        post=[config["num_postprocess_cells"]] * post,
        components=config.get("num_mixture_dec", 10),
        channels=1 if name in ("mnist", "omniglot") else 3,
        gated=config["use_se"],
    )


def rules(network: NVAE, config: dict[str, Any]) -> list[Rule]:
    return nvae.KEYS["official"](network)


def manifest(config: dict[str, Any]) -> tuple[NVAE, list[Rule]]:
    network = build(config)
    return network, rules(network, config)


def call(
    network: NVAE,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    decoder, z = network.network, inputs["z"].requires_grad_()
    if name.startswith("prior0"):
        z0 = next(iter(network.space.split(z).values()))
        first = decoder.combine[0](torch.cat([decoder.constant.expand(len(z), -1, -1, -1), z0], 1))
        cells = (cell for cells in decoder.between for cell in cells.children())
        return {"s_first": first, "s_cell": next(cells)(first)}
    free = 0 if name.startswith("official") else options.get("control_groups", len(decoder.shapes))
    actor = NVAE(decoder, temperature=options["temp"], free=free, bound=options.get("clip"))
    logits = decoder(actor.groups(z))
    if name.startswith("sample_out"):
        return {"image_sampled": draw(logits, inputs)}
    image = (nvae.mean(logits).clamp(-1, 1) + 1) / 2
    if name.startswith("grad"):
        end = "grad_z" + name.removeprefix("grad")
        (gradient,) = torch.autograd.grad((image * inputs["probe"]).sum(), z)
        return {end: gradient, "grad_z": gradient}
    outputs = {f"image_{name.removeprefix('decode_')}": image, f"image_{name}": image}
    return {**outputs, "image": image, "logits": logits}


def draw(logits: Tensor, inputs: dict[str, Tensor]) -> Tensor:
    """One image of the output's distribution, from the random numbers of the card."""
    if logits.shape[1] == 6:
        mu, rho = logits.chunk(2, dim=1)
        return (nvae.clamped(mu, rho, inputs["n_out"]).clamp(-1, 1) + 1) / 2
    k = logits.shape[1] // 10
    u = inputs["u_mix"].clamp(1e-5, 1 - 1e-5)
    chosen = (logits[:, :k] - (-u.log()).log()).argmax(1)[:, None, None, None]
    parts = logits[:, k:].unflatten(1, (3, 3, k))
    picked = parts.gather(3, chosen.expand(-1, 3, 3, 1, -1, -1)).squeeze(3)
    m, rho, c = picked.unbind(2)
    v = inputs["u_out"].clamp(1e-5, 1 - 1e-5)
    x = m + rho.clamp(min=-7).exp() * (v.log() - (-v).log1p())
    c = c.tanh()
    r = x[:, 0].clamp(-1, 1)
    g = (x[:, 1] + c[:, 0] * r).clamp(-1, 1)
    b = (x[:, 2] + c[:, 1] * r + c[:, 2] * g).clamp(-1, 1)
    return (torch.stack([r, g, b], dim=1) + 1) / 2
