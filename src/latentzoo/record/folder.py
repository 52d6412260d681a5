"""The run folder: everything a run leaves on disk, each file written whole or not at all.

run.yaml               the complete record: every default, versions, seeds, weights' hash
images/00000.png       one picture per chain, the record and the seed in its text chunks
start/00000.png        where each chain began
grid.png               all pictures
latents.safetensors    z (B, D), start (B, D)
trace.csv              step, chain, seed, phi, |z|^2, acceptance, step size, temperature, error,
                       each term
diagnosis.json         what the sample is worth
report.html            all of this on one page
evaluation.json        what `latentzoo evaluate` found, if it was asked
checkpoint.safetensors where to go on
"""

import csv
import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from safetensors.torch import save_file

from latentzoo import picture
from latentzoo.errors import SpecError
from latentzoo.files import write_atomic

if TYPE_CHECKING:
    from latentzoo.run.sampling import Result
    from latentzoo.run.trace import Trace

FILES = (
    "run.yaml",
    "grid.png",
    "latents.safetensors",
    "trace.csv",
    "diagnosis.json",
    "report.html",
    "evaluation.json",
)
CHECKPOINT = "checkpoint.safetensors"


class RunFolder:
    """Creates or opens a run folder, held by this process until it is left.

    Arguments:
        path: The folder.
        force: Whether a run that is there may be overwritten.
        resume: Whether the folder must hold a run to go on with.

    Raises:
        SpecError: If the folder holds a run and `force` is not given, if it holds none and
        `resume` is, or if another
            process works in it.
    """

    def __init__(self, path: Path, *, force: bool = False, resume: bool = False) -> None:
        self.path, self.force, self.resume = path, force, resume
        self._lock = FileLock(path / ".lock", blocking=False)

    def __enter__(self) -> "RunFolder":
        occupied = (self.path / "run.yaml").exists() or (
            self.path / "latents.safetensors"
        ).exists()
        if self.resume and not (self.path / "run.yaml").exists():
            raise SpecError(
                f"{self.path}: there is no run here to go on with; look for a folder with a run.yaml"
            )
        if self.path.exists() and not self.path.is_dir():
            raise SpecError(f"{self.path}: this is a file; give a folder for the run")
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout:
            raise SpecError(
                f"{self.path}: a running process works in this folder; wait for it or give another --out"
            ) from None
        if occupied and not self.resume:
            if not self.force:
                self.__exit__()
                raise SpecError(
                    f"{self.path}: the folder holds a run already; give --force to overwrite it, or another --out"
                )
            self._clear()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        (self.path / ".lock").unlink(missing_ok=True)
        with suppress(OSError):  # a folder in which nothing was written goes again
            self.path.rmdir()

    def _clear(self) -> None:
        for name in (*FILES, CHECKPOINT):
            (self.path / name).unlink(missing_ok=True)
        for name in ("images", "start"):
            shutil.rmtree(self.path / name, ignore_errors=True)

    @property
    def checkpoint(self) -> Path:
        """Where the checkpoint is."""
        return self.path / CHECKPOINT

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file atomically."""
        write_atomic(self.path / name, lambda path: path.write_text(text, encoding="utf-8"))

    def write_trace(self, trace: "Trace") -> None:
        """Writes trace.csv."""

        def rows(path: Path) -> None:
            with path.open("w", newline="", encoding="utf-8") as file:
                table = csv.writer(file)
                table.writerow(trace.header())
                table.writerows(
                    [f"{x:.9g}" if isinstance(x, float) else x for x in row]
                    for row in trace.rows()
                )

        write_atomic(self.path / "trace.csv", rows)

    def write_result(self, result: "Result", record: str = "") -> None:
        """Writes everything but the checkpoint.

        Arguments:
            result: The run's result.
            record: The run's record as YAML, put into the pictures too.
        """
        latents = {"z": result.z.cpu().contiguous(), "start": result.start.cpu().clone()}
        metadata = {"seeds": json.dumps(result.trace.seeds), "record": record}
        write_atomic(
            self.path / "latents.safetensors", lambda path: save_file(latents, path, metadata)
        )
        self.write_trace(result.trace)
        if result.generator is not None:
            self._write_images(result, record)
        if result.kernel is not None:
            found = result.diagnosis
            cost = {"gradients": result.gradients, "seconds": round(result.seconds, 3)}
            told = {"words": str(found).splitlines(), **cost, **found.to_dict()}
            self.write_text("diagnosis.json", json.dumps(told, indent=2) + "\n")

    def _write_images(self, result: "Result", record: str) -> None:
        pixels = picture.to_uint8(result.images)
        self._write_pictures("images", pixels, result.trace.seeds, record)
        sheet, texts = picture.grid(pixels), {"latentzoo": record}
        write_atomic(self.path / "grid.png", lambda path: picture.write(path, sheet, texts))
        if result.kernel is not None:
            before = picture.to_uint8(result.picture(result.start))
            self._write_pictures("start", before, result.trace.seeds, record)

    def _write_pictures(
        self, folder: str, pixels: Any, seeds: tuple[int, ...], record: str
    ) -> None:
        (self.path / folder).mkdir(exist_ok=True)
        for i, (one, seed) in enumerate(zip(pixels, seeds, strict=True)):
            texts = {"latentzoo": record, "seed": str(seed), "chain": str(i)}
            write = lambda path, one=one, texts=texts: picture.write(path, one, texts)
            write_atomic(self.path / folder / f"{i:05d}.png", write)


def is_finished(path: Path) -> bool:
    """Whether a folder holds a run that came to its end."""
    return (path / "report.html").exists()
