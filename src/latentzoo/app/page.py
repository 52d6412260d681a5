"""The page: fields on the left, the chains on the right, finished runs below."""

import html
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
os.environ.setdefault("GRADIO_TEMP_DIR", tempfile.mkdtemp(prefix="latentzoo-app-"))

import gradio as gr
import numpy as np

from latentzoo import picture
from latentzoo.app.desk import Desk
from latentzoo.app.form import USES, Fields, command_line
from latentzoo.app.job import Job
from latentzoo.app.limits import Limits
from latentzoo.errors import LatentzooError
from latentzoo.record import layout
from latentzoo.record.saved import SavedRun
from latentzoo.report.curves import curves

HERE = Path(__file__).parent
TEMPORARY = Path(os.environ["GRADIO_TEMP_DIR"])
SIDE = 640
"""How many pixels the grid of chains is made wide, about, by a whole factor."""
TITLE = "# latentzoo\nSay what the pictures should show, and press *Start*."
CLOSED: dict[str, Any] = {"api_visibility": "private"}
WALKING: dict[str, Any] = CLOSED | {"concurrency_limit": 1, "concurrency_id": "walk"}
Shown = tuple[Any, ...]


def build(desk: Desk) -> gr.Blocks:
    """Makes the page of a desk."""
    limits = desk.limits
    with gr.Blocks(title="latentzoo", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown(TITLE)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                words = _words()
                with gr.Row():
                    narrow: dict[str, Any] = {"min_width": 120}
                    start = gr.Button("Start", variant="primary", elem_id="start", **narrow)
                    stop = gr.Button("Stop", variant="stop", elem_id="stop", **narrow)
                fields = [_generator(limits), *words, *_fields(limits)]
                gr.Markdown("Finished and stopped runs")
                runs = gr.Dropdown([], label="Run", elem_id="runs", interactive=True)
                with gr.Row():
                    look = gr.Button("Look", elem_id="look", **narrow)
                    more = gr.Button("Go on", elem_id="more", **narrow)
                extra = gr.Number(
                    50, label="Steps more, for a finished run", precision=0, minimum=1
                )
            with gr.Column(scale=2, min_width=320):
                out = _results()
        compare = gr.Dropdown([], label="Beside it", elem_id="beside", interactive=True)
        beside = gr.Image(
            format="png", label="Another run", interactive=False, buttons=["fullscreen"]
        )

        def begin(request: gr.Request, *values: Any) -> Iterator[Shown]:
            yield from _walked(desk, request, lambda v: desk.begin(v, Fields(*values)))

        def go_on(name: Any, steps: Any, request: gr.Request) -> Iterator[Shown]:
            def made(visitor: str) -> tuple[str, Job]:
                return name, desk.go_on(visitor, name, limits.count("steps", steps))

            yield from _walked(desk, request, made)

        def halt(request: gr.Request) -> str:
            walking = desk.stop(_visitor(request))
            return "stopping after this step ..." if walking else "no run of this page walks"

        def open_(name: Any, request: gr.Request) -> Shown:
            return _guarded(lambda: _saved(desk, desk.run(_visitor(request), name)))

        def side(name: Any, request: gr.Request) -> Any:
            try:
                saved = desk.run(_visitor(request), name)
            except LatentzooError:
                return gr.update(visible=False)
            return gr.update(value=_enlarged_file(saved), visible=True)

        def left(request: gr.Request) -> None:
            desk.leave(_visitor(request))

        def listed(request: gr.Request) -> tuple[Any, Any]:
            names = desk.names(_visitor(request))
            newest = names[0] if names else None
            return gr.update(choices=names, value=newest), gr.update(choices=names)

        lists: dict[str, Any] = {"fn": listed, "inputs": None, "outputs": [runs, compare]}
        start.click(begin, fields, out, **WALKING).then(**lists, **CLOSED)
        more.click(go_on, [runs, extra], out, **WALKING).then(**lists, **CLOSED)
        stop.click(halt, None, out[1], queue=False, **CLOSED)
        look.click(open_, runs, out, **CLOSED)
        compare.change(side, compare, beside, **CLOSED)
        page.load(**lists, **CLOSED)
        page.unload(left)
    return page.queue(max_size=8)


def launch(page: gr.Blocks, *, host: str, port: int, megabytes: int, browser: bool) -> None:
    """Serves the page until Ctrl-C.

    Raises:
        OSError: If the port is in use.
    """
    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        show_error=False,
        max_file_size=f"{megabytes}mb",
        inbrowser=browser,
        footer_links=[],
        ssr_mode=False,
        quiet=True,
        css_paths=HERE / "page.css",
        prevent_thread_lock=True,
    )


def _words() -> list[Any]:
    return [
        gr.Textbox(
            "a person with sunglasses and a yellow hat",
            label="What the pictures should show, one text a line",
            lines=2,
            elem_id="texts",
        ),
        gr.Textbox(
            label="Attributes, one a line", placeholder="hat=hijab", lines=1, elem_id="attributes"
        ),
    ]


def _generator(limits: Limits) -> Any:
    choices = list(limits.choices)
    first = "avatar-turbo" if "avatar-turbo" in choices else choices[0]
    return gr.Dropdown(choices, value=first, label="Generator", elem_id="generator")


def _fields(limits: Limits) -> list[Any]:
    """The other fields, in the order of `Fields`."""
    most = limits.chains, limits.steps
    return [
        gr.Image(
            type="filepath",
            format="png",
            sources=["upload", "clipboard"],
            label="A picture",
            image_mode=None,
            height=160,
            elem_id="upload",
        ),
        gr.Dropdown(list(USES), value=next(iter(USES)), label="What the picture is for"),
        gr.Slider(0.1, 10, 1, label="Strength of the guidance (1: as usual)", step=0.1),
        gr.Slider(1, most[0], min(8, most[0]), step=1, label="Chains", elem_id="chains"),
        gr.Slider(1, most[1], min(120, most[1]), step=1, label="Steps", elem_id="steps"),
        gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1, elem_id="seed"),
    ]


def _results() -> list[Any]:
    """The components of a run, in the order of what `_walked` yields."""
    return [
        gr.Image(
            format="png",
            label="The chains",
            interactive=False,
            buttons=["fullscreen", "download"],
            elem_id="chains-now",
        ),
        gr.Textbox(label="Now", elem_id="now", interactive=False, lines=2),
        gr.HTML(elem_id="curves"),
        gr.Textbox(label="Verdict", elem_id="verdict", interactive=False, lines=3),
        gr.Gallery(
            format="png",
            label="From where each chain began to where it is",
            columns=4,
            object_fit="contain",
            elem_id="pairs",
            elem_classes=["pixels"],
        ),
        gr.Code(
            label="The same on the command line",
            language="shell",
            interactive=False,
            wrap_lines=True,
            elem_id="command",
        ),
        gr.File(label="The run folder", elem_id="download", interactive=False),
    ]


def _visitor(request: gr.Request) -> str:
    return str(request.session_hash)


def _walked(desk: Desk, request: gr.Request, begin: Any) -> Iterator[Shown]:
    """Shows a run while it walks. When the page is closed or loaded again, the run ends after its step."""
    visitor = _visitor(request)
    try:
        name, job = begin(visitor)
    except LatentzooError as error:
        yield _said(str(error))
        return
    try:
        yield _said("loading the networks ...")
        shown = -1, -1
        while not job.done.wait(0.25):
            seen = job.seen
            if (seen.step, seen.pictures) != shown and seen.step:
                yield _now(job, changed=seen.pictures != shown[1])
                shown = seen.step, seen.pictures
        yield _guarded(lambda: _ended(desk, visitor, name, job))
    finally:
        desk.leave(visitor)


def _said(words: str) -> Shown:
    """The words alone; what else is shown stays."""
    return gr.skip(), words, *[gr.skip()] * 5


def _guarded(show: Any) -> Shown:
    try:
        return show()
    except LatentzooError as error:
        return _said(" ".join(str(error).split()))


def _now(job: Job, *, changed: bool) -> Shown:
    seen = job.seen
    left = "" if not np.isfinite(seen.left) else f", about {max(seen.left, 1):.0f} s left"
    words = f"step {seen.step} of {seen.length}{left}\n{seen.words}"
    image = gr.skip() if seen.pixels is None or not changed else _enlarged(seen.pixels)
    return image, words, _drawn(seen.phi), "", [], gr.skip(), None


def _ended(desk: Desk, visitor: str, name: str, job: Job) -> Shown:
    if job.error:
        return _said(job.error)
    if name not in desk.names(visitor):
        return _said("stopped before the first step; nothing was kept")
    image, words, *rest = _saved(desk, desk.run(visitor, name))
    notes = "".join(f"\n{note}" for note in job.notes)
    end = f"stopped at step {job.seen.step}; 'Go on' goes on from there" if job.stopped else words
    return image, f"{end}{notes}", *rest


def _saved(desk: Desk, saved: SavedRun) -> Shown:
    """A run of the folder."""
    begun = bool(saved.record.energies)
    told = (saved.diagnosis or {}).get("words", [])
    pairs = [
        (str(path), f"chain {i}: {what}")
        for i, both in enumerate(zip(saved.pictures(layout.START), saved.pictures(), strict=False))
        for path, what in zip(both, ("start", "end"), strict=True)
    ]
    return (
        _enlarged_file(saved),
        f"{saved.name}: {'finished' if saved.finished else 'stopped'}",
        _drawn(saved.column("phi")) if begun else "",
        "\n".join(told),
        [(_array(path), text) for path, text in pairs],
        command_line(saved.record),
        str(desk.packed(saved, TEMPORARY)),
    )


def _array(path: str) -> np.ndarray:
    return picture.to_uint8(picture.read(path))[0]


def _enlarged_file(saved: SavedRun) -> np.ndarray | None:
    sheet = saved.path / layout.GRID
    return _times(_array(str(sheet))) if sheet.exists() else None


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    return _times(picture.grid(pixels))


def _times(sheet: np.ndarray) -> np.ndarray:
    """The sheet by the whole factor that makes it about `SIDE` wide."""
    factor = max(1, SIDE // sheet.shape[1])
    return sheet.repeat(factor, 0).repeat(factor, 1)


def _drawn(phi: np.ndarray) -> str:
    title = html.escape("energy of every chain at every step; thick: their mean")
    drawing = curves(phi, title=title)
    return (
        f'<figure class="curves">{drawing}<figcaption>{title}</figcaption></figure>'
        if drawing
        else ""
    )
