"""The tabs beside the one that makes runs: runs that are there, two of them side by side; a picture to translate."""

from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np

from latentzoo.app import parts
from latentzoo.app.desk import Desk
from latentzoo.app.show import THUMB, enlarged, sheet, verdict
from latentzoo.errors import LatentzooError

CLOSED: dict[str, Any] = {"api_visibility": "private"}
WALKING: dict[str, Any] = CLOSED | {"concurrency_limit": 1, "concurrency_id": "walk"}
"""Of all that runs a network, one thing at a time."""
WORLDS = "avatar-ldm-bareheaded", "avatar-ldm-hats"
MOST = 60
"""How many runs the gallery shows."""


def visitor(request: gr.Request) -> str:
    """Who asks: one visit of the page."""
    return str(request.session_hash)


def runs(desk: Desk) -> SimpleNamespace:
    """The gallery of runs, and two of them side by side.

    Returns:
        `gallery`, and `names`, the two choices.
    """
    part = SimpleNamespace()
    part.gallery = gr.Gallery(
        label="Runs, the newest first; choose one to see it on the left",
        columns=4,
        object_fit="contain",
        elem_id="gallery",
        allow_preview=False,
        buttons=[],
        **parts.PIXELS,
    )
    with gr.Row():
        left, right = _column(desk, "left", "A run"), _column(desk, "right", "Another run")
    part.names = [left, right]

    def choose(event: gr.SelectData, request: gr.Request) -> Any:
        names = desk.names(visitor(request))
        return names[event.index] if event.index < len(names) else gr.skip()

    part.gallery.select(choose, None, left, **CLOSED)
    return part


def _column(desk: Desk, name: str, label: str) -> Any:
    """A run that is chosen, with its pictures, verdict and command."""
    with gr.Column(min_width=300):
        choice = gr.Dropdown([], label=label, elem_id=name, interactive=True)
        image = gr.Image(
            label="Its pictures", buttons=["fullscreen"], elem_id=f"{name}-image", **parts.PIXELS
        )
        words = gr.Textbox(label="Its verdict", elem_id=f"{name}-verdict", interactive=False)
        command = parts.shell("Its command")

    def show(name: Any, request: gr.Request) -> tuple[Any, Any, Any]:
        if not name:
            return None, "", ""
        try:
            saved = desk.run(visitor(request), name)
            return sheet(saved), verdict(saved), desk.command(saved)
        except LatentzooError as error:
            return None, desk.told(error), ""

    choice.change(show, choice, [image, words, command], **CLOSED)
    return choice


def listing(desk: Desk, choices: list[Any], gallery: Any) -> dict[str, Any]:
    """The event that lists the runs again; the first of the choices takes the newest one."""

    def listed(request: gr.Request) -> list[Any]:
        names = desk.names(visitor(request))
        newest = gr.update(choices=names, value=names[0] if names else None)
        shown = [(sheet(desk.run(visitor(request), name), THUMB), name) for name in names[:MOST]]
        none = np.full((64, 64, 3), 255, np.uint8)
        pictures = [(none if image is None else image, name) for image, name in shown]
        return [newest, *[gr.update(choices=names)] * (len(choices) - 1), pictures]

    return {"fn": listed, "inputs": None, "outputs": [*choices, gallery], **CLOSED}


def translate(desk: Desk) -> None:
    """A picture of one world, as another world's generator has it."""
    names = list(desk.limits.choices)
    here, there = WORLDS if set(WORLDS) <= set(names) else (names[0], names[-1])
    gr.Markdown("A picture of one world as another world's generator has it (CycleDiffusion).")
    with gr.Row():
        with gr.Column(min_width=300):
            picture = parts.upload("world", "A picture")
            source = gr.Dropdown(names, value=here, label="From the world of", elem_id="source")
            target = gr.Dropdown(names, value=there, label="To the world of", elem_id="target")
            noisy = gr.Checkbox(True, label="With noise at every step (eta = 1)", elem_id="noisy")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1)
            go = gr.Button("Translate", variant="primary", elem_id="translate")
        with gr.Column(min_width=300):
            shown = gr.Gallery(
                label="The picture, and its translation",
                columns=2,
                object_fit="contain",
                buttons=["fullscreen", "download"],
                elem_id="translated",
                **parts.PIXELS,
            )
            words = gr.Textbox(label="Now", elem_id="translating", interactive=False)

    def make(upload: Any, source: Any, target: Any, noisy: Any, seed: Any) -> tuple[Any, str]:
        try:
            both = desk.translated(upload, source, target, noisy=noisy, seed=seed)
        except LatentzooError as error:
            return gr.skip(), desk.told(error)
        worlds = zip(both, (source, target), strict=True)
        return [(enlarged(image, THUMB), name) for image, name in worlds], "done"

    given = [picture, source, target, noisy, seed]
    go.click(make, given, [shown, words], **WALKING)
