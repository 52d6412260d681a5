"""Who watches a run of the command line: a bar or lines for people, JSON lines for programs, or nobody."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from latentzoo.files import to_json

if TYPE_CHECKING:
    from latentzoo.record.spec import Run
    from latentzoo.run.chain import Frame
    from latentzoo.run.progress import Climb, Watch
    from latentzoo.run.walk import Walk


def emit(event: str, **values: Any) -> None:
    """Writes one JSON line to standard output."""
    sys.stdout.write(to_json({"event": event, **values}) + "\n")
    sys.stdout.flush()


@contextmanager
def watcher(*, quiet: bool, as_json: bool) -> "Iterator[Watch]":
    """Chooses who watches.

    Yields:
        The function to call after each step.
    """
    from latentzoo.run.progress import watched

    if as_json:
        yield _json
        return
    with watched(shown=not quiet) as watch:
        yield watch


@contextmanager
def climber(*, quiet: bool, as_json: bool) -> "Iterator[Climb]":
    """Chooses who watches the search for a strength.

    Yields:
        The function to call after each step of it.
    """
    from latentzoo.run.progress import climbed

    if as_json:
        yield lambda done, total, note: emit("strength", gradients=done, of=total, note=note)
        return
    with climbed(shown=not quiet) as watch:
        yield watch


@contextmanager
def tracked(words: str | None, record: "Callable[[], Run]") -> "Iterator[Watch]":
    """Opens a tracker of experiments for a run.

    Arguments:
        words: The tracker, `KIND:PLACE`; None for none.
        record: Gives the run's record.

    Yields:
        The function to call after each step.
    """
    if words is None:
        yield lambda frame, walk: None
        return
    from latentzoo.bridges.trackers import tracker
    from latentzoo.run.progress import logged

    with tracker(words, config=msgspec.to_builtins(record())) as log:
        yield logged(log)


def _json(frame: "Frame", walk: "Walk") -> None:
    from latentzoo.run.progress import summary

    failed = int((frame.failed >= 0).sum())
    emit("step", step=frame.step, of=walk.length, failed=failed, **summary(frame, walk))
