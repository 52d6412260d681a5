"""The components of the page that makes runs: fields, buttons, results."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr

from latentzoo.app.form import USES, Fields
from latentzoo.app.limits import Limits

HERE = Path(__file__).parent
NARROW: dict[str, Any] = {"min_width": 120}
PIXELS: dict[str, Any] = {"format": "png", "interactive": False, "elem_classes": ["pixels"]}


def upload(elem_id: str, label: str) -> gr.Image:
    """A place to drop, paste or choose a picture, which is not decoded before the limits have seen it: its path."""
    sources: Any = ["upload", "clipboard"]
    image = gr.Image(
        type="filepath", sources=sources, label=label, image_mode=None, height=180, elem_id=elem_id
    )
    image.preprocess = lambda payload: None if payload is None else payload.path
    return image


def fields(limits: Limits) -> SimpleNamespace:
    """The fields of a run, by the names of `Fields`, and the buttons that start and stop it."""
    choices, most = list(limits.choices), limits
    first = "avatar-turbo" if "avatar-turbo" in choices else choices[0]
    own, rewarded = bool(limits.generators), "reward" in limits.judges
    part = SimpleNamespace()
    part.prompt = gr.Textbox(
        label="Prompt, for text to image", elem_id="prompt", lines=2, visible=own
    )
    part.texts = gr.Textbox(
        "a person with sunglasses and a yellow hat",
        label="What the pictures should show, one text a line",
        placeholder="a hat:30 has the weight 30",
        lines=2,
        elem_id="texts",
    )
    part.attributes = gr.Textbox(
        label="Attributes, one a line", placeholder="hat=hijab", lines=1, elem_id="attributes"
    )
    part.rewarded = gr.Checkbox(
        label="Pictures that people would choose for the prompt", visible=rewarded
    )
    with gr.Row():
        part.start = gr.Button("Start", variant="primary", elem_id="start", **NARROW)
        part.stop = gr.Button("Stop", variant="stop", elem_id="stop", **NARROW)
    part.generator = gr.Dropdown(choices, value=first, label="Generator", elem_id="generator")
    part.upload = upload("upload", "A picture")
    part.use = gr.Dropdown(
        list(USES), value=next(iter(USES)), label="What the picture is for", elem_id="use"
    )
    part.canvas = gr.HTML(elem_id="paint", js_on_load=(HERE / "paint.js").read_text("utf-8"))
    part.painted = gr.Textbox(visible=False)
    part.weight = gr.Slider(0.1, 10, 1, label="Weight of all of it (1: as usual)", step=0.1)
    part.nats = gr.Number(
        0, label="Or its strength in nats (0: by weight)", minimum=0, elem_id="nats"
    )
    part.chains = gr.Slider(
        1, most.chains, min(8, most.chains), step=1, label="Chains", elem_id="chains"
    )
    part.steps = gr.Slider(
        1, most.steps, min(120, most.steps), step=1, label="Steps", elem_id="steps"
    )
    part.seed = gr.Number(
        0, label="Seed", precision=0, minimum=0, maximum=2**31 - 1, elem_id="seed"
    )
    part.all = [getattr(part, name) for name in Fields._fields]
    return part


def runs() -> SimpleNamespace:
    """The runs that are there, and what goes on with one."""
    part = SimpleNamespace()
    gr.Markdown("Finished and stopped runs")
    part.runs = gr.Dropdown([], label="Run", elem_id="runs", interactive=True)
    with gr.Row():
        part.look = gr.Button("Look", elem_id="look", **NARROW)
        part.more = gr.Button("Go on", elem_id="more", **NARROW)
    part.extra = gr.Number(50, label="Steps more, for a finished run", precision=0, minimum=1)
    return part


def results() -> list[Any]:
    """The components of a run, in the order of `show.Shown`."""
    buttons: Any = ["fullscreen", "download"]
    return [
        gr.Image(label="The chains", buttons=buttons, elem_id="chains-now", **PIXELS),
        gr.Textbox(label="Now", elem_id="now", interactive=False, lines=2),
        gr.HTML(elem_id="curves"),
        gr.Textbox(label="Verdict", elem_id="verdict", interactive=False, lines=3),
        gr.Gallery(
            label="From where each chain began to where it is; choose one for the buttons below",
            columns=4,
            object_fit="contain",
            buttons=buttons,
            elem_id="pairs",
            **PIXELS,
        ),
        shell("The same on the command line", elem_id="command"),
        gr.File(label="The run folder", elem_id="download", interactive=False),
    ]


def shell(label: str, **settings: Any) -> Any:
    """A command to copy."""
    return gr.Code(
        label=label,
        language="shell",
        interactive=False,
        wrap_lines=True,
        lines=2,
        max_lines=6,
        **settings,
    )


def one() -> SimpleNamespace:
    """What can be done with one chain of the chosen run."""
    part = SimpleNamespace()
    part.chain = gr.Number(0, label="Chain", precision=0, minimum=0, elem_id="chain")
    part.far = gr.Slider(1, 50, 12, step=1, label="How far from it, in steps", elem_id="far")
    with gr.Row():
        part.like = gr.Button("More like this one", elem_id="like", **NARROW)
        part.turn = gr.Button("Turn it", elem_id="turn", **NARROW)
    part.orbit = gr.HTML(elem_id="orbit", js_on_load=(HERE / "orbit.js").read_text("utf-8"))
    return part
