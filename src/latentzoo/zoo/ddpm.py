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

from collections.abc import Mapping
from typing import Any

from latentzoo.diffusion import betas, schedulers
from latentzoo.diffusion import unet as networks
from latentzoo.diffusion.generator import Diffusion, Reading
from latentzoo.diffusion.memory import Recompute
from latentzoo.diffusion.sampler import DDIM, DDPM, Multistep, Sampler, require
from latentzoo.errors import SpecError, UnknownName
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.options import Count, Natural, Share

KINDS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
VARIANCES = {"fixed_small": False, "fixed_small_log": False, "fixed_large": True}


def build(
    unet: Mapping[str, Any],
    scheduler: Mapping[str, Any],
    *,
    sampler: str | None = None,
    steps: Count = 50,
    class_index: Natural = 0,
    eta: Share = 0.0,
    spacing: str | None = None,
    clip: bool | None = None,
    white_box_steps: Natural | None = None,
    seed: Natural = 0,
    recompute: Recompute = "auto",
) -> Diffusion:
    """Creates a DDPM or DDIM generator.

    Arguments:
        unet: The network's `config.json`.
        scheduler: The repository's `scheduler_config.json`, of any scheduler with betas.
        sampler: "ddim", "ddpm" (ancestral), or "dpm++" (2M, deterministic, second order); None for "ddim" in
            repositories of DDPM and DDIM, and "dpm++" in those of DPM-Solver++. It reads the scheduler as
            `from_config` of the class of its name in diffusers does.
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
    sampler = schedulers.own(scheduler) if sampler is None else sampler
    require(sampler, eta, known=tuple(schedulers.SAMPLERS))
    told = schedulers.SAMPLERS[sampler].read(scheduler)
    if clip is None:
        clip = bool(told.get("clip_sample", False))
    limit = float(told["clip_sample_range"]) if clip and sampler != "dpm++" else None
    kind = told["prediction_type"]
    if kind not in KINDS:
        raise UnknownName("prediction type", str(kind), KINDS)
    spacing = str(spacing or told["timestep_spacing"])
    schedule = betas.path(told)
    network = networks.UNet2D(unet, class_index=class_index)
    return Diffusion(
        network,
        reading=Reading(kind=KINDS[kind], clip=limit),
        size=network.size,
        channels=network.channels,
        pairs=betas.chain(schedule, told, sampler=sampler, steps=steps, spacing=spacing),
        sampler=choose(sampler, eta, str(told.get("variance_type"))),
        white_box_steps=white_box_steps,
        seed=seed,
        recompute=recompute,
    )


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


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Describes a diffusers folder whose scheduler is one over a chain of betas, or is not there."""
    known = (*schedulers.OWN, *schedulers.OTHERS)
    found = networks.recognise(checkpoint, *known, given=schedulers.DDPM.name)
    if found is not None and found["config"]["scheduler"].get("_class_name") == "DDPMScheduler":
        found["assumed"]["sampler"] = "ddim, in the place of DDPM's random steps"
    return found


KEYS = networks.KEYS
