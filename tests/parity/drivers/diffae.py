"""Diffusion autoencoder: its three networks, both chains, and the authors' inversion."""

import torch
from torch import Tensor

from latentzoo.diffusion.reverse import ddim
from latentzoo.diffusion.schedule import Discrete, Level, strided
from latentzoo.zoo import diffae
from latentzoo.zoo.diffae import KEYS, chain, read_betas


def build(config):
    """The generator; a card gives the codes' statistics to its calls, not with the weights."""
    G = whole(config)
    for name in ("conds_mean", "conds_std"):
        G.register_buffer(name, getattr(G, name), persistent=False)
    return G


def whole(config):
    return diffae.build(
        resolution=config["img_size"],
        width=config["net_ch"],
        mult=config["net_ch_mult"],
        encoder_mult=config["net_enc_channel_mult"],
        depth=config["net_num_res_blocks"],
        encoder_depth=config["net_enc_num_res_blocks"],
        attention=config["net_attn"],
        heads=config["net_beatgans_attn_head"],
        style=config["style_ch"],
        hidden=config["net_latent_num_hid_channels"],
        layers=config["net_latent_layers"],
        latent_width=config["net_latent_time_emb_channels"],
        betas=config["beta_scheduler"],
        latent_betas=config["latent_beta_scheduler"],
        times=config["T"],
    )


def rules(network, config):
    return diffae.NETWORKS


def manifest(config):
    network = whole(config)
    return network, KEYS["official"](network)


def schedules(config):
    names = (config["beta_scheduler"], config["latent_beta_scheduler"])
    return [Discrete.from_betas(read_betas(name, config["T"])) for name in names]


def invert(G, x: Tensor, code: Tensor, config, steps: int) -> Tensor:
    """The authors' inversion: each step upward with the noise seen where it begins."""
    schedule, estimate = schedules(config)[0], G.estimate_picture(code)
    levels = schedule.levels(strided(steps, config["T"]))
    for s, t in zip(levels, [*levels[1:], Level(config["T"], 0.0, 1.0)], strict=True):
        x = ddim(estimate(x, s), s, t).mean
    return x


def call(G, name, inputs, options, config):
    suffix, (schedule, latent_schedule) = options.get("suffix", ""), schedules(config)
    G.conds_mean = inputs.get("conds_mean", G.conds_mean)
    G.conds_std = inputs.get("conds_std", G.conds_std)
    if "T" in options:
        G.pairs = chain(schedule, options["T"])
    if "T_latent" in options:
        G.latent_pairs = chain(latent_schedule, options["T_latent"])
    if name.startswith("latent_net"):
        return {"latent_eps": G.latent_net(inputs["z_in"], inputs["t_in"])}
    if name.startswith("unet_eps"):
        return {"eps": G.unet(inputs["x_in"], inputs["t_in"], inputs["cond_in"])}
    if name.startswith("encoder"):
        return {"enc_cond": G.encoder(inputs["img_in"])}
    if name.startswith("schedule"):
        outputs = {}
        for prefix, pairs in (("", G.pairs), ("latent_", G.latent_pairs)):
            levels = [t for t, _ in reversed(pairs)]
            times = [t.time for t in levels]
            outputs[f"{prefix}timesteps{suffix}"] = torch.tensor(times, dtype=torch.float64)
            products = [t.alpha**2 for t in levels]
            outputs[f"{prefix}alphas_cumprod{suffix}"] = torch.tensor(products)
        return outputs
    if name.startswith("latent_sample"):
        code = G.code(inputs["z_T"])
        return {f"cond{suffix}": code, f"cond_norm{suffix}": (code - G.conds_mean) / G.conds_std}
    if name.startswith("decode_cond"):
        return {"image_cond": G.decode(inputs["x_T"], inputs["cond_in"])}
    if name.startswith("encode_stochastic"):
        image, code = inputs["img_in"], inputs["cond_in"]
        return {"x_T_enc": invert(G, image, code, config, options["T"])}
    z = G.space.join(semantic=inputs["z_T"].flatten(1), start=inputs["x_T"])
    if name.startswith("full"):
        return {f"image{suffix}": G(z)}
    if name.startswith("grad"):
        z.requires_grad_()
        return {"grad_z": torch.autograd.grad((G(z) * inputs["probe"]).sum(), z)[0]}
    raise NotImplementedError(name)
