"""One self-contained page, one figure and one table of numbers on a population study."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from latentzoo import picture
from latentzoo.builtin.study.findings import rarity
from latentzoo.builtin.study.rows import Prior, Row
from latentzoo.files import write_atomic
from latentzoo.record.saved import SavedRun
from latentzoo.report.page import environment

LIMIT = 0.15
"""The total variation beyond which the page says that a generator misses an attribute's frequencies."""
COLUMNS = 12
"""The most pictures of a row."""
MARGIN, LINE = 132, 18
"""The width of a figure's labels and the height of its titles, in pixels."""


def write(rows: Sequence[Row], priors: Sequence[Prior], out: Path) -> None:
    """Writes compare.html, compare.png and compare.json into a folder."""
    asked = list(dict.fromkeys(row.asked for row in rows))
    blocks = [_block([row for row in rows if row.asked == name]) for name in asked]
    page = (
        environment("latentzoo.builtin.study")
        .get_template("compare.html")
        .render(blocks=blocks, priors=priors, limit=LIMIT, prior_figure=_priors(priors))
    )
    write_atomic(out / "compare.html", lambda path: path.write_text(page, encoding="utf-8"))
    sheet = figure(rows)
    picture.write(out / "compare.png", sheet)
    numbers = {"rows": [_plain(row) for row in rows], "unguided": [_plain(row) for row in priors]}
    text = json.dumps(numbers, indent=2)
    write_atomic(out / "compare.json", lambda path: path.write_text(text, encoding="utf-8"))


def figure(rows: Sequence[Row]) -> np.ndarray:
    """A figure like the paper's, (H, W, 3): below each question a row per generator, a column per chain."""
    shown = {row.path: _pictures(row.path) for row in rows}
    columns, sheets = max(map(len, shown.values()), default=1), []
    for asked in dict.fromkeys(row.asked for row in rows):
        mine = [row for row in rows if row.asked == asked]
        named = [(row.generator, shown[row.path]) for row in mine]
        sheets += [_title(_name(mine[0]), columns), labelled(named, columns)]
    return np.concatenate(sheets) if sheets else np.full((1, 1, 3), 255, np.uint8)


def failures(row: Row) -> list[Path]:
    """The pictures in which the judge does not see what was asked for."""
    saved = SavedRun(row.path)
    judged = [saved.pictures()[chain] for chain in saved.kept]
    return [path for path, good in zip(judged, row.finding.successes, strict=True) if not good]


def _block(rows: list[Row]) -> dict[str, Any]:
    person = rows[0].person
    return {
        "title": _name(rows[0]),
        "rarity": rarity(rows[0].asked) if person is None else None,
        "person": None
        if person is None
        else picture.embedded(picture.to_uint8(picture.read(person))[0]),
        "rows": [_shown(row) for row in rows],
        "figure": picture.embedded(
            labelled([(row.generator, _pictures(row.path)) for row in rows])
        ),
    }


def _shown(row: Row) -> dict[str, Any]:
    bad = [np.asarray(Image.open(path)) for path in failures(row)]
    return {
        "row": row,
        "finding": row.finding,
        "failures": picture.embedded(picture.grid(np.stack(bad), columns=12)) if bad else None,
        "count": len(row.finding.successes),
    }


def _priors(priors: Sequence[Prior]) -> str | None:
    named = [(row.generator, _pictures(row.path)) for row in priors]
    return picture.embedded(labelled(named)) if named else None


def _name(row: Row) -> str:
    return f"“{row.asked}”" if row.person is None else f"the person {row.asked}"


def _pictures(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in SavedRun(folder).pictures()[:COLUMNS]]


def labelled(
    named: Sequence[tuple[str, list[np.ndarray]]], columns: int | None = None
) -> np.ndarray:
    """Rows of pictures with a name on the left of each, (H, W, 3).

    Arguments:
        named: The names and the pictures, (64, 64, 3) bytes.
        columns: How many pictures wide the sheet is; None for the longest row.
    """
    columns = columns or max(len(line) for _, line in named)
    blank = np.full((64, 64, 3), 255, np.uint8)
    cells = [cell for _, line in named for cell in (*line, *[blank] * (columns - len(line)))]
    sheet = picture.grid(np.stack(cells), columns=columns)
    labels = Image.new("RGB", (MARGIN, len(sheet)), "white")
    for i, (name, _) in enumerate(named):
        ImageDraw.Draw(labels).text((0, 66 * i + 26), name, fill="black")
    return np.concatenate([np.asarray(labels), sheet], axis=1)


def _title(words: str, columns: int) -> np.ndarray:
    """A line of words as wide as `columns` pictures and their labels, (H, W, 3)."""
    line = Image.new("RGB", (MARGIN + 66 * columns - 2, LINE), "white")
    ImageDraw.Draw(line).text((0, 4), words.replace("“", '"').replace("”", '"'), fill="black")
    return np.asarray(line)


def _plain(row: Row | Prior) -> dict[str, Any]:
    return {key: str(x) if isinstance(x, Path) else x for key, x in asdict(row).items()}
