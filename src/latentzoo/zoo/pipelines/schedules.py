"""The steps of a pipeline's scheduler that a call asks for: their number, their times, their noise."""

import inspect
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from latentzoo.errors import SpecError

TIMES = ("timesteps", "sigmas")


def judge(pipe: Any, given: Mapping[str, Any]) -> None:
    """Looks whether the scheduler makes the steps of a call.

    Raises:
        SpecError: If their number or their times are out of range, or an argument has no effect with this scheduler.
    """
    scheduler = getattr(pipe, "scheduler", None)
    if scheduler is None:
        return
    kind, most = type(scheduler).__name__, _most(scheduler)
    discrete = hasattr(scheduler, "betas")  # one of a flow knows all times between 0 and 1
    steps, last = given.get("num_inference_steps"), most if discrete else None
    if steps is not None and not 1 <= steps <= (last or steps):
        many = f"1 to {last}" if last else "at least 1"
        raise SpecError(f"num_inference_steps={steps} is out of range for {kind}; give {many}")
    _noise(scheduler, kind, given)
    times_asked = asked(given)
    if len(times_asked) > 1:
        raise SpecError("timesteps and sigmas are two ways to say the same; give one of them")
    for name in times_asked:
        _taken(scheduler, kind, name)
        times = given[name]
        _falling(name, times)
        if (
            name == "timesteps"
            and most is not None
            and not 0 <= times[-1] <= times[0] <= most - discrete
        ):
            raise SpecError(
                f"timesteps={times} is out of range for {kind}; give numbers from {most - discrete} down to 0"
            )
        if name == "sigmas":
            _sigmas(kind, times, discrete=discrete)
        if steps is not None and steps not in _counts(name, times):
            raise SpecError(
                f"num_inference_steps={steps}, and {name} has {len(times)} numbers; leave num_inference_steps out"
            )


def asked(given: Mapping[str, Any]) -> list[str]:
    """The ways in which a call says the times of its steps, and so their number."""
    return [name for name in TIMES if given.get(name) is not None]


def _most(scheduler: Any) -> int | None:
    return getattr(scheduler, "config", {}).get("num_train_timesteps")


def _taken(scheduler: Any, kind: str, name: str) -> None:
    if name not in inspect.signature(scheduler.set_timesteps).parameters:
        raise SpecError(f"{kind} takes no {name}; leave them out, or take another scheduler")


def _noise(scheduler: Any, kind: str, given: Mapping[str, Any]) -> None:
    """Looks whether what is asked of a step's noise and of a flow's shift is heard."""
    if given.get("eta") and "eta" not in inspect.signature(scheduler.step).parameters:
        raise SpecError(
            f"eta={given['eta']} does nothing, as {kind} takes none; leave it out, or give scheduler=DDIMScheduler"
        )
    shifts = getattr(scheduler, "config", {}).get("use_dynamic_shifting")
    if given.get("mu") is not None and not shifts:
        raise SpecError(
            f"mu={given['mu']} does nothing, as this {kind} has a fixed shift; leave it out, or give "
            f"scheduler={{class: {kind}, use_dynamic_shifting: true}}"
        )


def _falling(name: str, times: Any) -> None:
    if not isinstance(times, list | tuple) or not all(isinstance(t, int | float) for t in times):
        raise SpecError(f"{name}={times!r} is no list of numbers; give one for each step")
    if not times:
        raise SpecError(f"{name} is empty; give one number for each step, or leave it out")
    if any(a <= b for a, b in pairwise(times)):
        raise SpecError(
            f"{name}={list(times)} does not fall; give its numbers from large to small"
        )


def _sigmas(kind: str, sigmas: Sequence[float], *, discrete: bool) -> None:
    """A flow goes from noise, at 1, to the picture, at 0; other schedulers' levels have no end above."""
    high = None if discrete else 1
    if sigmas[0] <= 0 or sigmas[-1] < 0 or (high is not None and sigmas[0] > high):
        most = "numbers above 0" if high is None else f"numbers from {high} down to 0"
        raise SpecError(f"sigmas={list(sigmas)} is out of range for {kind}; give {most}")


def _counts(name: str, times: Sequence[float]) -> set[int]:
    """How many steps there may be; the last level of noise is where the last step ends, if it is 0."""
    return {len(times)} | ({len(times) - 1} if name == "sigmas" and not times[-1] else set())
