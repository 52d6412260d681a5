"""A run folder read back from disk, for whoever reports on it."""

import csv
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from latentzoo.errors import SpecError
from latentzoo.record import spec

FIRST_TERM = 9
"""The column of trace.csv at which the terms begin."""


@dataclass(frozen=True)
class SavedRun:
    """Creates a view of a finished run's folder.

    Arguments:
        path: The folder.

    Raises:
        SpecError: On first use, if the folder holds no finished run.
    """

    path: Path

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.resolve().name

    @cached_property
    def record(self) -> spec.Run:
        """The run's record."""
        return spec.read(self.path / "run.yaml")

    @cached_property
    def record_text(self) -> str:
        """The record as it was written."""
        return (self.path / "run.yaml").read_text(encoding="utf-8")

    @cached_property
    def diagnosis(self) -> dict[str, Any] | None:
        """What the sample is worth; None for draws from the prior."""
        file = self.path / "diagnosis.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None

    @cached_property
    def evaluation(self) -> dict[str, Any] | None:
        """What `latentzoo evaluate` found, if it was asked."""
        file = self.path / "evaluation.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None

    @cached_property
    def table(self) -> tuple[list[str], np.ndarray]:
        """The names of the columns of trace.csv, and its values as (steps, chains, columns)."""
        try:
            with (self.path / "trace.csv").open(newline="", encoding="utf-8") as file:
                header, *rows = csv.reader(file)
        except FileNotFoundError:
            raise SpecError(
                f"{self.path}: there is no finished run here; run or resume it first"
            ) from None
        values = np.array(rows, dtype=float).reshape(len(rows), len(header))
        chains = int(values[:, 1].max()) + 1 if len(values) else 0
        return header, values.reshape(-1, max(chains, 1), len(header))

    @property
    def terms(self) -> list[str]:
        """The names of the run's energies."""
        return self.table[0][FIRST_TERM:]

    def column(self, name: str) -> np.ndarray:
        """One column of the trace, (steps, chains)."""
        header, values = self.table
        return values[:, :, header.index(name)]

    def pictures(self, folder: str = "images") -> list[Path]:
        """The pictures of the chains, in their order: `images`, or `start` for where they began."""
        return sorted((self.path / folder).glob("*.png"))
