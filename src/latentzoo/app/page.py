"""The page: a tab that makes runs, one that compares those that are there, one that translates a picture."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
os.environ.setdefault("GRADIO_TEMP_DIR", tempfile.mkdtemp(prefix="latentzoo-app-"))

import gradio as gr

from latentzoo.app import parts, tabs
from latentzoo.app.desk import Desk
from latentzoo.app.form import Fields, canvas
from latentzoo.app.show import Shown, guarded, turning, walked, whole
from latentzoo.app.tabs import CLOSED, WALKING, visitor
from latentzoo.errors import LatentzooError

HERE = Path(__file__).parent
TITLE = "# latentzoo\nSay what the pictures should show, and press *Start*."
MASKED = f"""(...fields) => {{
  const mask = document.getElementById("mask");
  fields[{Fields._fields.index("painted")}] = mask ? mask.toDataURL() : "";
  return fields;
}}"""
"""What the browser does when a run is started: the canvas becomes the value of its field."""


def build(desk: Desk) -> gr.Blocks:
    """Makes the page of a desk."""

    def left(request: gr.Request) -> None:
        desk.leave(visitor(request))

    with gr.Blocks(title="latentzoo", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown(TITLE)
        with gr.Tabs():
            with gr.Tab("Make"), gr.Row():
                with gr.Column(scale=1, min_width=300):
                    asked, kept = parts.fields(desk.limits), parts.runs()
                with gr.Column(scale=2, min_width=320):
                    out, one = parts.results(), parts.one()
            with gr.Tab("Runs"):
                there = tabs.runs(desk)
            with gr.Tab("Translate"):
                tabs.translate(desk)
        listing = tabs.listing(desk, [kept.runs, *there.names], there.gallery)
        _walks(desk, asked, kept, one, out, listing)
        _looks(desk, asked, kept, one, out)
        page.load(**listing)
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


def _walks(
    desk: Desk,
    asked: SimpleNamespace,
    kept: SimpleNamespace,
    one: SimpleNamespace,
    out: list[Any],
    listing: dict[str, Any],
) -> None:
    """The buttons that begin a run, each of which shows it while it walks and lists it then."""

    def begin(request: gr.Request, *values: Any) -> Iterator[Shown]:
        me = visitor(request)
        yield from walked(desk, me, lambda: desk.begin(me, Fields(*values)))

    def go_on(name: Any, steps: Any, request: gr.Request) -> Iterator[Shown]:
        me = visitor(request)
        yield from walked(
            desk, me, lambda: (name, desk.go_on(me, name, desk.limits.count("steps", steps)))
        )

    def like(
        name: Any, chain: Any, far: Any, chains: Any, seed: Any, request: gr.Request
    ) -> Iterator[Shown]:
        me, size = visitor(request), {"chains": chains, "steps": far, "seed": seed}
        yield from walked(desk, me, lambda: desk.more(me, name, chain, **size))

    def halt(request: gr.Request) -> str:
        walking = desk.stop(visitor(request))
        return "stopping after this step ..." if walking else "no run of this page walks"

    near = [kept.runs, one.chain, one.far, asked.chains, asked.seed]
    asked.start.click(begin, asked.all, out, js=MASKED, **WALKING).then(**listing)
    kept.more.click(go_on, [kept.runs, kept.extra], out, **WALKING).then(**listing)
    one.like.click(like, near, out, **WALKING).then(**listing)
    asked.stop.click(halt, None, out[1], queue=False, **CLOSED)


def _looks(
    desk: Desk, asked: SimpleNamespace, kept: SimpleNamespace, one: SimpleNamespace, out: list[Any]
) -> None:
    """What is shown without a run: a run that is there, a chain from all sides, the picture to paint over."""

    def look(name: Any, request: gr.Request) -> Shown:
        return guarded(desk, lambda: whole(desk, desk.run(visitor(request), name)))

    def turn(name: Any, chain: Any, request: gr.Request) -> tuple[Any, Any]:
        return _or_words(desk, lambda: turning(desk.sides(visitor(request), name, chain)))

    def dropped(upload: Any, use: Any, generator: Any) -> tuple[Any, Any]:
        return _or_words(
            desk,
            lambda: canvas(Fields(generator, upload=upload, use=use), desk.limits, desk.folder),
        )

    def choose(event: gr.SelectData) -> int:
        return event.index // 2  # each chain has two pictures

    kept.look.click(look, kept.runs, out, **CLOSED)
    one.turn.click(turn, [kept.runs, one.chain], [one.orbit, out[1]], **WALKING)
    out[4].select(choose, None, one.chain, **CLOSED)
    for part in (asked.upload, asked.use, asked.generator):
        given = [asked.upload, asked.use, asked.generator]
        part.change(dropped, given, [asked.canvas, out[1]], **CLOSED)


def _or_words(desk: Desk, show: Callable[[], str]) -> tuple[Any, Any]:
    """The HTML and no words, or none and the mistake in one line."""
    try:
        return show(), gr.skip()
    except LatentzooError as error:
        return "", desk.told(error)
