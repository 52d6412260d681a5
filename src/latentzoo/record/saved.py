"""A run folder read back from disk, for whoever reports on it or goes on with it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo import picture
from latentzoo.errors import SpecError
from latentzoo.record import execute, layout, plain, spec
from latentzoo.record.execute import Watch
from latentzoo.run.progress import watched
from latentzoo.space import Space


@dataclass(frozen=True)
class SavedRun:
    """Creates a view of a run's folder, finished or stopped.

    Arguments:
        path: The folder.

    Raises:
        SpecError: On first use, if the folder holds no run.
    """

    path: Path

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.resolve().name

    @cached_property
    def record(self) -> spec.Run:
        """The run's record; that of a shard where only shards are there.

        Raises:
            SpecError: If there is none, or it is none.
        """
        if not self._record.exists():
            raise SpecError(
                f"{self.path}: there is no run here; look for a folder with a run.yaml"
            )
        return plain.read(self._record)

    @cached_property
    def record_text(self) -> str:
        """The record as it was written."""
        return self._record.read_text(encoding="utf-8")

    @property
    def _record(self) -> Path:
        places = [path / layout.RECORD for path in (self.path, *layout.parts(self.path))]
        return next((place for place in places if place.exists()), places[0])

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.record.record.get("finished"))

    @cached_property
    def diagnosis(self) -> dict[str, Any] | None:
        """What the sample is worth; None for draws from the prior, and after a kill."""
        return layout.read_json(self.path / layout.DIAGNOSIS, "verdict", "trustworthy", "words")

    @cached_property
    def evaluation(self) -> dict[str, Any] | None:
        """What `latentzoo evaluate` found, if it was asked."""
        return layout.read_json(self.path / layout.EVALUATION, "numbers")

    @cached_property
    def table(self) -> layout.Table:
        """The trace of a finished or stopped run.

        Raises:
            SpecError: If the run has made no step.
        """
        table = layout.read_trace(self.path)
        if table is None or (self.record.energies and not len(table.values)):
            raise SpecError(f"{self.path}: there is no run here that has begun; run or resume it")
        return table

    @property
    def trace(self) -> dict[str, np.ndarray]:
        """The trace as columns, one row per step and chain, as pandas takes it; steps, chains and seeds are whole."""
        return {name: self.table.column(name).reshape(-1) for name in self.table.header}

    @property
    def terms(self) -> list[str]:
        """The names of the run's energies."""
        return self.table.terms

    @property
    def chains(self) -> int:
        """How many chains it has; a shard has some of its record's."""
        return len(self.record.record.get("seeds", range(self.record.chains)))

    @cached_property
    def numbers(self) -> list[int]:
        """The number of each chain of the trace in its run."""
        if not self.table.seeds:
            return list(range(self.chains))
        return [seed % 2**32 - self.record.stream for seed in self.table.seeds]

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seed of each chain that has begun."""
        return self.table.seeds if self.record.energies else tuple(self.record.record["seeds"])

    @cached_property
    def kept(self) -> tuple[int, ...]:
        """The chains that did not fail."""
        if not self.record.energies:
            return tuple(range(self.chains))
        return tuple(np.isfinite(self.column("phi")[-1]).nonzero()[0].tolist())

    def column(self, name: str) -> np.ndarray:
        """One column of the trace, (steps, chains); an energy's by its name."""
        return self.table.column(name)

    def pictures(self, folder: str = layout.IMAGES) -> list[Path]:
        """The pictures of the chains, in the order of the trace: `images`, or `start` for where they began.

        Raises:
            SpecError: If one of them is gone.
        """
        return layout.pictures(self.path / folder) or [
            p for part in layout.parts(self.path) for p in layout.pictures(part / folder)
        ]

    @property
    def images(self) -> Float[Tensor, "B 3 H W"]:
        """The pictures of the chains in [0, 1], (B, 3, H, W).

        Raises:
            SpecError: If the run has left no pictures.
        """
        paths = self.pictures()
        if not paths:
            raise SpecError(f"{self.path}: this run has left no pictures; resume it")
        return torch.cat([picture.read(path) for path in paths])

    @property
    def z(self) -> Float[Tensor, "B D"]:
        """The latents of the chains."""
        return layout.read_latents(self.path)

    @property
    def space(self) -> Space:
        """The latent's named blocks."""
        return layout.read_space(self.path)

    @property
    def draws(self) -> Float[Tensor, "B K D"]:
        """The draws kept along the chains."""
        return layout.read_latents(self.path, "draws")

    def resume(self, *, progress: bool = True, watch: Watch | None = None) -> "SavedRun":
        """Goes on with a stopped run; the result is that of an undisturbed run, bit for bit."""
        return self._go_on(0, progress, watch)

    def extend(
        self, steps: int, *, progress: bool = True, watch: Watch | None = None
    ) -> "SavedRun":
        """Goes on with a finished run for `steps` gradients more, by the schedule it was planned with.

        Raises:
            SpecError: If `steps` is not positive, or the run has no chains that could go on.
        """
        if steps < 1:
            raise SpecError(f"steps is {steps}; give how many gradients more each chain gets")
        return self._go_on(steps, progress, watch)

    def _go_on(self, steps: int, progress: bool, watch: Watch | None) -> "SavedRun":
        with watched(shown=progress) as show:

            def both(frame: Any, walk: Any) -> None:
                show(frame, walk)
                if watch is not None:
                    watch(frame, walk)

            execute.resume(self.path, steps=steps, watch=both)
        return SavedRun(self.path)

    def _repr_html_(self) -> str:
        """The pictures and the verdict, for a notebook."""
        sheet = self.path / layout.GRID
        words = "\n".join((self.diagnosis or {}).get("words", [f"{self.path}: not finished"]))
        if not sheet.exists():
            return f"<pre>{words}</pre>"
        shown = picture.embedded(picture.to_uint8(picture.read(sheet))[0])
        return f'<img src="{shown}" alt="the pictures of the chains"><pre>{words}</pre>'


def open(path: str | Path) -> SavedRun:
    """Opens the folder of a run: its pictures, latents, trace, record and verdict; it can go on.

    Raises:
        SpecError: If the folder holds no run.
    """
    saved = SavedRun(Path(path))
    _ = saved.record
    return saved
