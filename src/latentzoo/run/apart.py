r"""`lz.sample` by a team of workers: each walks some of the chains, and their states are joined to that of one walk.

A potential and its networks are sent to each worker once; latents and traces come back, pictures do not travel. Chains
go through the networks in micro-batches that do not depend on the number of workers (`pieces`), and a kernel that
adapts across the chains follows a pilot of another seed, which one worker walks first. So chain c is the same on 1, 2
or 5 workers, bit for bit.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from latentzoo import kernels
from latentzoo.errors import SpecError
from latentzoo.kernels.adapt import schedule
from latentzoo.kernels.types import Kernel, Point, Potential
from latentzoo.machines.team import Said, Team
from latentzoo.machines.worker import Tell
from latentzoo.posterior import Posterior
from latentzoo.rng import Rng
from latentzoo.run import join, pieces
from latentzoo.run.directions import Sights
from latentzoo.run.progress import Progress
from latentzoo.run.state import State
from latentzoo.run.walk import Walk


class Batched(Potential):
    """Creates the same potential, evaluated for so many chains at a time; a `Posterior` sees to that itself."""

    def __init__(self, phi: Potential, size: int) -> None:
        self.phi, self.size = phi, size
        self.names, self.chains = phi.names, phi.chains

    def evaluate(self, z: Tensor, *, gradient: bool = True) -> Point:
        each = torch.arange(len(z)).split(self.size)
        parts = [self.phi.select(i).evaluate(z[i], gradient=gradient) for i in each]
        return Point(*map(torch.cat, zip(*parts, strict=True)))

    def select(self, index: Tensor) -> "Batched":
        return Batched(self.phi.select(index), self.size)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is walked; see `Walk` for the words.

    Attributes:
        phi: The potential of all chains, which sees to micro-batches.
        kernel: The kernel.
        seeds: The seed of each chain.
        pilot: The seeds of the pilot's chains.
        dim: The latent's dimension.
        start: Where the chains begin, on the CPU; None draws it.
        steps: The budget in gradients.
        tries: Of how many draws each chain picks its start.
        best: The term by which the best state is kept.
        keep: Every how many steps a draw is kept.
        device: Where the latents live.
        dtype: Their number type.
    """

    phi: Potential
    kernel: Kernel
    seeds: tuple[int, ...]
    pilot: tuple[int, ...]
    dim: int
    start: Tensor | None
    steps: int
    tries: int
    best: str | None
    keep: int | None
    device: torch.device
    dtype: torch.dtype

    def walk(self, chains: range, sights: Sights | None, kernel: Kernel) -> Walk:
        """The walk of some chains, at its start."""
        rng = Rng(*(self.seeds[c] for c in chains), device=self.device, dtype=self.dtype)
        phi = self.phi.select(torch.tensor(chains))
        more: dict[str, Any] = {"best": self.best, "keep": self.keep, "sights": sights}
        walk = Walk(phi, kernel, rng, steps=self.steps, tries=self.tries, part=True, **more)
        given = None if self.start is None else self.start[chains.start : chains.stop]
        walk.begin(walk.draw(self.dim) if given is None else given.to(rng.device, rng.dtype))
        return walk


class Followed(NamedTuple):
    """What the others take from the pilot."""

    kernel: Kernel
    sights: Sights | None


class Piece(NamedTuple):
    """Chains to walk, by a kernel that was found."""

    chains: range
    followed: Followed


class Apart:
    """Creates the work of one call of `lz.sample`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def do(self, item: Piece | None, tell: Tell) -> Any:
        """Walks some chains to their end and returns their state; None walks the pilot and returns what it found."""
        if item is None:
            return self._pilot(tell)
        walk = self.plan.walk(item.chains, item.followed.sights, item.followed.kernel)
        return _walked(walk, tell)

    def _pilot(self, tell: Tell) -> Followed:
        plan, count = self.plan, len(self.plan.pilot)
        start = None if plan.start is None else plan.start[:count]
        first = replace(plan, seeds=plan.pilot, start=start, best=None, keep=None)
        walk = first.walk(range(count), None, plan.kernel)
        _walked(walk, tell)
        rows = schedule(walk.trace.beta, walk.trace.step_size)
        settings = {"schedule": rows, **walk.kernel.learned(walk.here.state)}
        kernel: Any = replace(plan.kernel, **settings)  # pyright: ignore
        basis, way = walk.trace.directions.basis, walk.trace.heading.way
        if basis is None:
            return Followed(kernel, None)
        return Followed(kernel, Sights.of(basis, walk.here.state.z, walk.here.failed < 0, way))


def _walked(walk: Walk, tell: Tell) -> State:
    for frame in walk:
        tell(frame.step, walk.length)
    tensors, texts = walk.packed()
    arrays: Any = {name: tensor.numpy() for name, tensor in tensors.items()}
    return State(arrays, texts)


def walked(
    plan: Plan,
    *,
    notes: tuple[str, ...] = (),
    workers: int | None,
    gpus: float | None = None,
    address: str | None = None,
    watch: Callable[[Progress], Any] = lambda progress: None,
) -> Walk:
    """Has workers walk all chains, and gives the walk of all at its end.

    Arguments:
        plan: What is walked.
        notes: What was noticed before.
        workers: How many workers; None takes what a cluster has.
        gpus: How many GPUs each takes; None shares those that there are.
        address: The cluster to join; None starts one on this machine.
        watch: Called several times a second.

    Raises:
        SpecError: If the kernel draws chains from each other, so that no run of it is split.
        WorkerError: If workers do not start, or die over and over.
    """
    coupled, follows = plan.kernel.coupled, "schedule" in kernels.settings(plan.kernel)
    if coupled and not follows:
        raise SpecError(
            f"the chains of '{plan.kernel.name}' are drawn from each other, so this run cannot be split; leave out "
            "workers, or take a kernel whose chains walk alone"
        )
    with Team(Apart(plan), workers, gpus=gpus, address=address) as team:
        see = lambda said: watch(Progress(_made(said), len(plan.seeds), len(said), team.lost))
        found = team.one(None, see) if coupled else Followed(plan.kernel, None)
        whole = _gathered(team, plan, found, watch)
    said = f"the chains followed the schedule of a pilot of {len(plan.pilot)}"
    return _joined(plan, found, whole, (*notes, said) if coupled else notes)


def _gathered(team: Team, plan: Plan, found: Followed, watch: Callable[[Progress], Any]) -> State:
    """The state of all pieces."""
    size = plan.phi.size if isinstance(plan.phi, Batched) else getattr(plan.phi, "micro_batch", 1)
    chains = len(plan.seeds)
    count = pieces.count(chains, size, team.workers)
    items = [Piece(pieces.piece(chains, size, i, count), found) for i in range(count)]
    whole, done = join.Joined(chains), 0

    def see(said: Said) -> None:
        watch(Progress(done + _made(said), len(plan.seeds), len(said), team.lost))

    for outcome in team.each(items, see):
        if outcome.error is not None:
            raise outcome.error
        done += len(outcome.item.chains)
        tensors, texts = outcome.value
        came = {name: _tensor(array) for name, array in tensors.items()}
        whole.put(outcome.item.chains.start, State(came, texts))
    return whole.state()


def _tensor(array: np.ndarray) -> Tensor:
    """An array of another process as a tensor, which is only read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def _made(said: Said) -> float:
    """How many chains' worth is made of what is at hand; of the pilot, none."""
    at_hand = [(item, words) for item, words in said if item is not None and words]
    return sum(len(item.chains) * words[0] / max(words[1], 1) for item, words in at_hand)


def _joined(plan: Plan, found: Followed, whole: State, notes: tuple[str, ...]) -> Walk:
    rng = Rng(*plan.seeds, device=plan.device, dtype=plan.dtype)
    more: dict[str, Any] = {"best": plan.best, "keep": plan.keep, "sights": found.sights}
    walk = Walk(plan.phi, found.kernel, rng, steps=plan.steps, tries=plan.tries, **more)
    whole.texts["notes"] = [*notes, *whole.texts["notes"]]
    walk.restore(whole)
    return walk


def batched(phi: Potential, chains: int) -> Potential:
    """The potential with the micro-batches of a run that is split."""
    if not isinstance(phi, Posterior):
        return Batched(phi, pieces.micro_batch(chains))
    if phi.micro_batch is not None:
        return phi
    terms = {name: weight * energy for name, (weight, energy) in phi.terms.items()}
    size = pieces.micro_batch(chains)
    return Posterior(phi.generator, terms, micro_batch=size, compile=phi.compile)
