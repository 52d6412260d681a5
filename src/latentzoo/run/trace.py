"""The record of a run: what every chain did at every step, in a few numbers."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from latentzoo.run.directions import Directions, Sights
from latentzoo.run.heading import Heading
from latentzoo.run.rows import Rows

if TYPE_CHECKING:
    from latentzoo.run.chain import Frame

COLUMNS = ("phi", "norm2", "accept", "step_size", "beta", "error")
INDEX = ("step", "chain", "seed")
"""What the rows of a table begin with."""
TERM = "term."
"""What the columns of the energies begin with, so that no name of one meets another column's."""


class Trace:
    """Creates an empty record of chains.

    Row 0 is the start, where nothing has been accepted yet; a chain that failed is NaN from then
    on.

    Arguments:
        seeds: The seed of each chain.
        names: The names of the potential's terms.
        length: How many steps the run will make, to know its half; see `directions`.
        sights: Where a run looks that follows another; see `directions`.

    Attributes:
        phi: The potential, (T, B).
        norm2: The squared norm of the latent, (T, B).
        accept: The acceptance probability, (T, B); NaN for kernels without a test.
        step_size: The step size, (T, B).
        beta: The inverse temperature, (T, B).
        error: The energy error of each step, (T, B).
        terms: The unweighted energies, (T, B, K).
        directions: The record along the main directions of the gradients; see `along`.
        heading: The record along where the chains were going; see `going`.
    """

    def __init__(
        self,
        seeds: tuple[int, ...],
        names: tuple[str, ...] = (),
        *,
        length: int = 0,
        sights: Sights | None = None,
    ) -> None:
        self.seeds, self.names = seeds, names
        self.directions = Directions(length, sights)
        self.heading = Heading(length, sights)
        self._rows = Rows()

    def append(self, frame: "Frame") -> None:
        """Records one step of all chains at the frame's own place; what was there is replaced."""
        state, info = frame.state, frame.info
        columns = [state.phi, state.z.square().sum(1), *info, *state.terms.unbind(1)]
        row = torch.stack(columns)
        if frame.failures:
            row = torch.where(frame.failed >= 0, torch.nan, row)
        self._rows.put(frame.step, row)
        self.directions.append(frame)
        self.heading.append(frame)

    def __len__(self) -> int:
        return len(self._rows)

    def __getattr__(self, name: str) -> np.ndarray:
        if name in COLUMNS:
            return self.array[:, COLUMNS.index(name)]
        raise AttributeError(f"a Trace has no '{name}'; it has terms, {', '.join(COLUMNS)}")

    @property
    def array(self) -> np.ndarray:
        """All columns as one array of shape (T, 6 + K, B)."""
        return self._rows.array(len(self), len(self.columns), len(self.seeds))

    @property
    def terms(self) -> np.ndarray:
        return self.array[:, len(COLUMNS) :].transpose(0, 2, 1)

    @property
    def along(self) -> np.ndarray:
        """Each chain along the main directions of the gradients, (T, K, B); NaN before the run's half."""
        return self.directions.array(len(self), len(self.seeds))

    @property
    def identity(self) -> np.ndarray:
        """Stein's identity of each chain, (T, B), 1 on average at the posterior; NaN before the run's half."""
        return self.directions.identity(len(self), len(self.seeds))

    @property
    def going(self) -> np.ndarray:
        """Each chain along where the others were going, (T, B); NaN before five eighths of the run."""
        return self.heading.array(len(self), len(self.seeds))

    def tensors(self, rows: int) -> dict[str, Tensor]:
        """The first rows of the record, of its directions and headings, for a state file; see `restore`."""
        trace = self._rows.saved(rows)
        known = {} if trace is None else {"trace": trace}
        return {**known, **self.directions.tensors(rows), **self.heading.tensors(rows)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Takes the rows of a state file.

        Raises:
            KeyError: If it holds no trace.
        """
        self._rows.restore(tensors["trace"])
        self.directions.restore(tensors)
        self.heading.restore(tensors)

    def rows(self) -> Iterable[list[float]]:
        """Yields (step, chain, seed, phi, norm2, accept, step_size, beta, error, *terms) for a table."""
        for step, row in enumerate(self._rows):
            for chain, seed in enumerate(self.seeds):
                yield [step, chain, seed, *(float(x) for x in row[:, chain])]

    def header(self) -> list[str]:
        """The names of the columns of `rows`."""
        return [*INDEX, *self.columns]

    @property
    def columns(self) -> list[str]:
        """The names of what is known of a chain at a step, in the order of `array`."""
        return [*COLUMNS, *(f"{TERM}{name}" for name in self.names)]

    def table(self) -> dict[str, np.ndarray]:
        """The record as columns, one row per step and chain, as pandas takes it."""
        steps, chains = len(self), len(self.seeds)
        index: dict[str, np.ndarray] = {
            "step": np.repeat(np.arange(steps), chains),
            "chain": np.tile(np.arange(chains), steps),
            "seed": np.tile(np.array(self.seeds), steps),
        }
        values = self.array.transpose(1, 0, 2).reshape(-1, steps * chains)
        return index | dict(zip(self.columns, values, strict=True))


def collect(
    frames: Iterable["Frame"], seeds: tuple[int, ...], names: tuple[str, ...] = ()
) -> Trace:
    """Exhausts an iterator of frames into a trace."""
    trace = Trace(seeds, names)
    for frame in frames:
        trace.append(frame)
    return trace
