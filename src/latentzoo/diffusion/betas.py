"""The steps of a chain over betas, by what a scheduler of diffusers says of them (`diffusion.schedulers`)."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from latentzoo.diffusion.sampler import Pairs
from latentzoo.diffusion.schedule import (
    Discrete,
    Level,
    cosine_betas,
    linear_betas,
    scaled_linear_betas,
)
from latentzoo.errors import SpecError, UnknownName

BETAS: Mapping[str, Callable[[float, float, int], list[float]]] = {
    "linear": lambda start, end, n: linear_betas(start, end, n=n),
    "scaled_linear": lambda start, end, n: scaled_linear_betas(start, end, n=n),
    "squaredcos_cap_v2": lambda start, end, n: cosine_betas(n=n),
}
SPACINGS = ("leading", "trailing", "linspace")


def path(told: Mapping[str, Any]) -> Discrete:
    """The schedule of what a scheduler was understood to say.

    Raises:
        UnknownName: If its betas have no such name.
        SpecError: If it has more betas, or fewer, than times.
    """
    N, betas = told["num_train_timesteps"], told["trained_betas"]
    if betas is not None and len(betas) != N:
        raise SpecError(
            f"the scheduler has {len(betas)} trained_betas and num_train_timesteps={N!r}; make them agree"
        )
    if betas is not None:
        return Discrete.from_betas(betas)
    name = told["beta_schedule"]
    if name not in BETAS:
        raise UnknownName("beta schedule", str(name), BETAS)
    return Discrete.from_betas(BETAS[name](told["beta_start"], told["beta_end"], N))


def chain(
    schedule: Discrete, told: Mapping[str, Any], *, sampler: str, steps: int, spacing: str
) -> Pairs:
    """The steps of a chain, as the scheduler of the same name in diffusers has them.

    Those of DDIM go down by a whole N // steps, which for "linspace" is not quite to the next
    time; those of the others go to the next time.

    Raises:
        SpecError: If there are not so many times.
        UnknownName: If there is no such spacing.
    """
    N, offset = len(schedule.alpha_bar), int(told["steps_offset"])
    extra = 1 if sampler == "dpm++" and spacing != "trailing" else 0
    if steps + extra > N:
        fact = f"{steps} steps of {sampler} do not fit {N} times"
        raise SpecError(f"{fact}; give a number from 1 to {N - extra}")
    times = timesteps(N, steps + extra, spacing=spacing, offset=offset)[:steps]
    picture = Level(-1, 1.0, 0.0)
    if sampler != "ddim":
        return list(pairwise([*schedule.levels(times), picture]))
    end = picture if told["set_alpha_to_one"] else schedule(0)
    below = [t - N // steps for t in times]
    return [
        (schedule(t), schedule(s) if s >= 0 else end) for t, s in zip(times, below, strict=True)
    ]


def timesteps(N: int, steps: int, *, spacing: str, offset: int = 0) -> list[int]:
    """The times of a chain, falling, out of 0, ..., N - 1, as diffusers rounds them.

    Where a time is halfway between two, its sums in floating point decide; for some numbers of steps (61 of 1000)
    its "trailing" has one time too many, which is left out.

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
        times = (N // steps) * np.arange(steps)[::-1] + offset
    elif spacing == "trailing":
        times = np.arange(N, 0, -N / steps).round()[:steps] - 1
    elif spacing == "linspace":
        times = np.linspace(0, N - 1, steps).round()[::-1]
    else:
        raise UnknownName("timestep spacing", spacing, SPACINGS)
    return times.astype(int).tolist()
