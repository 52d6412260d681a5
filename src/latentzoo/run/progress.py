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
Climb = Callable[[float, int, str], None]
Count = Callable[[int, int, Callable[[], str]], None]
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
    with counted("sampling", "step", shown=shown) as count:
        yield lambda frame, walk: count(frame.step, walk.length, lambda: words(frame, walk))


@contextmanager
def climbed(*, shown: bool = True) -> Iterator[Climb]:
    """Watches the search for a strength on standard error; see `watched`."""
    with counted("finding the strength", "gradient", shown=shown) as count:
        yield lambda done, total, note: count(int(done), total, lambda: note)


@contextmanager
def counted(title: str, unit: str, *, shown: bool) -> Iterator[Count]:
    """Counts on standard error: a bar where somebody looks, else a line now and then.

    Arguments:
        title: What is done.
        unit: What is counted.
        shown: Whether anything is shown at all.

    Yields:
        The function to call with how many are done, of how many, and a word on it, made where it is shown.
    """
    if not shown:
        yield lambda done, total, note: None
    elif sys.stderr.isatty() or _in_notebook():
        with _bar(title) as count:
            yield count
    else:
        yield _lines(unit)


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


@contextmanager
def _bar(title: str) -> Iterator[Count]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = [
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    ]
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    task = progress.add_task(title, total=None, note="")

    def count(done: int, total: int, note: Callable[[], str]) -> None:
        progress.start()  # with the first count, since another bar may be there until then
        progress.update(task, total=total, completed=done, note=note())

    try:
        yield count
    finally:
        progress.stop()


def _lines(unit: str) -> Count:
    last = time.monotonic()

    def count(done: int, total: int, note: Callable[[], str]) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            sys.stderr.write(f"{unit} {done} of {total}  {note()}\n")
            sys.stderr.flush()

    return count
