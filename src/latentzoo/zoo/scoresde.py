r"""Score-based generation by stochastic equations (ScoreSDE), variance exploding and preserving.

The network knows the score :math:`\nabla \log p(x_t)`. Of the variance exploding path,

.. math:: x_T = \sigma_{max} z, \qquad x_s = x_t + (\sigma_t^2 - \sigma_s^2) \, \nabla \log p(x_t)
    + \sqrt{\sigma_t^2 - \sigma_s^2} \, \varepsilon_s

with Langevin corrections at each level; of the preserving path, Euler-Maruyama steps. Either has a
deterministic flow with the same marginals, solved by Euler's or Heun's rule, whose latent is the
block `start` alone, :math:`z`. The stochastic samplers add `noise`, in the order of its use.

References:
    | Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021)
    | https://arxiv.org/abs/2011.13456
    | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022)
    | https://arxiv.org/abs/2206.00364
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from latentzoo.diffusion import schedulers
from latentzoo.diffusion import unet as networks
from latentzoo.diffusion.generator import Diffusion, Reading
from latentzoo.diffusion.memory import Recompute
from latentzoo.diffusion.sampler import (
    DDIM,
    EulerMaruyama,
    Heun,
    Pairs,
    PredictorCorrector,
    Sampler,
    require,
)
from latentzoo.diffusion.schedule import VE, VP, Level
from latentzoo.errors import SpecError
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.options import Count, Natural, Share

SAMPLERS = ("ddim", "heun", "sde")
PICTURE = Level(-1, 1.0, 0.0)


def build(
    unet: Mapping[str, Any],
    scheduler: Mapping[str, Any],
    *,
    sampler: str = "ddim",
    steps: Count = 50,
    class_index: Natural = 0,
    eta: Share = 0.0,
    corrections: Natural | None = None,
    centred: bool | None = None,
    white_box_steps: Natural | None = None,
    seed: Natural = 0,
    recompute: Recompute = "auto",
) -> Diffusion:
    """Creates a ScoreSDE generator.

    Arguments:
        unet: The network's `config.json`.
        scheduler: The repository's `scheduler_config.json`, of a ScoreSdeVe or ScoreSdeVp
            scheduler.
        sampler: "ddim" (the deterministic flow, or ancestral steps for `eta` > 0), "heun" (the
            flow at second order), or "sde" (the authors' predictor and, where exploding,
            corrector).
        steps: The number of levels; the authors took 1000 or 2000 of them with "sde".
        class_index: The class, if the network knows any.
        eta: How much of each DDIM step is fresh noise, in [0, 1].
        corrections: How many corrections there are per level; None for the repository's choice.
        centred: Whether the network's pictures are in [-1, 1]; None for the authors' choice, which
            is so where variance is preserved.
        white_box_steps: How many noises are latent, the first ones; None for all.
        seed: The seed of the others.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        MissingExtra: If diffusers is not installed.
        SpecError: If an option is out of range.
    """
    require(sampler, eta, known=SAMPLERS)
    if steps < 2:
        raise SpecError(f"{steps} steps do not make a chain; give 2 or more")
    network = networks.UNet2D(unet, class_index=class_index)
    exploding = "ScoreSdeVp" not in str(scheduler.get("_class_name", ""))
    path = explode if exploding else preserve
    pairs, reading, stochastic, start = path(scheduler, steps, corrections)
    return Diffusion(
        network,
        reading=reading,
        size=network.size,
        channels=network.channels,
        pairs=pairs,
        sampler={"ddim": DDIM(eta), "heun": Heun(), "sde": stochastic}[sampler],
        start=start,
        centred=not exploding if centred is None else centred,
        white_box_steps=white_box_steps,
        seed=seed,
        recompute=recompute,
    )


def explode(
    scheduler: Mapping[str, Any], steps: int, corrections: int | None
) -> tuple[Pairs, Reading, Sampler, float]:
    """The variance exploding path: even in log sigma, and told to the network as sigma.

    The network's sigma ends a little above sigma_min, at the scheduler's smallest time.
    """
    told = schedulers.EXPLODING.read(scheduler)
    schedule, low = VE(told["sigma_min"], told["sigma_max"]), told["sampling_eps"]
    levels = [
        Level(
            schedule(1 + (low - 1) * i / (steps - 1)).sigma,
            1.0,
            schedule(1 - i / (steps - 1)).sigma,
        )
        for i in range(steps)
    ]
    if corrections is None:
        corrections = int(told["correct_steps"])
    sampler = PredictorCorrector(corrections, snr=told["snr"])
    return list(pairwise([*levels, PICTURE])), Reading(kind="score"), sampler, schedule.start


def preserve(
    scheduler: Mapping[str, Any], steps: int, corrections: int | None
) -> tuple[Pairs, Reading, Sampler, float]:
    """The variance preserving path: even in time, of which the network is told N - 1 per unit.

    Raises:
        SpecError: If corrections are asked for.
    """
    if corrections:
        raise SpecError("the variance preserving path has no corrector; leave out corrections")
    told = schedulers.PRESERVING.read(scheduler)
    schedule, low = VP(told["beta_min"], told["beta_max"]), told["sampling_eps"]
    levels = schedule.levels(1 + (low - 1) * i / (steps - 1) for i in range(steps))
    reading = Reading(kind="eps", hertz=told["num_train_timesteps"] - 1)
    return list(pairwise([*levels, PICTURE])), reading, EulerMaruyama(schedule, steps), 1.0


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Describes a diffusers folder with a ScoreSDE scheduler."""
    return networks.recognise(checkpoint, schedulers.EXPLODING.name, schedulers.PRESERVING.name)


KEYS = networks.KEYS
