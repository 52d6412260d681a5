r"""How far a run is, read from its folder while others work in it.

.. math:: \text{seconds left} = \frac{1}{\max(R, 1)} \, \frac{\sum_p t_p}{\sum_p f_p b_p} \,
    \Big(B - \sum_p f_p b_p\Big)

over the shards p of :math:`b_p` chains each, of whose walks the fraction :math:`f_p` was made in :math:`t_p` seconds,
R of them at once.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open

from latentzoo.errors import SpecError
from latentzoo.record import layout, plain, schedule, shard
from latentzoo.run.walk import length


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes:
        chains: How many chains it has.
        done: How many came to their end.
        running: How many are being walked.
        failed: How many stopped because something was not finite.
        waiting: How many were not begun.
        stopped: How many were begun, and nobody walks them.
        seconds_left: What is left to do at the pace so far; None if nothing is known of it.
        stopped_at: The folders in which it was stopped.
    """

    chains: int
    done: int
    running: int
    failed: int
    waiting: int
    stopped: int
    seconds_left: float | None
    stopped_at: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        counts = {
            name: getattr(self, name) for name in ("running", "failed", "waiting", "stopped")
        }
        said = [f"{self.done} of {self.chains} chains done"]
        said += [f"{count} {name}" for name, count in counts.items() if count]
        if self.running and self.seconds_left is not None:
            said.append(f"about {self.seconds_left:.0f} seconds left")
        return ", ".join(said)


class _Piece(NamedTuple):
    """A run's folder, or a shard's: its chains, those that failed, the part of its walk that is made, and its pace."""

    path: Path
    chains: int
    failed: int
    made: float
    seconds: float
    finished: bool
    held: bool


def read(folder: Path) -> Status:
    """Reads how far a run is.

    Raises:
        SpecError: If there is no run in the folder.
    """
    pieces = list(_pieces(folder))
    if not pieces:
        raise SpecError(
            f"{folder}: there is no run here, and none that was begun; a run takes its folder with its first step"
        )
    total = _chains(folder, pieces)
    begun = [piece for piece in pieces if not piece.finished]
    running = [piece for piece in begun if piece.held]
    living = lambda some: sum(piece.chains - piece.failed for piece in some)
    stopped = [piece for piece in begun if not piece.held]
    return Status(
        chains=total,
        done=living(piece for piece in pieces if piece.finished),
        running=living(running),
        failed=sum(piece.failed for piece in pieces),
        waiting=total - sum(piece.chains for piece in pieces),
        stopped=living(stopped),
        seconds_left=_left(pieces, total, max(len(running), 1)),
        stopped_at=tuple(str(piece.path) for piece in stopped),
    )


def _pieces(folder: Path) -> Iterator[_Piece]:
    """The shards that were begun, or the run itself."""
    found = [path for path in layout.parts(folder) if (path / layout.RECORD).exists()]
    for path in found or [folder]:
        if (path / layout.RECORD).exists():
            yield _piece(path)


def _piece(path: Path) -> _Piece:
    run = plain.read(path / layout.RECORD)
    said = run.record.get("shard")
    chains = run.chains if said is None else len(shard.read(str(said)).chains(run))
    step, seconds, failed = _state(path / layout.STATE)
    finished = bool(run.record.get("finished"))
    whole = length(schedule.kernel(run), run.steps, run.tries or 1) if not finished else 0
    made = 1.0 if finished else min(step / max(whole, 1), 1.0)
    return _Piece(path, chains, failed, made, seconds, finished, is_held(path))


def _chains(folder: Path, pieces: list[_Piece]) -> int:
    """How many chains the whole run has; that of a shard has its own."""
    run = plain.read(pieces[0].path / layout.RECORD)
    return run.chains if pieces[0].path != folder else pieces[0].chains


def _state(path: Path) -> tuple[int, float, int]:
    """The step, the seconds and the number of failed chains by a state file."""
    try:
        with safe_open(path, framework="np") as file:
            said = file.metadata() or {}
            return int(said["step"]), float(said["seconds"]), len(json.loads(said["failures"]))
    except (OSError, SafetensorError, KeyError, ValueError):
        return 0, 0.0, 0


def _left(pieces: list[_Piece], chains: int, at_once: int) -> float | None:
    made = sum(piece.made * piece.chains for piece in pieces)
    seconds = sum(piece.seconds for piece in pieces)
    if made == 0 or seconds == 0:
        return 0.0 if all(piece.finished for piece in pieces) else None
    return round(seconds / made * (chains - made) / at_once, 1)


def is_held(path: Path) -> bool:
    """Whether a running process works in a run's folder."""
    lock = FileLock(path / layout.LOCK, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        return True
    except PermissionError:  # somebody else's, which is read alone
        return _is_held_by_others(path / layout.LOCK)
    lock.release()
    return False


def _is_held_by_others(path: Path) -> bool:
    import fcntl

    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
