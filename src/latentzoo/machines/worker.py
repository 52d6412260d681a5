"""One worker: a process that keeps a job, with the networks it has loaded, and does its items one after the other."""

import pickle
import socket
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple, Protocol, runtime_checkable

from latentzoo.errors import LatentzooError

THREADS = 1
"""How many threads a worker computes with: sums have another order with more, and then other last bits."""


Tell = Callable[..., None]
"""How a worker says how far it is; it is stopped there if that was asked for."""


@runtime_checkable
class Job(Protocol):
    """What a worker does; it is sent to each worker once and may keep what it loads."""

    def do(self, item: Any, tell: Tell) -> Any:
        """Does one piece and returns what there is to know of it."""
        ...


class Outcome(NamedTuple):
    """What became of an item: what it returned, or the error it ended with."""

    item: Any
    value: Any = None
    error: Exception | None = None


class WorkerError(LatentzooError):
    """Workers that do not start, or that die over and over."""


class Stopped(Exception):
    """The driver asked a worker to stop."""


class Worker:
    """Creates the worker of a job; Ray makes an actor of it."""

    def __init__(self, job: Job) -> None:
        self._job, self._told, self._stopped = job, (), False

    def about(self) -> dict[str, str]:
        """Where it runs, and by which versions its results are decided."""
        return {"node": socket.gethostname(), **versions()}

    def do(self, item: Any) -> Outcome:
        """Does an item of the job; a mistake is an outcome too."""
        import torch

        torch.set_num_threads(THREADS)
        self._told = ()
        try:
            return Outcome(item, self._job.do(item, self._tell))
        except Exception as error:
            error.add_note(traceback.format_exc())
            return Outcome(item, error=_portable(error))

    def told(self) -> tuple[Any, ...]:
        """What the job last said of how far it is."""
        return self._told

    def stop(self) -> None:
        """Ends the item at hand where the job next says how far it is."""
        self._stopped = True

    def _tell(self, *said: Any) -> None:
        self._told = said
        if self._stopped:
            raise Stopped


def versions() -> dict[str, str]:
    """The versions by which a result is decided."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"latentzoo": version("latentzoo"), "torch": version("torch"), "python": python}


def _portable(error: Exception) -> Exception:
    """The error, or its words where it cannot leave the process."""
    try:
        pickle.dumps(error)
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
