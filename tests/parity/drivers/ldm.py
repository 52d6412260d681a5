"""Latent diffusion: both copies of the U-Net, the first stage, the DDIM chain with and without noise."""

import torch
from torch import nn

from latentzoo.diffusion.latent import LDM
from latentzoo.diffusion.reverse import posterior_std
from latentzoo.diffusion.schedule import Discrete, scaled_linear_betas
from latentzoo.hub import compvis
from latentzoo.hub.keys import Rule, prefixed
from latentzoo.zoo import ldm


class Both(nn.Module):
    """The generator with the averaged weights, and the raw network beside it."""

    def __init__(self, generator: LDM, raw: nn.Module) -> None:
        super().__init__()
        self.generator, self.raw = generator, raw


def settings(config):
    unet, stage = config["unet_config"]["params"], config["first_stage_config"]["params"]
    shape, condition = stage["ddconfig"], config["cond_stage_config"]
    width = unet.get("num_head_channels", -1)
    network = {
        "width": unet["model_channels"],
        "mult": unet["channel_mult"],
        "depth": unet["num_res_blocks"],
        "attention": unet["attention_resolutions"],
        "heads": unet["num_heads"] if width == -1 else None,
        "head_width": width,
        "modulate": unet.get("use_scale_shift_norm", False),
        "resample": unet.get("resblock_updown", False),
    }
    if unet.get("use_spatial_transformer"):
        network |= {
            "transformer": unet.get("transformer_depth", 1),
            "context": unet["context_dim"],
        }
    first_stage = {
        "channels": stage["embed_dim"],
        "latent": shape["z_channels"],
        "width": shape["ch"],
        "mult": shape["ch_mult"],
        "depth": shape["num_res_blocks"],
        "attention": [shape["resolution"] // side for side in shape["attn_resolutions"]],
    }
    if "n_embed" in stage:
        first_stage["codebook"] = stage["n_embed"]
    options = {"scale": None if config.get("scale_by_std") else config.get("scale_factor", 1.0)}
    if isinstance(condition, dict):
        options["classes"] = condition["params"].get("n_classes", 1000)
        options["empty_class"] = True
    return {
        "unet": network,
        "first_stage": first_stage,
        "size": config["image_size"],
        "beta_start": config["linear_start"],
        "beta_end": config["linear_end"],
        "times": config["timesteps"],
    } | options


def build(config):
    made = settings(config)
    raw = ldm.denoiser(made["first_stage"]["channels"], **made["unet"])
    return Both(ldm.build(**made), raw)


def rules(network, config):
    raw = Rule(f"{compvis.UNET}{{x*}}", "raw.{x}")
    return [raw, *prefixed("", ldm.KEYS["official"](network.generator), "generator.")]


def manifest(config):
    generator = ldm.build(**settings(config))
    keys = "official" if config.get("use_ema", True) else "raw"
    return generator, ldm.KEYS[keys](generator)


def chain(network, inputs, options, config):
    """The generator of a call: its steps, its share of noise, its classes and guidance."""
    ours, betas = network.generator, (config["linear_start"], config["linear_end"])
    schedule = Discrete.from_betas(scaled_linear_betas(*betas, n=config["timesteps"]))
    G = LDM(
        ours.unet,
        ours.first_stage,
        size=config["image_size"],
        pairs=ldm.chain(schedule, options.get("steps", 5)),
        eta=options.get("eta", 0.0),
        embedding=ours.embedding,
        empty_class=ours.embedding is not None,
        guidance=options.get("scale", 1.0),
    ).to(ours.scale)
    G.scale = ours.scale
    if "labels" in inputs:
        G.label = inputs["labels"].long()
    return G


def call(network, name, inputs, options, config):
    G, suffix = chain(network, inputs, options, config), options.get("suffix", "")
    if name.startswith("unet_eps"):
        raw = name.startswith("unet_eps_raw")
        G.unet = network.raw if raw else G.unet
        return {"eps_raw" if raw else "eps": G.eps(inputs["x_in"], inputs["t_in"])}
    if name.startswith("decode"):
        plain = name.startswith("decode_noquant")
        if plain:
            G.first_stage.quantise = False
        dec = 2 * G.show(inputs["lat_in"]) - 1
        G.first_stage.quantise = True
        return {"dec_nq" if plain else "dec": dec}
    if name.startswith("encode"):
        return {"enc": G.first_stage.encode(inputs["img_in"]) * G.scale}
    if name.startswith("tables"):
        pairs = G.pairs[::-1]
        sigmas = [options["eta"] * posterior_std(t, s) for t, s in pairs]
        columns = {
            "timesteps": [t.time for t, _ in pairs],
            "a_t": [t.alpha**2 for t, _ in pairs],
            "a_prev": [s.alpha**2 for _, s in pairs],
            "sigma": sigmas,
        }
        return {f"{k}{suffix}": torch.tensor(v, dtype=torch.float64) for k, v in columns.items()}
    if name.startswith("ddim"):
        x_T = inputs["z"].unflatten(1, G.space.blocks["start"])
        latent = G.reverse(x_T, inputs.get("noises"))
        suffix = suffix or name.removeprefix("ddim").removesuffix("_f64")
        return {f"latent{suffix}": latent, f"image{suffix}": G.show(latent)}
    if name.startswith("grad"):
        z = inputs["z"].requires_grad_()
        return {"grad_z": torch.autograd.grad((G(z) * inputs["probe"]).sum(), z)[0]}
    raise NotImplementedError(name)
