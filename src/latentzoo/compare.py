"""The same guidance over several generators: runs, numbers by the held-out judge, a page and a figure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from latentzoo import picture, spec
from latentzoo.builtin.study import Finding, find, rarity
from latentzoo.checkpoint import write_atomic
from latentzoo.errors import SpecError
from latentzoo.experiment import Experiment
from latentzoo.folder import RunFolder, is_finished
from latentzoo.report.page import environment
from latentzoo.report.read import SavedRun


@dataclass(frozen=True)
class Row:
    """One generator under one text: the run, its cost and what the judge found in it."""

    text: str
    generator: str
    energy: float
    gradients: float
    seconds: float
    finding: Finding
    path: Path

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return asdict(self) | {"path": str(self.path)}


def compare(
    template: spec.Run,
    generators: Sequence[str],
    texts: Sequence[str],
    out: Path,
    *,
    tell: Callable[[Row], Any] = lambda row: None,
) -> list[Row]:
    """Makes the runs that are not there yet, judges all, and writes compare.html, compare.png and compare.json.

    Arguments:
        template: The record that all share: chains, steps, kernel, weight of the first energy.
        generators: The generators, rows of the figure.
        texts: The texts, one figure each.
        out: The folder of the run folders and of the page.
        tell: Called with each row as soon as it is there.

    Raises:
        SpecError: If a generator's pictures are not avatars, so that nobody can judge them.
    """
    if not generators or not texts:
        raise SpecError(
            "a comparison needs generators and texts; give --generators a,b and --text"
        )
    rows = []
    for row in _rows(template, generators, texts, out):
        tell(row)
        rows.append(row)
    write(rows, out)
    return rows


def _rows(
    template: spec.Run, generators: Sequence[str], texts: Sequence[str], out: Path
) -> Iterator[Row]:
    first = template.energies[0] if template.energies else spec.Term(target="")
    for text in texts:
        for generator in generators:
            folder = out / spec.slug(text) / generator
            term = spec.replace(first, target=text)
            run = spec.replace(template, generator=generator, energies=[term], record={})
            if not is_finished(folder):
                started = (folder / "run.yaml").exists()
                with RunFolder(folder, resume=started) as held:
                    Experiment(spec.read(folder / "run.yaml") if started else run).execute(held)
            yield _judged(text, generator, folder)


def _judged(text: str, generator: str, folder: Path) -> Row:
    saved = SavedRun(folder)
    images = pictures(saved)
    if images.shape[2:] != (64, 64):
        raise SpecError(
            f"the pictures of '{generator}' are no avatars of 64x64, so the judge cannot see them"
        )
    cost = saved.diagnosis or {}
    return Row(
        text,
        generator,
        float(np.nanmean(saved.column(saved.terms[0])[-1])),
        float(cost.get("gradients", saved.record.steps)),
        float(cost.get("seconds", float("nan"))),
        find(images, text),
        folder,
    )


def pictures(saved: SavedRun) -> Tensor:
    """The pictures of a run's chains, (B, 3, H, W) in [0, 1]."""
    return torch.cat([picture.read(path) for path in saved.pictures()])


def write(rows: Sequence[Row], out: Path) -> None:
    """Writes the page, the figure and the numbers."""
    import json

    texts = list(dict.fromkeys(row.text for row in rows))
    blocks = [
        {
            "text": text,
            "rarity": rarity(text),
            "rows": [_shown(row) for row in rows if row.text == text],
            "figure": _embed(figure([row for row in rows if row.text == text])),
        }
        for text in texts
    ]
    page = environment().get_template("compare.html").render(blocks=blocks)
    write_atomic(out / "compare.html", lambda path: path.write_text(page, encoding="utf-8"))
    sheet = figure(rows)
    write_atomic(out / "compare.png", lambda path: picture.write(path, sheet))
    plain = json.dumps([row.to_dict() for row in rows], indent=2)
    write_atomic(out / "compare.json", lambda path: path.write_text(plain, encoding="utf-8"))


def figure(rows: Sequence[Row], columns: int = 12) -> np.ndarray:
    """A figure like the paper's: one row per generator and text, one column per chain."""
    shown = [SavedRun(row.path).pictures()[:columns] for row in rows]
    width = max(map(len, shown))
    blank = np.full((64, 64, 3), 255, np.uint8)
    cells = [
        np.asarray(Image.open(line[i])) if i < len(line) else blank
        for line in shown
        for i in range(width)
    ]
    return picture.grid(np.stack(cells), columns=width)


def failures(row: Row) -> list[Path]:
    """The pictures in which the judge does not see what the text says."""
    return [
        path
        for path, good in zip(SavedRun(row.path).pictures(), row.finding.successes, strict=True)
        if not good
    ]


def _shown(row: Row) -> dict[str, Any]:
    bad = [np.asarray(Image.open(path)) for path in failures(row)]
    return {
        "row": row,
        "finding": row.finding,
        "failures": _embed(picture.grid(np.stack(bad), columns=12)) if bad else None,
        "count": len(row.finding.successes),
    }


def _embed(pixels: np.ndarray) -> str:
    import base64
    import io

    memory = io.BytesIO()
    Image.fromarray(pixels).save(memory, format="PNG")
    return "data:image/png;base64," + base64.b64encode(memory.getvalue()).decode()
