"""What is known of a run, as the values of the page's components."""

import html
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from latentzoo import picture
from latentzoo.app.desk import Desk
from latentzoo.app.job import Job
from latentzoo.errors import LatentzooError
from latentzoo.record import layout
from latentzoo.record.saved import SavedRun
from latentzoo.report.curves import curves

TEMPORARY = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
SIDE, THUMB = 640, 256
"""How many pixels the grid of chains, and a run in the gallery, are made wide, about, by a whole factor."""
Shown = tuple[Any, ...]
"""The chains, the words of now, the curves, the verdict, the pairs, the command, the folder: `parts.results`."""


def walked(desk: Desk, visitor: str, begin: Callable[[], tuple[str, Job]]) -> Iterator[Shown]:
    """Shows a run while it walks. When the page is closed or loaded again, the run ends after its step."""
    try:
        name, job = begin()
    except LatentzooError as error:
        yield said(desk.told(error))
        return
    try:
        yield said("loading the networks ...")
        seen = job.seen
        while not job.done.wait(0.25):
            before, seen = seen, job.seen
            if seen is not before:
                yield now(job, changed=seen.pictures != before.pictures)
        yield guarded(desk, lambda: ended(desk, visitor, name, job))
    finally:
        desk.leave(visitor)


def said(words: str) -> Shown:
    """The words alone; what else is shown stays."""
    return gr.skip(), words, *[gr.skip()] * 5


def guarded(desk: Desk, show: Callable[[], Shown]) -> Shown:
    """What is shown, or the mistake in one line."""
    try:
        return show()
    except LatentzooError as error:
        return said(desk.told(error))


def now(job: Job, *, changed: bool) -> Shown:
    """A run on its way; `changed` says whether its pictures are new."""
    seen = job.seen
    if not seen.step:
        return said(seen.words)
    left = "" if not np.isfinite(seen.left) else f", about {max(seen.left, 1):.0f} s left"
    words = f"step {seen.step} of {seen.length}{left}\n{seen.words}"
    image = (
        gr.skip() if seen.pixels is None or not changed else enlarged(picture.grid(seen.pixels))
    )
    return image, words, drawn(seen.phi), "", [], gr.skip(), None


def ended(desk: Desk, visitor: str, name: str, job: Job) -> Shown:
    """A run that is over."""
    if job.error:
        return said(desk.told(job.error))
    if name not in desk.names(visitor):
        return said("stopped before the first step; nothing was kept")
    image, words, *rest = whole(desk, desk.run(visitor, name))
    notes = "".join(f"\n{desk.told(note)}" for note in job.notes)
    end = f"stopped at step {job.seen.step}; 'Go on' goes on from there" if job.stopped else words
    return image, f"{end}{notes}", *rest


def whole(desk: Desk, saved: SavedRun) -> Shown:
    """A run of the folder."""
    pairs = [
        (pixels(path), f"chain {i}: {what}")
        for i, both in enumerate(zip(saved.pictures(layout.START), saved.pictures(), strict=False))
        for path, what in zip(both, ("start", "end"), strict=True)
    ]
    return (
        sheet(saved),
        f"{saved.name}: {'finished' if saved.finished else 'stopped'}",
        drawn(saved.column("phi")) if saved.record.energies else "",
        verdict(saved),
        pairs,
        desk.command(saved),
        str(desk.packed(saved, TEMPORARY)),
    )


def verdict(saved: SavedRun) -> str:
    """What the sample is worth, in words."""
    if saved.finished and not saved.record.energies:
        return "draws from the prior: nothing was asked for, so there is nothing to test"
    return "\n".join((saved.diagnosis or {}).get("words", []))


def sheet(saved: SavedRun, side: int = SIDE) -> np.ndarray | None:
    """All pictures of a run, (H, W, 3) bytes; None if it has left none."""
    path = saved.path / layout.GRID
    return enlarged(pixels(path), side) if path.exists() else None


def pixels(path: Path) -> np.ndarray:
    """A picture of a run folder, (H, W, 3) bytes."""
    return picture.to_uint8(picture.read(path))[0]


def enlarged(sheet: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The sheet by the whole factor that makes it about `side` wide."""
    factor = max(1, side // sheet.shape[1])
    return sheet.repeat(factor, 0).repeat(factor, 1)


def drawn(phi: np.ndarray) -> str:
    """The energies of the chains as HTML, (T, B)."""
    title = html.escape("energy of every chain at every step; thick: their mean")
    drawing = curves(phi, title=title)
    if not drawing:
        return ""
    return f'<figure class="curves">{drawing}<figcaption>{title}</figcaption></figure>'


def turning(views: np.ndarray) -> str:
    """Views (V, H, W, 3) to turn by dragging, as HTML; see orbit.js."""
    middle = len(views) // 2
    images = "".join(
        f'<img src="{picture.embedded(view)}" alt="" draggable="false"{"" if i == middle else " hidden"}>'
        for i, view in enumerate(views)
    )
    return (
        f'<div class="orbit pixels" role="slider" tabindex="0" aria-label="turn it: drag, or the left and right arrow" '
        f'aria-valuemin="0" aria-valuemax="{len(views) - 1}" aria-valuenow="{middle}">{images}</div>'
        "<p>Drag it, or press the left and right arrow.</p>"
    )
