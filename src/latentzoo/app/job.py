"""One run in a thread of its own, watched and stopped from outside.

The walk calls `Job.watch` after every step. It notes where the chains are, makes a small picture of them at most every
two seconds, and ends the walk there if that was asked for; the run folder then holds all that was reached.
"""

import logging
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from latentzoo.errors import LatentzooError
from latentzoo.picture import to_uint8
from latentzoo.posterior import Posterior
from latentzoo.run.chain import Frame
from latentzoo.run.progress import words
from latentzoo.run.result import Result
from latentzoo.run.walk import Walk

EVERY = 2.0
"""How many seconds are between two pictures of the chains, at least."""
LOG = logging.getLogger("latentzoo.app")


@dataclass
class Seen:
    """What is known of a run on its way.

    Attributes:
        step: The step that was made last.
        length: How many there will be.
        seconds: How long the walk took so far.
        words: The mean numbers of the chains, or how far the search for a strength is.
        phi: Each chain's potential at every step, (T, B).
        pixels: The newest pictures of the chains, (B, H, W, 3).
        pictures: How many times pictures were made.
    """

    step: int = 0
    length: int = 0
    seconds: float = 0.0
    words: str = ""
    phi: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    pixels: np.ndarray | None = None
    pictures: int = 0

    @property
    def left(self) -> float:
        """How many seconds are left, if the steps that are left take as long as those before."""
        return self.seconds / self.step * (self.length - self.step) if self.step else float("nan")


class Job:
    """Starts a run.

    Arguments:
        making: Makes or resumes the run; it is given the job, whose `watch` and `climb` it calls after every step.

    Attributes:
        seen: What is known of it so far.
        result: What it left; None before its end, or if it was stopped.
        error: What went wrong, in one line; "" if nothing did.
        notes: Warnings, each in one line.
        done: Set when it is over.
    """

    def __init__(self, making: "Callable[[Job], Result | None]") -> None:
        self.seen, self.result, self.error = Seen(), None, ""
        self.notes: list[str] = []
        self.done, self._stop, self._last = threading.Event(), threading.Event(), 0.0
        self._making = making
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Asks the run to end after its present step."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether it was asked to end before its last step."""
        return self.done.is_set() and self.result is None and not self.error

    def watch(self, frame: Frame, walk: Walk) -> None:
        """Notes a step.

        Raises:
            KeyboardInterrupt: If the run is to end, as Ctrl-C would.
        """
        seen = self.seen
        pixels, pictures = seen.pixels, seen.pictures
        if time.monotonic() - self._last >= EVERY and isinstance(walk.phi.phi, Posterior):
            pixels, pictures = to_uint8(walk.phi.phi.images(frame.state.z)), pictures + 1
            self._last = time.monotonic()
        self.seen = Seen(
            step=frame.step,
            length=walk.length,
            seconds=walk.seconds,
            words=words(frame, walk),
            phi=walk.trace.phi,
            pixels=pixels,
            pictures=pictures,
        )
        if self._stop.is_set():
            raise KeyboardInterrupt

    def climb(self, spent: float, of: int, note: str) -> None:
        """Notes how far the search for a strength is.

        Raises:
            KeyboardInterrupt: If the run is to end.
        """
        self.seen = Seen(words=f"finding the strength: {spent:.0f} of {of} gradients  {note}")
        if self._stop.is_set():
            raise KeyboardInterrupt

    def _run(self) -> None:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = self._note
                self.result = self._making(self)
        except KeyboardInterrupt:
            pass
        except LatentzooError as error:
            self.error = " ".join(str(error).split())
        except Exception:  # its words may tell of the machine: they are for the operator alone
            LOG.exception("a run of the page failed")
            self.error = "the run failed; the log of the server says why"
        finally:
            self.done.set()

    def _note(self, message: Warning | str, *_: Any, **__: Any) -> None:
        self.notes.append(" ".join(str(message).split()))
