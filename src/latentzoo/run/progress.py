"""Who watches a run: a bar on a terminal or in a notebook, a line now and then in a log, or nobody."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from latentzoo.run.chain import Frame
from latentzoo.run.walk import Walk

Watch = Callable[[Frame, Walk], None]
Log = Callable[[Mapping[str, float], int], Any]
"""What a tracker of experiments is: it takes the numbers of a step by name, and the step."""
EVERY = 30.0
"""Every how many seconds a log gets a line."""


def summary(frame: Frame, walk: Walk) -> dict[str, float]:
    """The living chains' mean potential, energies and acceptance after a step."""
    alive = (frame.failed < 0).cpu()
    mean = lambda x: float(x.cpu()[alive].mean()) if alive.any() else float("nan")
    energies = {name: mean(frame.state.terms[:, k]) for k, name in enumerate(walk.phi.names)}
    return {"phi": mean(frame.state.phi), **energies, "accept": mean(frame.info.accept)}


def words(frame: Frame, walk: Walk) -> str:
    """The summary in one line."""
    numbers = summary(frame, walk).items()
    return "  ".join(f"{name} {value:.3g}" for name, value in numbers if np.isfinite(value))


def logged(log: Log) -> Watch:
    """Watches a run with a tracker, which gets the numbers of `summary` that are finite."""

    def watch(frame: Frame, walk: Walk) -> None:
        numbers = summary(frame, walk).items()
        log({name: value for name, value in numbers if np.isfinite(value)}, frame.step)

    return watch


@contextmanager
def watched(*, shown: bool = True) -> Iterator[Watch]:
    """Watches a run on standard error.

    Arguments:
        shown: Whether anything is shown at all.

    Yields:
        The function to call after each step.
    """
    if not shown:
        yield lambda frame, walk: None
    elif sys.stderr.isatty() or _in_notebook():
        with _bar() as watch:
            yield watch
    else:
        yield _lines()


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


@contextmanager
def _bar() -> Iterator[Watch]:
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
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("sampling", total=None, note="")
        yield lambda frame, walk: progress.update(
            task, total=walk.length, completed=frame.step, note=words(frame, walk)
        )


def _lines() -> Watch:
    last = time.monotonic()

    def watch(frame: Frame, walk: Walk) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            sys.stderr.write(f"step {frame.step} of {walk.length}  {words(frame, walk)}\n")
            sys.stderr.flush()

    return watch
