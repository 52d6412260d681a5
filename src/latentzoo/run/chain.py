"""The loop: written once, for every kernel.

A run is an endless iterator of frames; whoever wants a progress bar, a page or a file wraps it. A
chain whose latent, potential or gradient stops being finite stops there: it keeps its last finite
state and is marked, and the step is made again with the survivors alone, so that they walk as if
it had never been in the batch.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from latentzoo.errors import EnergyError
from latentzoo.kernels.types import Info, Kernel, Potential, select
from latentzoo.rng import Mark, Rng


class Failure(NamedTuple):
    """Where a chain stopped: its place in the batch, its seed, the step, and the term that was not finite."""

    chain: int
    seed: int
    step: int
    term: str


class Frame(NamedTuple):
    """All chains after a step.

    Attributes:
        step: How many steps were made, 0 for the start.
        state: The kernel's state of all B chains; failed ones hold their last finite state.
        info: The kernel's report, NaN for failed chains.
        failed: The step at which each chain failed, (B,), or -1.
        noise: Where the noise streams stand after the step.
        failures: The failures so far.
    """

    step: int
    state: Any
    info: Info
    failed: Int64[Tensor, "B"]
    noise: Mark
    failures: tuple[Failure, ...] = ()

    @property
    def living(self) -> int:
        """How many chains have not failed."""
        return len(self.failed) - len(self.failures)


def start(
    kernel: Kernel, phi: Potential, rng: Rng, z: Float[Tensor, "B D"], *, part: bool = False
) -> Frame:
    """Evaluates the start of every chain.

    Arguments:
        kernel: The kernel.
        phi: The potential.
        rng: One noise stream per chain.
        z: Where the chains begin.
        part: Whether they are some of a run's chains, all of which may fail.

    Raises:
        EnergyError: If the potential is not finite at any start; a chain alone in that is marked
        as failed.
    """
    state = kernel.init(phi, z, rng)
    nan = torch.full_like(state.phi, torch.nan)
    bad = _broken(state)
    failures = tuple(
        Failure(i, rng.seeds[i], 0, _culprit(state, i, phi))
        for i in bad.nonzero().flatten().tolist()
    )
    if len(failures) == len(z) > 0 and not part:
        raise EnergyError(
            f"'{failures[0].term}' is not finite at the start of every chain; look at the energy's input range"
        )
    return Frame(0, state, Info(nan, nan, nan, nan), torch.where(bad, 0, -1), rng.mark(), failures)


def run(kernel: Kernel, phi: Potential, rng: Rng, frame: Frame) -> Iterator[Frame]:
    """Yields frame after frame, from the one given (which is not repeated); ends only when every chain has failed."""
    while frame.living:
        frame = advance(kernel, phi, rng, frame)
        yield frame


def advance(kernel: Kernel, phi: Potential, rng: Rng, frame: Frame) -> Frame:
    """Makes one step of every living chain."""
    failed, failures, step = frame.failed, frame.failures, frame.step + 1
    while True:
        alive = (failed < 0).nonzero().flatten() if failures else None
        old = frame.state if alive is None else select(frame.state, alive)
        chosen = (phi, rng) if alive is None else (phi.select(alive), rng.select(alive))
        state, info = kernel.step(chosen[0], old, chosen[1])
        if _sound(state) and not (kernel.adjusted and info.accept.isnan().any()):
            break
        bad = _broken(state) | (info.accept.isnan() & kernel.adjusted)
        places = bad.nonzero().flatten() if alive is None else alive[bad]
        for i, chain in zip(bad.nonzero().flatten().tolist(), places.tolist(), strict=True):
            failures += (Failure(chain, rng.seeds[chain], step, _culprit(state, i, phi)),)
        failed = failed.index_fill(0, places, step)
        rng.restore(frame.noise.state())
        if len(failures) == len(failed):
            nan = torch.full_like(frame.info.accept, torch.nan)
            return Frame(
                step, frame.state, Info(nan, nan, nan, nan), failed, frame.noise, failures
            )
    if alive is not None:
        state = _put(frame.state, alive, state)
        info = _put(Info(*(torch.full_like(x, torch.nan) for x in frame.info)), alive, info)
    return Frame(step, state, info, failed, rng.mark(), failures)


def _sound(state: Any) -> bool:
    """Whether all numbers are finite: then their sum is, unless it overflows."""
    total = float(state.z.sum() + state.phi.sum() + state.grad.sum())
    return math.isfinite(total) or not bool(_broken(state).any())


def _broken(state: Any) -> Tensor:
    return ~(_finite(state.z) & state.phi.isfinite() & _finite(state.grad))


def _finite(x: Float[Tensor, "B D"]) -> Tensor:
    """Whether every number of a row is finite, (B,), by its extremes: nothing as large as x is made."""
    if x.shape[1] == 0:
        return torch.ones(len(x), dtype=torch.bool, device=x.device)
    low, high = x.aminmax(dim=1)
    return low.isfinite() & high.isfinite()


def _culprit(state: Any, i: int, phi: Potential) -> str:
    for name, value in zip(phi.names, state.terms[i].tolist(), strict=False):
        if not torch.isfinite(torch.tensor(value)):
            return name
    if not state.phi[i].isfinite():
        return "phi"
    if not state.z[i].isfinite().all():
        return "latent"
    return "proposal" if state.grad[i].isfinite().all() else "gradient"


def _put(whole: Any, index: Tensor, part: Any) -> Any:
    """The whole with the living chains' part; what a kernel has given another shape is zero for the others."""
    same = lambda w, p: w if w.shape[1:] == p.shape[1:] else p.new_zeros(len(w), *p.shape[1:])
    pairs = zip(whole, part, strict=True)
    return type(whole)(*(same(w, p).index_copy(0, index, p) for w, p in pairs))
