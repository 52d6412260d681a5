"""Rows that are recorded along a run, one a step: who records what keeps them here."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor


class Rows:
    """Creates an empty record.

    A row is put at its own step, in place of whatever was there or after, since a step that was interrupted is made
    again.

    Arguments:
        first: The step of the first row.
    """

    def __init__(self, first: int = 0) -> None:
        self.first = first
        self._rows: list[np.ndarray] = []

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._rows)

    def put(self, step: int, row: Tensor) -> None:
        """Records a row as float32."""
        self._rows[step - self.first :] = [row.detach().float().cpu().numpy()]

    def array(self, steps: int, *shape: int) -> np.ndarray:
        """The record of a run with so many steps, (steps, *row), NaN before the first row.

        Arguments:
            steps: How many steps the run has, its start included.
            shape: The shape of a row, where none is known.
        """
        known = np.stack(self._rows) if self._rows else np.empty((0, *shape), np.float32)
        if len(known) == steps:
            return known
        unknown = np.full((steps - len(known), *known.shape[1:]), np.nan, np.float32)
        return np.concatenate([unknown, known])

    def saved(self, steps: int) -> Tensor | None:
        """The rows of the first so many steps for a state file; None if there are none. See `restore`."""
        known = self._rows[: max(steps - self.first, 0)]
        return torch.from_numpy(np.stack(known)) if known else None

    def restore(self, rows: Tensor | None) -> None:
        """Takes the rows of a state file."""
        self._rows = [] if rows is None else list(rows.cpu().numpy())
