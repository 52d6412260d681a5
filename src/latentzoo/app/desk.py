"""What a page may do with runs: begin, go on, stop, look. It knows whose each is, and no other place on the disk."""

import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

from latentzoo.app.form import Fields, asked
from latentzoo.app.job import Job
from latentzoo.app.limits import Limits, private
from latentzoo.errors import SpecError
from latentzoo.record import execute, layout, words
from latentzoo.record.execute import Watch
from latentzoo.record.folder import is_finished, is_started
from latentzoo.record.saved import SavedRun
from latentzoo.record.saved import open as opened
from latentzoo.report import page
from latentzoo.run.result import Result

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,100}")


class Desk:
    """Creates the desk of one page.

    Arguments:
        folder: Where runs are kept, and found again.
        limits: What the operator allows.
        shared: Whether all visitors see all runs of the folder; else each sees those of its own visit.
        device: Where networks run.
    """

    def __init__(
        self, folder: Path, limits: Limits, *, shared: bool = True, device: str = "auto"
    ) -> None:
        self.folder, self.limits, self.shared, self.device = folder, limits, shared, device
        self._owned: dict[str, list[str]] = {}
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        private(folder)

    def begin(self, visitor: str, fields: Fields) -> tuple[str, Job]:
        """Begins the run that a form asks for; its folder has a new name.

        Raises:
            LatentzooError: If it cannot be meant, is beyond the limits, or a run of this page walks.
        """
        run = asked(fields, self.limits, self.folder, device=self.device)
        said = [run.generator, *(Path(t.target).stem for t in run.energies), f"seed {run.seed}"]
        name = self._new(words.slug(" ".join(said))[:80])
        making = lambda watch: execute.make(run, self.folder / name, watch=watch)
        return name, self._start(visitor, name, making)

    def go_on(self, visitor: str, name: str, steps: int = 0) -> Job:
        """Goes on with a run that was stopped, or gives a finished one more steps.

        Raises:
            SpecError: If its steps would be beyond the limits.
            LatentzooError: If the visitor has no such run.
        """
        saved = self.run(visitor, name)
        if not saved.finished:
            steps = 0
        elif saved.record.steps + steps > self.limits.steps:
            raise SpecError(
                f"the run would have {saved.record.steps + steps} steps; this page allows {self.limits.steps}"
            )
        return self._start(
            visitor, name, lambda watch: execute.resume(saved.path, steps=steps, watch=watch)
        )

    def stop(self, visitor: str) -> bool:
        """Asks the visitor's run to end after its step; whether one was walking."""
        job = self._jobs.get(visitor)
        if job is not None:
            job.stop()
        return job is not None

    def leave(self, visitor: str) -> None:
        """Ends what a visitor's page has begun and waits for it; the folder keeps what was reached."""
        job = self._jobs.pop(visitor, None)
        if job is not None:
            job.stop()
            job.done.wait(60)

    def names(self, visitor: str) -> list[str]:
        """The runs that a visitor may see, newest first."""
        if not self.shared:
            return [name for name in reversed(self._owned.get(visitor, [])) if self._is_run(name)]
        found = [path for path in self.folder.iterdir() if self._is_run(path.name)]
        return [p.name for p in sorted(found, key=lambda p: p.stat().st_mtime, reverse=True)]

    def run(self, visitor: str, name: object) -> SavedRun:
        """A run that the visitor may see.

        Raises:
            SpecError: If there is none of that name.
        """
        if not isinstance(name, str) or name not in self.names(visitor):
            raise SpecError("this page has no such run; choose one of the list")
        return opened(self.folder / name)

    def packed(self, saved: SavedRun, place: Path) -> Path:
        """The run folder as one file to download, below `place`."""
        folder = Path(mkdtemp(dir=place))
        return Path(shutil.make_archive(str(folder / saved.name), "zip", self.folder, saved.name))

    def _is_run(self, name: str) -> bool:
        path = self.folder / name
        return NAME.fullmatch(name) is not None and not path.is_symlink() and is_started(path)

    def _new(self, name: str) -> str:
        taken = {path.name for path in self.folder.iterdir()}
        numbered = (f"{name}-{i}" for i in range(2, len(taken) + 3))
        return name if name not in taken else next(n for n in numbered if n not in taken)

    def _start(self, visitor: str, name: str, making: Callable[[Watch], Result | None]) -> Job:
        def whole(watch: Watch) -> Result | None:
            result = making(watch)
            path = self.folder / name
            if is_finished(path) and (path / layout.TRACE).exists():
                page.write([path], path / layout.REPORT)
            return result

        with self._lock:
            if any(not job.done.is_set() for job in self._jobs.values()):
                raise SpecError("a run is walking already; stop it, or wait for its end")
            self._owned.setdefault(visitor, []).append(name)
            self._jobs[visitor] = job = Job(whole)
        return job
