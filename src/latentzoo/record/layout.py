"""The run folder's files: their names, and how each is written and read.

run.yaml               the complete record: every default, versions, seeds, hashes of what went in
images/00000.png       one picture per chain, the record and the seed in its text chunks
start/00000.png        where each chain began
grid.png               all pictures
pairs.png              where each chain began, and below it where it ended, at most 256 pixels each
latents.safetensors    z (B, D), start (B, D), and draws (B, K, D) if they were kept; the blocks of z
trace.csv              step, chain, seed, phi, |z|^2, acceptance, step size, temperature, error,
                       and `term.NAME` for each energy
diagnosis.json         what the sample is worth
report.html            all of this on one page
evaluation.json        what `latentzoo evaluate` found, if it was asked
state.safetensors      where to go on
parts/00000-of-00004   the run folder of a shard, until the run is whole (see `parts`)
pilot/                 the run whose schedule the others follow, where workers made one
"""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from latentzoo.errors import SpecError, StateError
from latentzoo.files import write_atomic
from latentzoo.run.trace import COLUMNS, INDEX, TERM, Trace
from latentzoo.space import Space

RECORD = "run.yaml"
IMAGES, START, GRID, PAIRS = "images", "start", "grid.png", "pairs.png"
LATENTS = "latents.safetensors"
TRACE = "trace.csv"
DIAGNOSIS = "diagnosis.json"
REPORT = "report.html"
EVALUATION = "evaluation.json"
STATE = "state.safetensors"
LOCK = ".lock"
PARTS, PILOT = "parts", "pilot"
PICTURE = re.compile(r"\d{5,}")
NAMES = (
    *(
        RECORD,
        IMAGES,
        START,
        GRID,
        PAIRS,
        LATENTS,
        TRACE,
        DIAGNOSIS,
        REPORT,
        EVALUATION,
        STATE,
        LOCK,
    ),
    *(PARTS, PILOT),
)
"""All that a run writes; whatever else lies in its folder is somebody else's."""


class Table(NamedTuple):
    """The trace of a run: the names of its columns, its values as (steps, chains, columns), and the seed of each chain,
    of which a float of `values` holds the first digits only."""

    header: list[str]
    values: np.ndarray
    seeds: tuple[int, ...]

    @property
    def terms(self) -> list[str]:
        """The names of the run's energies."""
        return [name.removeprefix(TERM) for name in self.header if name.startswith(TERM)]

    def column(self, name: str) -> np.ndarray:
        """One column, (steps, chains); an energy's by its name. Steps, chains and seeds are whole numbers."""
        steps, chains = shape = self.values.shape[:2]
        if name == "seed":
            return np.resize(np.array(self.seeds, np.int64), shape)
        if name == "chain":
            return np.resize(np.arange(chains), shape)
        if name == "step":
            return np.arange(steps)[:, None].repeat(chains, 1)
        return self.values[:, :, self.header.index(TERM + name if name in self.terms else name)]


def write_trace(path: Path, trace: Trace) -> None:
    """Writes trace.csv."""

    def rows(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(trace.header())
            table.writerows(
                [f"{x:.9g}" if isinstance(x, float) else x for x in row] for row in trace.rows()
            )

    write_atomic(path, rows)


def read_trace(folder: Path) -> Table | None:
    """Reads the trace of a finished or a stopped run, or of what there is of a run in shards; None if it has made
    no step."""
    try:
        return _table(folder / TRACE)
    except (FileNotFoundError, NotADirectoryError):
        return _stopped(folder) or _in_parts(folder)


def _table(file: Path) -> Table:
    """Reads trace.csv, which must be whole: every chain at every step.

    Raises:
        FileNotFoundError: If it is not there.
        StateError: If it is not whole.
    """
    try:
        with file.open(newline="", encoding="utf-8") as lines:
            header, *rows = [*csv.reader(lines)] or [[]]
        if header[: len(INDEX) + len(COLUMNS)] != [*INDEX, *COLUMNS]:
            raise ValueError(f"its columns begin with {', '.join(header[:4])[:60] or 'nothing'}")
        if any(len(row) != len(header) for row in rows):
            raise ValueError("a row is cut")
        values = np.array(rows, dtype=float).reshape(len(rows), len(header))
        chains = int(values[:, 1].max()) + 1 if rows else 1
        grid = values.reshape(-1, chains, len(header))
        steps, index = np.indices(grid.shape[:2])
        if not (np.array_equal(grid[:, :, 0], steps) and np.array_equal(grid[:, :, 1], index)):
            raise ValueError("rows are missing, or in another order")
        return Table(header, grid, tuple(int(row[2]) for row in rows[:chains]))
    except (ValueError, csv.Error) as error:
        raise StateError(
            f"{file}: not a whole trace ({str(error)[:100]}); move it away, and that of {STATE} is read, if it is there"
        ) from None


def parts(folder: Path) -> list[Path]:
    """The folders of the shards below that of a run, those that left their pictures first."""
    return sorted(
        (folder / PARTS).glob("*-of-*"), key=lambda path: (not (path / TRACE).exists(), path)
    )


def _in_parts(folder: Path) -> Table | None:
    """The traces of a run's shards beside each other, NaN where one has not come as far as the others."""
    tables = [table for path in parts(folder) if (table := read_trace(path)) is not None]
    if not tables:
        return None
    rows = max(len(table.values) for table in tables)
    pad = lambda x: np.pad(x, ((0, rows - len(x)), (0, 0), (0, 0)), constant_values=np.nan)
    values = np.concatenate([pad(table.values) for table in tables], axis=1)
    return Table(tables[0].header, values, tuple(s for table in tables for s in table.seeds))


def _stopped(folder: Path) -> Table | None:
    """The trace inside the state file of a run that was stopped."""
    try:
        with safe_open(folder / STATE, framework="np") as file:
            rows, metadata = file.get_tensor("trace"), file.metadata() or {}
        trace = Trace(tuple(json.loads(metadata["seeds"])), tuple(json.loads(metadata["names"])))
        steps, _, chains = rows.shape
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    index = np.stack(
        [
            np.broadcast_to(np.arange(steps)[:, None], (steps, chains)),
            np.broadcast_to(np.arange(chains), (steps, chains)),
            np.broadcast_to(np.array(trace.seeds), (steps, chains)),
        ],
        axis=2,
    )
    values = np.concatenate([index, rows.transpose(0, 2, 1)], axis=2)
    return Table(trace.header(), values, trace.seeds)


def pictures(folder: Path) -> list[Path]:
    """The pictures of chains in a folder, in their order; whatever else lies there is somebody else's.

    Raises:
        SpecError: If there is one of a later chain, and one is gone.
    """
    found = {int(p.stem): p for p in folder.glob("*.png") if PICTURE.fullmatch(p.stem)}
    if found and max(found) >= len(found):
        raise SpecError(
            f"{folder}: holds {len(found)} pictures of {max(found) + 1} chains, the others are gone; run it again"
        )
    return [found[i] for i in range(len(found))]


def write_latents(path: Path, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> None:
    """Writes latents with texts beside them, as safetensors."""
    plain = {name: z.detach().cpu().clone().contiguous() for name, z in tensors.items()}
    write_atomic(path, lambda temporary: save_file(plain, temporary, dict(texts)))


def read_latents(path: Path, name: str = "z") -> Tensor:
    """Reads latents, (B, D), of a file or a run folder.

    Raises:
        StateError: If there are none.
    """
    file = path / LATENTS if path.is_dir() else path
    try:
        return load_file(file)[name]
    except FileNotFoundError:
        raise StateError(
            f"{file}: there is no such file; a run folder has its latents when it is done"
        ) from None
    except (SafetensorError, KeyError, OSError) as error:
        raise StateError(
            f"{file}: holds no latents {name} ({error}); `latentzoo encode` writes them"
        ) from error


def space_text(space: Space) -> dict[str, str]:
    """The blocks of a latent as a text beside it; see `read_space`."""
    return {"space": json.dumps(dict(space))}


def read_space(folder: Path) -> Space:
    """Reads the blocks of a run's latent.

    Raises:
        StateError: If the folder has no latents, or they do not say their blocks.
    """
    file = folder / LATENTS
    try:
        with safe_open(file, framework="np") as tensors:
            blocks = json.loads((tensors.metadata() or {})["space"])
    except FileNotFoundError:
        raise StateError(
            f"{file}: there is no such file; a run folder has its latents when it is done"
        ) from None
    except (SafetensorError, KeyError, ValueError, OSError):
        raise StateError(
            f"{file}: does not say the blocks of its latents; make the run again, or open it in Python"
        ) from None
    return Space(**{name: tuple(shape) for name, shape in blocks.items()})


def read_json(path: Path, *keys: str) -> dict[str, Any] | None:
    """Reads a JSON file of the folder; None if it is not there.

    Arguments:
        path: The file.
        keys: What it tells, at least.

    Raises:
        StateError: If it is no table with these keys.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        value, why = None, str(error)
    else:
        why = f"no table with {', '.join(keys)}"
    if not isinstance(value, dict) or not value.keys() >= {*keys}:
        raise StateError(f"{path}: not what a run writes there ({why}); move it away") from None
    return value
