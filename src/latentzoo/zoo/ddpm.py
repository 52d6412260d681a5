r"""Denoising diffusion in pixels (DDPM, DDIM): a U-Net in diffusers format under several samplers.

.. math:: x_s = \alpha_s \hat{x}_0 + \sqrt{\sigma_s^2 - \tilde\sigma^2} \, \hat\varepsilon
    + \tilde\sigma \, \varepsilon_s, \qquad \tilde\sigma = \eta \, \sigma_s \sigma_{t|s} / \sigma_t

along the times of a variance preserving schedule, which the repository tells with its network.
The latent is the block `start`, :math:`x_T`; for :math:`\eta > 0`, and for the sampler of DDPM,
also `noise`, the :math:`\varepsilon_s` in the order of the steps.

References:
    | Denoising Diffusion Probabilistic Models (Ho et al., 2020), https://arxiv.org/abs/2006.11239
    | Denoising Diffusion Implicit Models (Song et al., 2021), https://arxiv.org/abs/2010.02502
    | DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Models (Lu et al., 2022)
    | https://arxiv.org/abs/2211.01095
    | Common Diffusion Noise Schedules and Sample Steps are Flawed (Lin et al., 2023)
    | https://arxiv.org/abs/2305.08891
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from latentzoo.diffusion import unet as networks
from latentzoo.diffusion.generator import Diffusion, Reading
from latentzoo.diffusion.memory import Recompute
from latentzoo.diffusion.sampler import DDIM, DDPM, Multistep, Pairs, Sampler, require
from latentzoo.diffusion.schedule import (
    Discrete,
    Level,
    cosine_betas,
    linear_betas,
    scaled_linear_betas,
)
from latentzoo.errors import SpecError, UnknownName
from latentzoo.hub.checkpoint import Checkpoint

BETAS: Mapping[str, Callable[[float, float, int], list[float]]] = {
    "linear": lambda start, end, n: linear_betas(start, end, n=n),
    "scaled_linear": lambda start, end, n: scaled_linear_betas(start, end, n=n),
    "squaredcos_cap_v2": lambda start, end, n: cosine_betas(n=n),
}
KINDS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
VARIANCES = {"fixed_small": False, "fixed_small_log": False, "fixed_large": True}
SAMPLERS = ("ddim", "ddpm", "dpm++")
SPACINGS = ("leading", "trailing", "linspace")


def build(
    unet: Mapping[str, Any],
    scheduler: Mapping[str, Any],
    *,
    sampler: str = "ddim",
    steps: int = 50,
    class_index: int = 0,
    eta: float = 0.0,
    spacing: str | None = None,
    clip: bool | None = None,
    white_box_steps: int | None = None,
    seed: int = 0,
    recompute: Recompute = "auto",
) -> Diffusion:
    """Creates a DDPM or DDIM generator.

    Arguments:
        unet: The network's `config.json`.
        scheduler: The repository's `scheduler_config.json`, of any scheduler with betas.
        sampler: "ddim", "ddpm" (ancestral), or "dpm++" (2M, deterministic, second order).
        steps: The number of steps, at most the number of times.
        class_index: The class, if the network knows any.
        eta: How much of each DDIM step is fresh noise, in [0, 1].
        spacing: How the times are chosen: "leading", "trailing" or "linspace"; None for the
            repository's choice.
        clip: Whether predicted pictures are clipped, which stops gradients where it acts; None for
            the repository's choice. The sampler dpm++ never clips.
        white_box_steps: How many noises are latent, the first ones; None for all.
        seed: The seed of the others.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        MissingExtra: If diffusers is not installed.
        SpecError: If an option is out of range, or the repository asks for what is not there.
        UnknownName: If the sampler or the prediction type is unknown.
    """
    require(sampler, eta, known=SAMPLERS)
    schedule = betas(scheduler)
    spacing = spacing or scheduler.get("timestep_spacing", "leading")
    if clip is None:
        clip = bool(scheduler.get("clip_sample", True))
    limit = float(scheduler.get("clip_sample_range", 1.0)) if clip and sampler != "dpm++" else None
    kind = scheduler.get("prediction_type", "epsilon")
    if kind not in KINDS:
        raise UnknownName("prediction type", kind, KINDS)
    network = networks.UNet2D(unet, class_index=class_index)
    return Diffusion(
        network,
        reading=Reading(kind=KINDS[kind], clip=limit),
        size=network.size,
        channels=network.channels,
        pairs=chain(schedule, scheduler, sampler=sampler, steps=steps, spacing=str(spacing)),
        sampler=choose(sampler, eta, str(scheduler.get("variance_type", "fixed_small"))),
        white_box_steps=white_box_steps,
        seed=seed,
        recompute=recompute,
    )


def betas(scheduler: Mapping[str, Any]) -> Discrete:
    """The schedule that a `scheduler_config.json` describes.

    Raises:
        SpecError: If an option of the schedule is not supported.
        UnknownName: If the schedule has no such name.
    """
    for option in ("thresholding", "rescale_betas_zero_snr"):
        if scheduler.get(option):
            raise SpecError(f"the scheduler's {option} is not supported; set it to false")
    if scheduler.get("trained_betas") is not None:
        return Discrete.from_betas(scheduler["trained_betas"])
    name = scheduler.get("beta_schedule", "linear")
    if name not in BETAS:
        raise UnknownName("beta schedule", name, BETAS)
    start, end = scheduler.get("beta_start", 1e-4), scheduler.get("beta_end", 0.02)
    return Discrete.from_betas(BETAS[name](start, end, scheduler.get("num_train_timesteps", 1000)))


def choose(sampler: str, eta: float, variance: str) -> Sampler:
    """The sampler of a name.

    Raises:
        SpecError: If the variance is not supported.
    """
    if sampler == "dpm++":
        return Multistep()
    if sampler == "ddim":
        return DDIM(eta)
    if variance not in VARIANCES:
        raise SpecError(f"the variance '{variance}' is not supported; choose the sampler ddim")
    return DDPM(large=VARIANCES[variance])


def chain(
    schedule: Discrete, scheduler: Mapping[str, Any], *, sampler: str, steps: int, spacing: str
) -> Pairs:
    """The steps of a chain, as the scheduler of the same name in diffusers has them.

    Those of DDIM go down by a whole N // steps, which for "linspace" is not quite to the next
    time; those of the others go to the next time.
    """
    N, offset = len(schedule.alpha_bar), int(scheduler.get("steps_offset", 0))
    extra = 1 if sampler == "dpm++" and spacing != "trailing" else 0
    times = timesteps(N, steps + extra, spacing=spacing, offset=offset)[:steps]
    picture = Level(-1, 1.0, 0.0)
    if sampler != "ddim":
        return list(pairwise([*schedule.levels(times), picture]))
    end = picture if scheduler.get("set_alpha_to_one", True) else schedule(0)
    below = [t - N // steps for t in times]
    return [
        (schedule(t), schedule(s) if s >= 0 else end) for t, s in zip(times, below, strict=True)
    ]


def timesteps(N: int, steps: int, *, spacing: str, offset: int = 0) -> list[int]:
    """The times of a chain, falling, out of 0, ..., N - 1.

    Arguments:
        N: The number of times.
        steps: How many are taken.
        spacing: "leading" (multiples of N // steps, from 0), "trailing" (down from N - 1 by
            N / steps) or "linspace" (from N - 1 to 0).
        offset: What is added to leading times.

    Raises:
        SpecError: If there are not so many times.
        UnknownName: If there is no such spacing.
    """
    if not 0 < steps <= N:
        raise SpecError(f"{steps} steps do not fit {N} times; give a number from 1 to {N}")
    if spacing == "leading":
        times = [i * (N // steps) + offset for i in reversed(range(steps))]
    elif spacing == "trailing":
        times = [round(N - i * N / steps) - 1 for i in range(steps)]
    elif spacing == "linspace":
        times = [round(i * (N - 1) / max(steps - 1, 1)) for i in reversed(range(steps))]
    else:
        raise UnknownName("timestep spacing", spacing, SPACINGS)
    return times


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Describes a diffusers folder with a schedule of betas."""
    found = networks.recognise(checkpoint)
    scheduler = found["config"]["scheduler"] if found else {}
    name = str(scheduler.get("_class_name", "DDPMScheduler"))
    return None if name.startswith(("ScoreSde", "FlowMatch", "EDM", "KarrasVe")) else found


KEYS = networks.KEYS
