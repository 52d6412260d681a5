"""Nodes of ComfyUI, in its V3 schema: a run of latentzoo inside a workflow.

A folder in ComfyUI's `custom_nodes` whose `__init__.py` has one line brings them:

    from latentzoo.bridges.comfy import comfy_entrypoint

ComfyUI runs its nodes in torch's inference mode, where nothing has a gradient. A run leaves that mode, and loads
networks of its own outside of it; it shares none with ComfyUI.

References:
    | ComfyUI, nodes of the V3 schema: https://github.com/comfyanonymous/ComfyUI
"""

from typing import Any

import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import ComfyAPISync, ComfyExtension, io

from latentzoo import picture
from latentzoo.record import spec, words
from latentzoo.record.experiment import Experiment
from latentzoo.run.chain import Frame
from latentzoo.run.result import Result, finish
from latentzoo.run.sampling import sample
from latentzoo.run.walk import Walk

CATEGORY = "latentzoo"
TEXTS = "One line each, TEXT[:WEIGHT]: what the picture should show."
ENERGIES = "One line each, KIND=TARGET[:WEIGHT]: attribute=hat=beanie:10."
OPTIONS = "One line each, KEY=VALUE: arguments of the generator, such as prompt=a red cube."
EVERY = 5
"""Every how many steps ComfyUI is shown a picture of the first chain."""


class Sample(io.ComfyNode):
    """The node that samples pictures, as `latentzoo sample` does."""

    @classmethod
    def define_schema(cls) -> Any:
        """What the node asks for, and what it gives."""
        chains, steps = spec.Run(generator="").chains, spec.Run(generator="").steps
        return io.Schema(
            node_id="LatentzooSample",
            display_name="Sample (latentzoo)",
            category=CATEGORY,
            description="Samples pictures of any pre-trained generator that show what is asked.",
            inputs=[
                io.String.Input("generator", default="avatar-turbo", tooltip="`latentzoo list`"),
                io.String.Input("texts", multiline=True, default="", tooltip=TEXTS),
                io.String.Input("energies", multiline=True, default="", tooltip=ENERGIES),
                io.String.Input("options", multiline=True, default="", tooltip=OPTIONS),
                io.Int.Input("chains", default=chains, min=1),
                io.Int.Input("steps", default=steps, min=0),
                io.Int.Input("seed", default=0, min=0, max=2**31 - 1),
            ],
            outputs=[
                io.Image.Output("images", display_name="images"),
                io.String.Output("verdict", display_name="verdict"),
                io.String.Output("record", display_name="record"),
            ],
        )

    @classmethod
    def execute(
        cls,
        generator: str,
        texts: str,
        energies: str,
        options: str,
        chains: int,
        steps: int,
        seed: int,
    ) -> Any:
        """Samples; the record is what `latentzoo run` makes the same pictures from."""
        terms = [words.term(line) for line in _lines(texts)]
        terms += [words.term(line, energy="") for line in _lines(energies)]
        given = words.table(_lines(options), source=" of the node", example="truncation=0.7")
        run = spec.Run(
            generator=generator.strip(),
            energies=terms,
            options=given,
            chains=chains,
            steps=steps,
            seed=seed,
        )
        with torch.inference_mode(False), torch.enable_grad():
            experiment = Experiment(run)
            result = _sampled(experiment)
            images = torch.from_numpy(picture.to_uint8(result.images)).float() / 255
        verdict = "draws of the prior" if result.kernel is None else str(result.diagnosis)
        return io.NodeOutput(images, verdict, spec.to_yaml(experiment.resolved))


class Latentzoo(ComfyExtension):
    """The extension: the nodes of this file."""

    async def get_node_list(self) -> list[Any]:
        """The nodes."""
        return [Sample]


async def comfy_entrypoint() -> ComfyExtension:
    """Gives ComfyUI the extension."""
    return Latentzoo()


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _sampled(experiment: Experiment) -> Result:
    if not experiment.run.energies:
        return sample(experiment.generator, chains=experiment.run.chains, seed=experiment.run.seed)
    walk, api = experiment.begin(), ComfyAPISync()
    for frame in walk:
        _show(api, experiment, frame, walk)
    return finish(walk)


def _show(api: Any, experiment: Experiment, frame: Frame, walk: Walk) -> None:
    """Tells ComfyUI how far the walk is; raises what ComfyUI waits for if the user has cancelled the workflow."""
    throw_exception_if_processing_interrupted()
    preview = None
    if frame.step % EVERY == 0 and frame.step < walk.length:
        image = experiment.posterior.images(frame.state.z[:1])
        preview = image.clamp(0, 1).movedim(1, -1)
    api.execution.set_progress(frame.step, walk.length, preview_image=preview)
