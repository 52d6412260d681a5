"""A run folder in the hands of the process that makes the run; see `layout` for its files.

A new run is prepared beside its place, and takes its name with its first step. Until then nothing
that exists is touched, so a mistake in the record, or a Ctrl-C while networks load, leaves the old
run as it was and no new folder.
"""

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from msgspec.structs import replace

from latentzoo import files, kernels, markup, picture
from latentzoo.errors import SpecError
from latentzoo.posterior import Posterior
from latentzoo.record import layout, plain, spec
from latentzoo.run.chain import Frame
from latentzoo.run.result import Result
from latentzoo.run.walk import Walk

Pictures = Mapping[str, np.ndarray]
EVERY_STEPS = 10
EVERY_SECONDS = float(os.environ.get("LATENTZOO_STATE_SECONDS", "10"))
"""A state file is written after so many steps and seconds, and at the end."""


class RunFolder:
    """Creates or opens a run folder, held by this process until it is left.

    Arguments:
        path: The folder.
        force: Whether a run that is there is replaced.
        resume: Whether the folder must hold a run to go on with.

    Raises:
        SpecError: If the folder holds a run and `force` is not given, if it holds none and
            `resume` is, if another process works in it, if it is no folder of a run's own, or if
            none can be made there.
    """

    def __init__(self, path: Path, *, force: bool = False, resume: bool = False) -> None:
        self.final = self.path = path
        self.force, self.resume = force, resume
        self._locks: list[FileLock] = []
        self._parents: list[Path] = []

    def __enter__(self) -> "RunFolder":
        _refuse_files(self.final)
        _recover(self.final.resolve())
        if self.resume:
            if not (self.final / layout.RECORD).exists():
                raise SpecError(
                    f"{self.final}: there is no run here to go on with; look for a folder with a run.yaml"
                )
            self._hold(self.final)
            files.sweep(self.final)
            return self
        if self.final.exists():
            self._hold(self.final)
            if _occupied(self.final) and not self.force:
                self._release()
                raise SpecError(_taken(self.final))
        self._parents = [p for p in self.final.absolute().parents if not p.exists()]
        self.path = _beside(self.final, f"{os.getpid()}.new")
        try:
            self.path.mkdir(parents=True)
        except OSError as error:
            raise SpecError(
                f"{self.final}: no folder can be made here ({error.strerror}); give another --out"
            ) from None
        self._hold(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        self._release()
        if not self.published:  # the run never took its name
            shutil.rmtree(self.path, ignore_errors=True)
            with suppress(OSError):
                for parent in self._parents:
                    parent.rmdir()

    def _hold(self, folder: Path) -> None:
        lock = FileLock(folder / layout.LOCK, blocking=False)
        try:
            lock.acquire()
        except Timeout:
            self._release()
            raise SpecError(
                f"{folder}: a running process works in this folder; wait for it or give another --out"
            ) from None
        self._locks.append(lock)

    def _release(self) -> None:
        while self._locks:
            self._locks.pop().release()

    def publish(self) -> None:
        """Gives a new run its name; a run that had it goes, other people's files in its folder stay.

        Raises:
            SpecError: If another run took the name meanwhile; what was there stays.
        """
        if self.published:
            return
        old = _beside(self.final, f"{os.getpid()}.old")
        if self.final.exists():
            os.replace(self.final, old)
        try:
            os.replace(self.path, self.final)
        except OSError as error:
            if old.exists():
                os.replace(old, self.final)
            raise SpecError(
                f"{self.final}: another run took this folder meanwhile ({error.strerror}); give another --out"
            ) from None
        self.path = self.final
        if old.exists():
            _bring(old, self.final)

    @property
    def published(self) -> bool:
        """Whether the run has its name."""
        return self.path == self.final

    @property
    def state(self) -> Path:
        """Where the state file is."""
        return self.path / layout.STATE

    def keeping(self, walk: Walk, record: str) -> Iterator[Frame]:
        """Walks on, and keeps what is needed to go on after a kill.

        Arguments:
            walk: A walk at its start, or one that was resumed.
            record: The record, which is in the folder before the first state file.

        Yields:
            Every frame.
        """
        saved_step, saved_at = walk.here.step, time.monotonic()
        if self.published:  # a resumed run says again what it is: it may be extended now
            files.write_text(self.path / layout.RECORD, record)
        try:
            for frame in walk:
                if not self.published:
                    files.write_text(self.path / layout.RECORD, record)
                    self.publish()
                late = time.monotonic() - saved_at >= EVERY_SECONDS
                if late and frame.step - saved_step >= EVERY_STEPS:
                    walk.save(self.state)
                    saved_step, saved_at = frame.step, time.monotonic()
                yield frame
        finally:
            if self.published or walk.done:
                walk.save(self.state)

    def write(self, result: Result, record: str) -> None:
        """Writes everything but the state file.

        Arguments:
            result: The run's result.
            record: The run's record as YAML, put into the pictures too; it is written last, and
                says that the run is finished.
        """
        self.publish()
        self.fill(result, record, None if result.generator is None else _drawn(result))

    def fill(self, result: Result, record: str, pictures: Pictures | None) -> None:
        """Writes the same where the folder is, whether or not it has taken its name.

        Arguments:
            result: The run's result.
            record: The run's record as YAML.
            pictures: The chains' pictures as bytes, (B, H, W, 3), by the name of their folder.
        """
        tensors = {"z": result.z, "start": result.start}
        if result.draws is not None:
            tensors["draws"] = result.draws
        (self.path / layout.EVALUATION).unlink(missing_ok=True)  # that of an earlier length
        texts = {"seeds": str(list(result.trace.seeds)), "record": record}
        if result.generator is not None:
            texts |= layout.space_text(result.generator.space)
        layout.write_latents(self.path / layout.LATENTS, tensors, texts)
        layout.write_trace(self.path / layout.TRACE, result.trace)
        short = _of_one(record)
        for name, pixels in (pictures or {}).items():
            self._write_pictures(name, pixels, result.trace.seeds, short)
        if pictures:
            sheet, texts = picture.grid(pictures[layout.IMAGES]), {"latentzoo": record}
            picture.write(self.path / layout.GRID, sheet, texts)
            if layout.START in pictures:
                pairs = picture.pairs(pictures[layout.START], pictures[layout.IMAGES])
                picture.write(self.path / layout.PAIRS, pairs, texts)
        if result.kernel is not None:
            found = result.diagnosis
            told = {"words": str(found).splitlines(), **found.to_dict()}
            files.write_json(self.path / layout.DIAGNOSIS, told)
        files.write_text(self.path / layout.RECORD, record)

    def _write_pictures(
        self, folder: str, pixels: Any, seeds: tuple[int, ...], record: str
    ) -> None:
        (self.path / folder).mkdir(exist_ok=True)
        for i, (one, seed) in enumerate(zip(pixels, seeds, strict=True)):
            texts = {"latentzoo": record, "seed": str(seed), "chain": str(seed % 2**32)}
            picture.write(self.path / folder / f"{i:05d}.png", one, texts)


def _of_one(record: str) -> str:
    """The record as a picture holds it: without the seeds of all chains, as it tells its own."""
    run = plain.parse(markup.load(record))
    told = {key: value for key, value in run.record.items() if key != "seeds"}
    return spec.to_yaml(replace(run, record=told))


def _drawn(result: Result) -> Pictures:
    """The pictures of a result, and of where its chains began."""
    drawn = {layout.IMAGES: picture.to_uint8(result.images)}
    if result.kernel is not None:
        drawn[layout.START] = picture.to_uint8(result.picture(result.start))
    return drawn


def is_finished(path: Path) -> bool:
    """Whether a folder holds a run that came to its end."""
    try:
        return bool(plain.read(path / layout.RECORD).record.get("finished"))
    except SpecError:
        return False


def is_started(path: Path) -> bool:
    """Whether a folder holds a run, finished or stopped."""
    return (path / layout.RECORD).exists()


def save(result: Result, path: str | Path, *, force: bool = False) -> Path:
    """Writes a result of Python as a run folder, which every command reads.

    The record says that the run was sampled in Python: its generator and energies are objects that
    no words name, so that `latentzoo resume` and `run` refuse it.

    Arguments:
        result: The result.
        path: The folder.
        force: Whether a run that is there is replaced.

    Raises:
        SpecError: If the folder holds a run already and `force` is not given.
    """
    with RunFolder(Path(path), force=force) as folder:
        folder.write(result, spec.to_yaml(_described(result)))
    return Path(path)


def _described(result: Result) -> spec.Run:
    """What a record can say of a run whose parts are objects."""
    phi = result.potential
    weighted = phi.terms if isinstance(phi, Posterior) else {}
    terms = [
        spec.Term(energy="python", target=type(energy).__name__, weight=weight, name=name)
        for name, (weight, energy) in weighted.items()
    ]
    kernel = result.kernel
    return spec.Run(
        generator=f"python:{type(result.generator or phi).__name__}",
        energies=terms,
        kernel=spec.KernelSettings()
        if kernel is None
        else spec.KernelSettings(name=kernels.name(kernel), settings=kernels.settings(kernel)),
        chains=len(result.z),
        steps=round(result.gradients),
        seed=result.trace.seeds[0] // 2**32,
        stream=result.trace.seeds[0] % 2**32,
        micro_batch=result.micro_batch,
        record={
            "python": True,
            "versions": {"latentzoo": version("latentzoo"), "torch": version("torch")},
            "seeds": list(result.trace.seeds),
            "finished": True,
            "gradients": result.gradients,
            "seconds": round(result.seconds, 3),
        },
    )


def _occupied(path: Path) -> bool:
    return any((path / name).exists() for name in (layout.RECORD, layout.LATENTS))


def _taken(path: Path) -> str:
    if (path / layout.RECORD).exists() and not is_finished(path):
        return (
            f"{path}: the folder holds a run that was stopped; go on with `latentzoo resume {path}`, "
            "or give --force to replace it, or another --out"
        )
    return f"{path}: the folder holds a run already; give --force to replace it, or another --out"


def _refuse_files(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise SpecError(f"{path}: this is a file; give a folder for the run")
    if path.resolve() == Path.cwd() or path.resolve() in Path.cwd().parents:
        raise SpecError(f"{path}: this is the folder you are in; give the run a folder of its own")


def _beside(path: Path, end: str) -> Path:
    """The hidden place beside a folder, `.NAME.PID.new` or `.NAME.PID.old`."""
    path = path.resolve()
    return path.with_name(f".{path.name}.{end}")


def _recover(path: Path) -> None:
    """Cleans up after processes that were killed: half-made runs go, a run half replaced comes back."""
    for orphan in path.parent.glob(f".{path.name}.*.*"):
        process, _, kind = orphan.name.removeprefix(f".{path.name}.").partition(".")
        if not process.isdigit() or files.alive(int(process)):
            continue
        if kind == "old" and not path.exists():
            os.replace(orphan, path)
        elif kind == "old":
            _bring(orphan, path)
        elif kind == "new":
            shutil.rmtree(orphan, ignore_errors=True)


def _bring(old: Path, new: Path) -> None:
    """Carries other people's files from a run's old folder into the new one, and removes the old."""
    for entry in old.iterdir():
        if entry.name not in layout.NAMES:
            os.replace(entry, new / entry.name)
    shutil.rmtree(old, ignore_errors=True)
