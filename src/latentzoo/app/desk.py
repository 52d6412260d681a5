"""What a page may do with runs: begin, go on, stop, look. It knows whose each is, and no other place on the disk."""

import re
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from latentzoo.app import pack
from latentzoo.app.form import PICTURES, Fields, asked, chosen, command_line, near
from latentzoo.app.job import Job
from latentzoo.app.limits import Limits, private
from latentzoo.errors import ImageError, SpecError
from latentzoo.picture import read, to_uint8
from latentzoo.place import usable
from latentzoo.record import execute, layout, spec, words
from latentzoo.record.folder import is_finished, is_started
from latentzoo.record.saved import SavedRun
from latentzoo.record.saved import open as opened
from latentzoo.record.sides import Sides
from latentzoo.record.worlds import translated
from latentzoo.report import page
from latentzoo.run.result import Result

VIEWS, ARC = 19, 180.0
"""From how many cameras a chain is shown, over how many degrees."""
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
        asked_for = [str(run.options.get("prompt", "")), *(t.target for t in run.energies)]
        said = [Path(run.generator).name, *(Path(x).stem for x in asked_for), f"seed {run.seed}"]
        name = self._new(words.slug(" ".join(said))[:80])
        return name, self._start(visitor, name, self._made(run, name))

    def more(
        self,
        visitor: str,
        name: str,
        chain: object,
        *,
        chains: object,
        steps: object,
        seed: object,
    ) -> tuple[str, Job]:
        """Begins a run whose chains all begin where a chain of another one ended, and do not go far.

        Its steps are tested, so the chains stay draws of the posterior if the first one was; the fewer steps, the more
        they are like it.

        Raises:
            SpecError: If there is no such run or chain, it was asked for nothing, or it is beyond the limits.
        """
        saved = self.run(visitor, name)
        if not saved.record.energies:
            raise SpecError(f"'{name}' was asked for nothing, so there is nothing to be like")
        number = self.limits.index(chain, len(saved.z))
        run = near(
            saved.record,
            f"{saved.path.resolve()}#{number}",
            chains=self.limits.count("chains", chains),
            steps=self.limits.count("steps", steps),
            seed=self.limits.index(seed, 2**31),
        )
        new = self._new(words.slug(f"like {number} of {name}")[:80])
        return new, self._start(visitor, new, self._made(run, new))

    def sides(self, visitor: str, name: str, chain: object) -> np.ndarray:
        """A chain of a run from all sides, (V, H, W, 3) bytes.

        Raises:
            LatentzooError: If there is no such run or chain, or its generator has no camera.
        """
        saved = self.run(visitor, name)
        seen = Sides(saved, self.limits.index(chain, len(saved.z))).orbit(VIEWS, ARC)
        return to_uint8(seen[:, 0])

    def translated(
        self, upload: object, source: object, target: object, *, noisy: object, seed: object
    ) -> np.ndarray:
        """A picture as another generator's world has it, beside itself, two of (H, W, 3) bytes.

        Raises:
            ImageError: If there is no picture, or it cannot be read.
            LatentzooError: If the two generators cannot be translated between.
        """
        for generator in (source, target):
            chosen(Fields(generator), self.limits)
        if not isinstance(upload, str):
            raise ImageError("there is no picture to translate; drop one")
        path = self.limits.picture(upload, self.folder / PICTURES)
        found = translated(
            path,
            str(source),
            str(target),
            options={**self.limits.options, **({"eta": 1.0} if noisy is True else {})},
            seed=self.limits.index(seed, 2**31),
            device=str(usable(self.device)),
        )
        both = read(path, (found.shape[2], found.shape[3])), found.cpu()
        return np.concatenate([to_uint8(image) for image in both])

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
            visitor, name, lambda job: execute.resume(saved.path, steps=steps, watch=job.watch)
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
        return (pack.packed if self.shared else pack.packed_placeless)(saved, place)

    def told(self, words: object) -> str:
        """Words for the page in one line; beyond this machine they do not tell where the runs are kept."""
        line = " ".join(str(words).split())
        return line if self.shared else pack.placeless(line, self.folder)

    def command(self, saved: SavedRun) -> str:
        """The command line that makes the pictures of a run again."""
        return self.told(command_line(saved.record))

    def _is_run(self, name: str) -> bool:
        path = self.folder / name
        return NAME.fullmatch(name) is not None and not path.is_symlink() and is_started(path)

    def _new(self, name: str) -> str:
        taken = {path.name for path in self.folder.iterdir()}
        numbered = (f"{name}-{i}" for i in range(2, len(taken) + 3))
        return name if name not in taken else next(n for n in numbered if n not in taken)

    def _made(self, run: spec.Run, name: str) -> Callable[[Job], Result | None]:
        place = self.folder / name
        return lambda job: execute.make(
            run, place, watch=job.watch, climbing=lambda: nullcontext(job.climb)
        )

    def _start(self, visitor: str, name: str, making: Callable[[Job], Result | None]) -> Job:
        def whole(job: Job) -> Result | None:
            result = making(job)
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
