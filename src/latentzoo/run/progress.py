"""Who watches a run: a bar on a terminal or in a notebook, a line now and then in a log, or nobody."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from latentzoo.run.chain import Frame
from latentzoo.run.walk import Walk

Watch = Callable[[Frame, Walk], None]
Climb = Callable[[float, int, str], None]
Count = Callable[[float, int, Callable[[], str]], None]
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


class Progress(NamedTuple):
    """How far workers are.

    Attributes:
        done: How many chains, or runs, are done, parts of those at hand included.
        of: How many there are.
        running: How many workers have something in their hands.
        lost: How many workers died so far.
    """

    done: float
    of: int
    running: int
    lost: int

    def __str__(self) -> str:
        lost = f", {self.lost} lost" if self.lost else ""
        return f"{self.running} working{lost}"


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


@contextmanager
def gathered(*, shown: bool = True) -> Iterator[Callable[[Progress], None]]:
    """Watches workers on standard error, all in one bar; see `watched`."""
    with counted("sampling", "done", shown=shown) as count:
        yield lambda progress: count(round(progress.done, 1), progress.of, lambda: str(progress))


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


@contextmanager
def _bar(title: str) -> Iterator[Count]:
    from rich import progress as bars
    from rich.console import Console

    columns = [
        bars.TextColumn(title),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[note]}"),
    ]
    bar = bars.Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(title, total=None, note="")

    def count(done: float, total: int, note: Callable[[], str]) -> None:
        bar.start()  # with the first count, since another bar may be there until then
        bar.update(task, total=total, completed=done, note=note())

    try:
        yield count
    finally:
        bar.stop()


def _lines(unit: str) -> Count:
    last = time.monotonic()

    def count(done: float, total: int, note: Callable[[], str]) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            sys.stderr.write(f"{unit} {done:g} of {total}  {note()}\n")
            sys.stderr.flush()

    return count
