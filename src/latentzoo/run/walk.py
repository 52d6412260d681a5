"""One run from its start to its budget: chains, their noise, their record, and where to go on after a kill."""

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import CheckpointError, SpecError, UnknownName
from latentzoo.kernels.types import Kernel, Point, Potential
from latentzoo.rng import Rng
from latentzoo.run import state as checkpoint
from latentzoo.run.chain import Frame, advance, start
from latentzoo.run.starts import choose
from latentzoo.run.trace import Trace


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


class Walk:
    """Creates a run of chains with a budget of gradients; iterate over it to make it.

    Arguments:
        phi: The potential.
        kernel: The kernel; it is told the budget.
        rng: One noise stream per chain.
        steps: The budget in gradients per chain.
        tries: Of how many draws of the prior each chain picks its start, see `starts`; they are
            part of the budget.
        best: A term's name: then each chain also keeps its state of least unweighted energy, among
            those at which a step began, as the paper does.

    Raises:
        UnknownName: If `best` is not a term.
        SpecError: If the potential has targets for another number of chains, or `tries` is out of range.
    """

    def __init__(
        self,
        phi: Potential,
        kernel: Kernel,
        rng: Rng,
        *,
        steps: int,
        tries: int = 1,
        best: str | None = None,
    ) -> None:
        if best is not None and best not in phi.names:
            raise UnknownName("energy to keep the best of", best, phi.names)
        if phi.chains not in (None, len(rng)):
            raise SpecError(
                f"the energies have {phi.chains} targets, one per chain, and the run has {len(rng)} chains; "
                f"give chains={phi.chains}"
            )
        cost = math.ceil(tries / 3) if tries > 1 else 0
        if tries < 1 or cost > steps:
            raise SpecError(
                f"tries is {tries}, which costs {cost} of {steps} gradients; give at least 1, and no more "
                "than the budget allows"
            )
        steps -= cost
        self.phi, self.kernel, self.rng = Counted(phi), kernel.plan(steps), rng
        self.tries = tries
        self.length = max(1, int(steps / self.kernel.gradients)) if steps > 0 else 0
        self.trace = Trace(rng.seeds, phi.names, length=self.length)
        self.best = None if best is None else phi.names.index(best)
        self.best_z: Tensor | None = None
        self.best_energy = torch.full((len(rng),), torch.inf)
        self.frame: Frame | None = None

    def draw(self, dim: int) -> Float[Tensor, "B D"]:
        """Draws where the chains begin, each from its own stream, and picks of `tries` draws."""
        return choose(self.phi, self.rng, dim, self.tries)

    def begin(self, z: Float[Tensor, "B D"]) -> Frame:
        """Evaluates the start; every chain begins at its row of `z`."""
        self.frame = start(self.kernel, self.phi, self.rng, z)
        self.trace.append(self.frame)
        return self.frame

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frame after each step until the budget is spent or no chain lives."""
        while not self.done:
            self._remember()
            self.frame = advance(self.kernel, self.phi, self.rng, self.here)
            self.trace.append(self.frame)
            yield self.frame

    @property
    def here(self) -> Frame:
        """The frame the chains are at."""
        if self.frame is None:
            raise CheckpointError("the walk has no start; call begin(z) or resume(path) first")
        return self.frame

    @property
    def done(self) -> bool:
        """Whether the budget is spent or every chain has failed."""
        return self.here.step >= self.length or not bool((self.here.failed < 0).any())

    @property
    def z(self) -> Float[Tensor, "B D"]:
        """Where the chains are, or their best states if those are kept."""
        return self.here.state.z if self.best_z is None else self.best_z

    def _remember(self) -> None:
        if self.best is None:
            return
        state = self.here.state
        energy = state.terms[:, self.best].cpu()
        better = energy < self.best_energy
        self.best_energy = torch.where(better, energy, self.best_energy)
        old = state.z if self.best_z is None else self.best_z
        self.best_z = torch.where(better.to(old.device)[:, None], state.z, old)

    def save(self, path: Path) -> None:
        """Writes a checkpoint, atomically."""
        spent = torch.tensor(self.phi.gradients, dtype=torch.float64)
        extra = {"trace": self.trace.tensor(), "gradients": spent}
        extra |= self.trace.directions.tensors()
        if self.best_z is not None:
            extra |= {"best.z": self.best_z, "best.energy": self.best_energy}
        checkpoint.save(path, self.here, **extra)

    def resume(self, path: Path) -> Frame:
        """Goes on from a checkpoint.

        Raises:
            CheckpointError: If the file is broken or belongs to another run.
        """
        frame, extra = checkpoint.read(path, self.kernel, self.rng.device)
        if len(frame.failed) != len(self.rng):
            raise CheckpointError(
                f"{path}: it holds {len(frame.failed)} chains, the run has {len(self.rng)}"
            )
        self.frame = frame
        self.rng.restore(frame.noise)
        self.trace.restore(extra["trace"].cpu())
        self.trace.directions.restore(extra)
        self.phi.gradients = float(extra["gradients"])
        if "best.z" in extra:
            self.best_z, self.best_energy = extra["best.z"], extra["best.energy"].cpu()
        return frame
