"""Who watches a run: a bar on a terminal, JSON lines for programs, or nobody."""

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from latentzoo.cli.app import is_terminal

if TYPE_CHECKING:
    from latentzoo.run.chain import Frame
    from latentzoo.run.walk import Walk

Watch = Callable[["Frame", "Walk"], None]


def emit(event: str, **values: Any) -> None:
    """Writes one JSON line to standard output."""
    clean = {
        k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in values.items()
    }
    sys.stdout.write(json.dumps({"event": event, **clean}) + "\n")
    sys.stdout.flush()


def watcher(*, quiet: bool, as_json: bool) -> tuple[AbstractContextManager[Any], Watch]:
    """Chooses who watches.

    Returns:
        A context to hold while the run is made, and the function to call after each step.
    """
    if as_json:
        return nullcontext(), _json
    if quiet or not is_terminal():
        return nullcontext(), lambda frame, walk: None
    return _bar()


def summary(frame: "Frame", walk: "Walk") -> dict[str, float]:
    """The living chains' mean potential, energies and acceptance after a step."""
    alive = (frame.failed < 0).cpu()
    mean = lambda x: float(x.cpu()[alive].mean()) if alive.any() else float("nan")
    energies = {name: mean(frame.state.terms[:, k]) for k, name in enumerate(walk.phi.names)}
    return {"phi": mean(frame.state.phi), **energies, "accept": mean(frame.info.accept)}


def _json(frame: "Frame", walk: "Walk") -> None:
    failed = int((frame.failed >= 0).sum())
    emit("step", step=frame.step, of=walk.length, failed=failed, **summary(frame, walk))


def _bar() -> tuple[AbstractContextManager[Any], Watch]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = [
        TextColumn("sampling"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    ]
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    task = progress.add_task("sampling", total=None, note="")

    def watch(frame: "Frame", walk: "Walk") -> None:
        numbers = summary(frame, walk)
        note = "  ".join(
            f"{name} {value:.3g}" for name, value in numbers.items() if np.isfinite(value)
        )
        progress.update(task, total=walk.length, completed=frame.step, note=note)

    return progress, watch
