"""One run from its start to its budget: chains, their noise, their record, and where to go on after a kill.

    for frame in walk: ...

is the only loop over steps. Bars, state files, folders and pages observe it. Every record of a step
is written at the step's own place and the frame last, so a walk that is interrupted between any
two lines can be saved, and holds no more and no less than its frame says.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import SpecError, StateError, UnknownName
from latentzoo.kernels.types import Kernel, Point, Potential
from latentzoo.rng import Rng
from latentzoo.run import state
from latentzoo.run.chain import Frame, advance, start
from latentzoo.run.directions import Sights
from latentzoo.run.starts import choose
from latentzoo.run.trace import Trace

OF_ANOTHER = "this is the state of another run, or of a record that was changed: put back its own"


class Counted(Potential):
    """Creates the same potential that counts what it is asked for.

    Arguments:
        phi: The potential.
        tally: Where the count is kept; the potentials of some of its chains share it.
    """

    def __init__(self, phi: Potential, tally: list[float] | None = None) -> None:
        self.phi, self.names, self.chains = phi, phi.names, phi.chains
        self.tally = [0.0] if tally is None else tally

    @property
    def gradients(self) -> float:
        """Evaluations with gradient, one each, and without, a third each."""
        return self.tally[0]

    @gradients.setter
    def gradients(self, count: float) -> None:
        self.tally[0] = count

    def evaluate(self, z: Tensor, *, gradient: bool = True) -> Point:
        self.gradients += 1 if gradient else 1 / 3
        return self.phi.evaluate(z, gradient=gradient)

    def select(self, index: Tensor) -> "Counted":
        return self if self.chains is None else Counted(self.phi.select(index), self.tally)


def require_targets(phi: Potential, chains: int) -> None:
    """Checks that targets which are one per chain are as many as the chains of a run.

    Raises:
        SpecError: If they are not.
    """
    if phi.chains not in (None, chains):
        raise SpecError(
            f"the energies have {phi.chains} targets, one per chain, and the run has {chains} chains; "
            f"give chains={phi.chains}"
        )


class Walk:
    """Creates a run of chains with a budget of gradients; iterate over it to make it.

    Arguments:
        phi: The potential.
        kernel: The kernel; it is told the budget.
        rng: One noise stream per chain.
        steps: The budget in gradients per chain.
        plan: The budget that the kernel plans its schedule for; None takes `steps`. A run that was
            extended keeps the plan of its first part.
        tries: Of how many draws of the prior each chain picks its start, see `starts`; they are
            part of the budget.
        best: A term's name: then each chain also keeps its state of least unweighted energy, among
            those at which a step began, as the paper does.
        keep: Every how many steps the chains' states are kept as draws, once all walk at the
            posterior's temperature; None keeps none.
        sights: Along which directions, and about which mean, a run is recorded that follows
            another; None finds its own.
        part: Whether these are some of a run's chains, all of which may fail at their start.

    Attributes:
        frame: The frame the chains are at; None before the start.
        notes: What was noticed on the way, in words.
        decided: By what the run is decided, plain data that is kept in the state; see `record.decided`.

    Raises:
        UnknownName: If `best` is not a term.
        SpecError: If the potential has targets for another number of chains, or `tries` or `keep`
            is out of range.
    """

    def __init__(
        self,
        phi: Potential,
        kernel: Kernel,
        rng: Rng,
        *,
        steps: int,
        plan: int | None = None,
        tries: int = 1,
        best: str | None = None,
        keep: int | None = None,
        sights: Sights | None = None,
        part: bool = False,
    ) -> None:
        if best is not None and best not in phi.names:
            raise UnknownName("energy to keep the best of", best, phi.names)
        require_targets(phi, len(rng))
        if keep is not None and keep < 1:
            raise SpecError(
                f"keep is {keep}; give every how many steps a draw is kept, at least 1"
            )
        cost = _cost(tries)
        if tries < 1 or cost > steps:
            raise SpecError(
                f"tries is {tries}, which costs {cost} of {steps} gradients; give at least 1, and no more "
                "than the budget allows"
            )
        planned = max((steps if plan is None else plan) - cost, 0)
        self.phi, self.kernel, self.rng = Counted(phi), kernel.plan(planned), rng
        self.tries, self.keep, self.part = tries, keep, part
        self.length = length(kernel, steps, tries)
        self.trace = Trace(rng.seeds, phi.names, length=_length(kernel, planned), sights=sights)
        self.best = None if best is None else phi.names.index(best)
        self.frame: Frame | None = None
        self.notes: tuple[str, ...] = ()
        self.decided: dict[str, Any] = {}
        self._drawn: Callable[[], Tensor] | None = None
        self._start: Callable[[], Tensor] | None = None
        self._best: tuple[Tensor, Tensor] | None = None
        self._draws: dict[int, Tensor] = {}
        self._cost = {0: 0.0}
        self._spent, self._since = 0.0, math.nan
        self._between = True

    def draw(self, dim: int) -> Float[Tensor, "B D"]:
        """Draws where the chains begin: each picks one of `tries` draws of its own stream."""
        places = choose(self.phi, self.rng, dim, self.tries)
        self._drawn = lambda: self.rng.at(places).normal(dim)
        return self._drawn()

    def begin(self, z: Float[Tensor, "B D"]) -> Frame:
        """Evaluates the start; every chain begins at its row of `z`."""
        self._since = time.perf_counter()
        drawn = self._drawn is not None and torch.equal(self._drawn(), z)
        self._start = self._drawn if drawn else lambda: z
        frame = start(self.kernel, self.phi, self.rng, z, part=self.part)
        self.trace.append(frame)
        self._cost = {0: self.phi.gradients}
        self.frame = frame
        return frame

    @property
    def start(self) -> Float[Tensor, "B D"] | None:
        """Where the chains began, (B, D); draws are drawn again, since a latent may have millions of numbers."""
        return None if self._start is None else self._start()

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frame after each step until the budget is spent or no chain lives."""
        while not self.done:
            yield self._step()

    def _step(self) -> Frame:
        here = self.here
        if not self._between:  # an interrupt left the streams and the count within a step
            self.rng.restore(here.noise.state())
            self.phi.gradients = self._cost[here.step]
        self._between = False
        self._remember(here)
        frame = advance(self.kernel, self.phi, self.rng, here)
        self.trace.append(frame)
        self._collect(frame)
        self._cost = {here.step: self._cost[here.step], frame.step: self.phi.gradients}
        self.frame = frame
        self._between = True
        return frame

    @property
    def here(self) -> Frame:
        """The frame the chains are at.

        Raises:
            StateError: If the walk has no start yet.
        """
        if self.frame is None:
            raise StateError("the walk has no start; call begin(z) or resume(path) first")
        return self.frame

    @property
    def done(self) -> bool:
        """Whether the budget is spent or every chain has failed."""
        return self.here.step >= self.length or not self.here.living

    @property
    def z(self) -> Float[Tensor, "B D"]:
        """Where the chains are, or their best states if those are kept."""
        return self.here.state.z if self._best is None else self._best[1]

    @property
    def least(self) -> Float[Tensor, "B"] | None:
        """The unweighted energy of each chain's best state; None if those are not kept."""
        return None if self._best is None else self._best[0]

    @property
    def draws(self) -> Float[Tensor, "B K D"] | None:
        """The states kept along the chains, on the CPU; None if none were asked for."""
        if self.keep is None:
            return None
        z = self.here.state.z.cpu()
        kept = [draw for step, draw in self._draws.items() if step <= self.here.step]
        return torch.stack(kept, 1) if kept else z.new_empty(len(z), 0, z.shape[1])

    @property
    def draw_steps(self) -> tuple[int, ...]:
        """The steps at which draws were kept."""
        return tuple(step for step in self._draws if step <= self.here.step)

    @property
    def gradients(self) -> float:
        """How many gradients each chain has spent; a forward pass alone counts a third."""
        return self._cost[self.here.step]

    @property
    def seconds(self) -> float:
        """How long the walk took so far, the time before a resume included."""
        now = 0.0 if math.isnan(self._since) else time.perf_counter() - self._since
        return self._spent + now

    def _remember(self, frame: Frame) -> None:
        if self.best is None:
            return
        state, energy = frame.state, frame.state.terms[:, self.best].cpu()
        if self._best is None:
            self._best = torch.where(energy < math.inf, energy, math.inf), state.z
            return
        least, z = self._best
        better = energy < least
        chosen = torch.where(better.to(z.device)[:, None], state.z, z)
        self._best = torch.where(better, energy, least), chosen

    def _collect(self, frame: Frame) -> None:
        if self.keep is None or frame.step % self.keep:
            return
        if bool((frame.info.beta[frame.failed < 0] == 1).all()):
            self._draws[frame.step] = frame.state.z.detach().cpu().clone()

    def save(self, path: Path) -> None:
        """Writes a state file, atomically; see `resume`."""
        state.write(path, self.packed())

    def packed(self) -> state.State:
        """All that is needed to go on from here; see `restore`."""
        frame = self.here
        extra = {"gradients": torch.tensor(self.gradients, dtype=torch.float64)}
        if (start := self.start) is not None:
            extra["start"] = start
        if self._best is not None:
            extra |= {"best.energy": self._best[0], "best.z": self._best[1]}
        kept = {step: z for step, z in self._draws.items() if step <= frame.step}
        if kept:
            extra |= {
                "draws": torch.stack(list(kept.values())),
                "draws.step": torch.tensor(list(kept)),
            }
        return state.pack(
            frame,
            seconds=self.seconds,
            notes=self.notes,
            trace=self.trace,
            tensors=extra,
            decided=self.decided,
        )

    def resume(self, path: Path) -> Frame:
        """Goes on from a state file.

        Raises:
            StateError: If the file is broken or belongs to another run.
        """
        given = state.read(path)
        try:
            return self.restore(given)
        except StateError as error:
            raise StateError(f"{path}: {error}") from error

    def restore(self, given: state.State) -> Frame:
        """Goes on from a state.

        Raises:
            StateError: If it belongs to another run.
        """
        saved = state.unpack(given, self.kernel, self.rng.device)
        frame, extra = saved.frame, saved.tensors
        if len(frame.failed) != len(self.rng):
            raise StateError(
                f"it holds {len(frame.failed)} chains, the run has {len(self.rng)}; {OF_ANOTHER}"
            )
        if (names := tuple(given.texts["names"])) != self.phi.names:
            raise StateError(
                f"its energies are {_listed(names)}, those of the run {_listed(self.phi.names)}; {OF_ANOTHER}"
            )
        self.rng.restore(frame.noise.state())
        self.trace.restore(extra)
        self._start = None if (start := extra.get("start")) is None else lambda: start
        self.phi.gradients = float(extra["gradients"])
        self._cost = {frame.step: self.phi.gradients}
        self.notes, self._spent, self._since = saved.notes, saved.seconds, time.perf_counter()
        if "best.z" in extra:
            self._best = extra["best.energy"].cpu(), extra["best.z"]
        if "draws" in extra:
            self._draws = dict(
                zip(extra["draws.step"].tolist(), extra["draws"].cpu(), strict=True)
            )
        self.frame = frame
        return frame


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def length(kernel: Kernel, steps: int, tries: int) -> int:
    """How many steps a walk makes with a budget of `steps` gradients, of which the tries cost some."""
    return _length(kernel, steps - _cost(tries))


def _length(kernel: Kernel, steps: int) -> int:
    return max(1, int(steps / kernel.gradients)) if steps > 0 else 0


def _cost(tries: int) -> int:
    """What the draws cost of which a chain picks its start; a draw is a third of a gradient."""
    return math.ceil(tries / 3) if tries > 1 else 0
