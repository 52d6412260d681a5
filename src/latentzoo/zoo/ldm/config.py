"""From settings to a latent diffusion with random weights."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from torch import nn

from latentzoo import options as opts
from latentzoo.diffusion import memory
from latentzoo.diffusion.latent import LDM
from latentzoo.diffusion.sampler import Pairs
from latentzoo.diffusion.schedule import Discrete, scaled_linear_betas
from latentzoo.errors import SpecError
from latentzoo.nn.autoencoder import KL, VQ
from latentzoo.nn.levels import require as require_levels
from latentzoo.options import Count, Natural, Positive, Share, Weight
from latentzoo.zoo.ldm.unet import denoiser


def build(
    *,
    unet: Mapping[str, Any],
    first_stage: Mapping[str, Any],
    size: Count | None = None,
    resolution: Count | None = None,
    heads: Count | None = None,
    head_width: Count | None = None,
    beta_start: Weight = 0.0015,
    beta_end: Weight = 0.0195,
    times: Count = 1000,
    classes: Natural = 0,
    empty_class: bool = False,
    scale: Positive | None = 1.0,
    steps: Count = 20,
    eta: Share = 0.0,
    white_box_steps: Natural | None = None,
    seed: Natural = 0,
    class_index: Natural = 0,
    guidance: float = 1.0,
    quantise: bool = True,
    recompute: memory.Recompute = "auto",
) -> LDM:
    """Creates a latent diffusion generator.

    Arguments:
        unet: The arguments of `denoiser`.
        first_stage: The arguments of `VQ`, or of `KL` where there is no codebook.
        size: The sides of the code; None for those of a picture of `resolution`.
        resolution: The sides of the picture; 256, as in all published models, where neither is given.
        heads: The number of heads of the U-Net, in the place of what `unet` says.
        head_width: The number of channels of each head, likewise; where none of these is given it is 32, or there
            are 8 heads where residual blocks resample, as in all published models without classes.
        beta_start: The variance of the first time's noise.
        beta_end: The variance of the last time's noise.
        times: The number of times.
        classes: The number of rows of the classes' embedding; 0 for an unconditional model.
        empty_class: Whether the last of these is the empty class, which guidance needs.
        scale: The scale of the code; None where the file holds it.
        steps: The number of DDIM steps, less than the number of times.
        eta: How much of each step is fresh noise, in [0, 1].
        white_box_steps: How many noises are latent, the first ones; None for all.
        seed: The seed of the others.
        class_index: The class.
        guidance: The weight of the class against the empty class; 1 for the class alone.
        quantise: Whether a code is replaced by entries of the codebook before it is decoded.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError: If an option is out of range, or needs classes that the model does not have.
    """
    vq = "codebook" in first_stage
    stage = VQ(**first_stage, quantise=quantise) if vq else KL(**first_stage)
    if heads or head_width:
        unet = {**unet, "heads": heads, "head_width": head_width}
    elif not {"heads", "head_width"} & unet.keys():
        unet = {**unet, **usual_heads(resample=unet.get("resample", False))}
    if classes and "context" not in unet:
        raise SpecError(
            f"the file has a table of {classes} classes, and its U-Net no attention that looks at it; "
            "give the file of a network that has both"
        )
    whole = {**unet, "channels": stage.channels}
    opts.check(whole, opts.parameters(denoiser), owner="the U-Net", shown="latentzoo show ldm")
    schedule = Discrete.from_betas(scaled_linear_betas(beta_start, beta_end, n=times))
    side = sides(stage.factor, size, resolution)
    return LDM(
        denoiser(stage.channels, **unet),
        stage,
        size=require_levels((side, side), len(unet["mult"]))[0],
        pairs=chain(schedule, steps),
        eta=eta,
        white_box_steps=white_box_steps,
        seed=seed,
        embedding=nn.Embedding(classes, unet["context"]) if classes else None,
        empty_class=empty_class,
        class_index=class_index,
        guidance=guidance,
        scale=scale,
        recompute=recompute,
    )


def usual_heads(*, resample: bool) -> dict[str, int]:
    """The heads of the published models without classes, which their files do not tell."""
    return {"heads": 8} if resample else {"head_width": 32}


def chain(schedule: Discrete, steps: int) -> Pairs:
    """The steps of a chain: down from every (N // steps)-th of N times, 1 the lowest, to time 0.

    Raises:
        SpecError: If there are not so many times.
    """
    N = len(schedule.alpha_bar)
    if not 0 < steps < N:
        raise SpecError(f"{steps} steps do not fit {N} times; give a number from 1 to {N - 1}")
    times = [1 + i * (N // steps) for i in reversed(range(steps))]
    return list(pairwise(schedule.levels([*times, 0])))


def sides(factor: int, size: int | None, resolution: int | None) -> int:
    """The sides of the code, from those or from the picture's.

    Raises:
        SpecError: If they contradict each other, or the autoencoder's factor.
    """
    if size is not None and resolution is not None and size * factor != resolution:
        raise SpecError(
            f"size={size} is a code for {size * factor} pixels and not {resolution}; give one of them"
        )
    whole = resolution or (256 if size is None else size * factor)
    if whole < factor or whole % factor:
        raise SpecError(f"resolution={whole} is no multiple of {factor}; give one")
    return whole // factor
