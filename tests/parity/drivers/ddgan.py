"""DDGAN: the network, its posterior and the whole map."""

import math
from itertools import pairwise

import torch

from latentzoo.diffusion.reverse import posterior
from latentzoo.zoo.ddgan import KEYS
from latentzoo.zoo.ddgan import build as ddgan


def build(config):
    return ddgan(
        resolution=config["image_size"],
        width=config["num_channels_dae"],
        mult=config["ch_mult"],
        depth=config["num_res_blocks"],
        attention=config["attn_resolutions"],
        code=config["nz"],
        style=config["z_emb_dim"],
        mapping=config["n_mlp"] + 1,
        steps=config["num_timesteps"],
        beta_min=config["beta_min"],
        beta_max=config["beta_max"],
    )


def rules(network, config):
    return KEYS["bare"](network)


def manifest(config):
    network = build(config)
    return network, KEYS["official"](network)


def join(G, z):
    """The official order is x_T | code | noise | code | noise | ... | code; ours groups them."""
    T, pixels, code = len(G.levels) - 1, G.space.sizes["start"], G.network.code
    start, *rest = z.split([pixels] + [code, pixels] * (T - 1) + [code], dim=1)
    return torch.cat([start, *rest[::2], *rest[1::2]], dim=1)


def tables(G):
    """beta, the coefficients of x_0 and x_t, and the log variance, from the smallest time up."""
    rows = []
    for s, t in pairwise(reversed(G.levels)):
        zero, one = torch.zeros(()), torch.ones(())
        c1, c2 = posterior(zero, one, t, s), posterior(one, zero, t, s)
        beta, log_var = 1 - (t.alpha / s.alpha) ** 2, 2 * math.log(max(c1.std, 1e-10))
        rows.append([beta, c1.mean, c2.mean, log_var])
    return dict(zip(("betas", "coef1", "coef2", "log_var"), torch.tensor(rows).T, strict=True))


def call(G, name, inputs, options, config):
    if name.startswith("mapping"):
        return {"zemb": G.network.style(inputs["z_step"])}
    if name.startswith("schedule"):
        return tables(G)
    if name.startswith("step"):
        x, t = inputs["x_t"], options["t"]
        return {f"x0_{t}": G.network(x, x.new_full((len(x),), t), inputs["z_step"])}
    if name.startswith("posterior"):
        t, s = G.levels[-2 - options["t"] :][:2]
        return {
            "x_prev": posterior(inputs["x_t"], inputs["x0_in"], t, s).push(inputs["noise_step"])
        }
    if name.startswith("full"):
        return {"image": G(join(G, inputs["z"]))}
    if name.startswith("grad"):
        z = inputs["z"].requires_grad_()
        return {"grad_z": torch.autograd.grad((G(join(G, z)) * inputs["probe"]).sum(), z)[0]}
    raise NotImplementedError(name)
