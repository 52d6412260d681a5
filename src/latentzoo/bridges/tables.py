"""Runs as tables: the steps of a run for pandas, and its pictures as a data set that `datasets` reads.

    lz.to_pandas("runs/beard")                          # one row per step and chain
    lz.to_dataset(["runs/beard", "runs/hat"], "faces")  # datasets.load_dataset("imagefolder", data_dir="faces")

A data set is the folder of pictures that the package datasets calls an image folder: `FOLDER/train/*.png` and
`FOLDER/train/metadata.jsonl`, one line per picture.
"""

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentzoo.errors import MissingExtra, SpecError
from latentzoo.files import write_text
from latentzoo.record.saved import SavedRun
from latentzoo.record.saved import open as opened
from latentzoo.run.result import Result

if TYPE_CHECKING:
    from pandas import DataFrame

TRAIN, METADATA = "train", "metadata.jsonl"


def to_pandas(run: Result | SavedRun | Path | str) -> "DataFrame":
    """Gives the trace of a run as a table, one row per step and chain.

    Arguments:
        run: A result, or a run folder, finished or stopped.

    Raises:
        SpecError: If the folder holds no run that has begun.
        MissingExtra: If pandas is not installed.
    """
    try:
        from pandas import DataFrame
    except ImportError:
        raise MissingExtra("pandas", "pandas", "a table of a run") from None
    if isinstance(run, Result):
        return DataFrame(run.trace.table())
    saved = run if isinstance(run, SavedRun) else opened(run)
    return DataFrame(saved.trace)


def to_dataset(runs: Sequence[Path | str], out: Path | str) -> Path:
    """Copies the pictures of runs into a new folder that `datasets` reads as an image folder.

    Each line of `metadata.jsonl` has `file_name`, `run`, `generator`, `chain`, `seed`, `asked` (the targets of the
    energies), `verdict`, `failed`, and the energies of the picture as `term.NAME`.

    Arguments:
        runs: Run folders, finished or stopped.
        out: The new folder.

    Raises:
        SpecError: If a folder holds no run with pictures, two have the same name, or `out` is there already.
    """
    out, saved = Path(out), [opened(run) for run in runs]
    if not saved:
        raise SpecError("no run is given; give at least one run folder")
    if out.exists():
        raise SpecError(f"{out}: this is there already; give a new folder")
    names = [run.name for run in saved]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SpecError(
            f"two runs are called '{twice}'; rename one, so that their pictures differ in name"
        )
    if bare := next((run for run in saved if not run.pictures()), None):
        raise SpecError(f"{bare.path}: this run has left no pictures; resume it")
    half = out.with_name(f".{out.name}.new")
    shutil.rmtree(half, ignore_errors=True)
    (half / TRAIN).mkdir(parents=True)
    lines = [
        json.dumps(row, ensure_ascii=False) for run in saved for row in _copied(run, half / TRAIN)
    ]
    write_text(half / TRAIN / METADATA, "\n".join(lines) + "\n")
    half.rename(out)
    return out


def _copied(run: SavedRun, folder: Path) -> Iterator[dict[str, Any]]:
    """Copies the pictures of a run and tells what is known of each."""
    record, verdict = run.record, (run.diagnosis or {}).get("verdict")
    guided = bool(record.energies)
    for chain, picture in enumerate(run.pictures()):
        name = f"{run.name}-{picture.name}"
        shutil.copyfile(picture, folder / name)
        energies = (
            {f"term.{term}": float(run.column(term)[-1, chain]) for term in run.terms}
            if guided
            else {}
        )
        yield {
            "file_name": name,
            "run": run.name,
            "generator": record.generator,
            "chain": chain,
            "seed": run.seeds[chain],
            "asked": [term.target for term in record.energies],
            "verdict": verdict,
            "failed": chain not in run.kept,
            **{key: value if math.isfinite(value) else None for key, value in energies.items()},
        }
