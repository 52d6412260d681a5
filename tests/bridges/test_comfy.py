"""Nodes of ComfyUI, on a stub of its interface, and on ComfyUI itself where $LATENTZOO_COMFYUI is a checkout of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHECKOUT = os.environ.get("LATENTZOO_COMFYUI")
PLACES = [
    pytest.param(HERE / "comfy_stub", id="stub"),
    pytest.param(
        Path(CHECKOUT or "."),
        id="ComfyUI",
        marks=pytest.mark.skipif(not CHECKOUT, reason="LATENTZOO_COMFYUI names no checkout"),
    ),
]

WORKFLOW = """
import asyncio, sys
sys.path.insert(0, {place!r})
sys.argv = sys.argv[:1]  # ComfyUI reads its own options there
if {place!r} != {stub!r}:  # a whole ComfyUI would look for a GPU, and draw its bar in a page
    from unittest import mock
    sys.modules["comfy.model_management"] = mock.MagicMock()
    sys.modules["comfy.utils"] = mock.MagicMock()
    import comfy_api.latest as latest
    seen = []
    class Quiet:
        class execution:
            set_progress = staticmethod(lambda v, m, preview_image=None: seen.append((v, m, preview_image)))
    import inspect
    real = inspect.signature(latest.ComfyAPI.Execution.set_progress).parameters
    assert {{"value", "max_value", "node_id", "preview_image"}} <= set(real)
    latest.ComfyAPISync = Quiet
else:
    from comfy_api.latest import PROGRESS as seen
import torch
import latentzoo as lz
from latentzoo.bridges.comfy import comfy_entrypoint
from latentzoo.record import plain

extension = asyncio.run(comfy_entrypoint())
(node,) = asyncio.run(extension.get_node_list())
schema = node.GET_SCHEMA()
defaults = {{i.id: i.default for i in schema.inputs}}
assert list(defaults) == ["generator", "texts", "energies", "options", "chains", "steps", "seed"]
assert (defaults["chains"], defaults["steps"]) == (16, 200)
assert [o.id for o in schema.outputs] == ["images", "verdict", "record"]
given = defaults | {{"generator": "avatar-gan", "energies": "attribute=hat=hijab:5", "chains": 2, "steps": 20}}
with torch.inference_mode():  # as ComfyUI calls a node
    images, verdict, record = node.execute(**given).result
    prior, words, _ = node.execute(**(given | {{"energies": ""}})).result
assert images.shape == (2, 64, 64, 3) and 0 <= images.min() and images.max() <= 1
assert "too short to tell" in verdict or "trustworthy" in verdict and words == "draws of the prior"
run = plain.parse(__import__("yaml").safe_load(record))
from latentzoo.record.experiment import Experiment
from latentzoo.run.result import finish
walk = Experiment(run).begin()
for _ in walk:
    pass
truth = finish(walk).images.clamp(0, 1).movedim(1, -1)
assert (images - truth).abs().max() <= 0.5 / 255 + 1e-6, "the record makes other pictures"
assert not torch.equal(images, prior)
assert seen and seen[-1][0] == seen[-1][1] and any(p is not None and p.shape == (1, 64, 64, 3) for *_, p in seen)
try:
    node.execute(**(given | {{"generator": "avatar-gam"}}))
except lz.LatentzooError as error:
    assert "avatar-gan" in str(error)
else:
    raise AssertionError("an unknown generator ran")
print("passed")
"""


@pytest.mark.parametrize("place", PLACES)
def test_a_workflow_samples_outside_of_inference_mode(place: Path) -> None:
    code = WORKFLOW.format(place=str(place), stub=str(HERE / "comfy_stub"))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.endswith("passed\n"), done.stderr[-3000:]


def test_without_comfyui_nothing_else_needs_it() -> None:
    code = "import latentzoo.bridges.trackers, latentzoo.cli, sys; sys.exit('comfy_api' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
