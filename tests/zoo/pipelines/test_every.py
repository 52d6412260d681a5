"""Every pipeline class of the installed diffusers is a map that is tested, or refused with a reason."""

import warnings

import outside
import pytest
import test_pictures
import tiny
from every import ALL
from test_pipelines import takes_text

import latentzoo as lz
from latentzoo.errors import SpecError
from latentzoo.zoo.pipelines import kinds

MAPS = {about.name for about in ALL.values()} | {*test_pictures.CASES, "DiTPipeline"}
"""The classes whose map is held against their own call (the last in test_classes.py)."""

REASONS = {
    "makes videos": "refused: videos or sound",
    "makes sound": "refused: sound",
    "makes texts": "refused: texts",
    "makes proteins": "refused: proteins",
    "makes pictures of tokens": "refused: tokens",
    "makes what a decoder": "refused: embeddings for a decoder",
    "makes shapes": "refused: shapes",
    "makes depths": "refused: depths",
    "makes directions": "refused: directions of surfaces",
    "makes layers": "refused: layers of materials and light",
    "runs in ONNX": "refused: ONNX, without a gradient",
    "its guard has not seen": "refused: guarded, as its licence asks",
    "is no pipeline whose call": "refused: no call of its own (modular pipelines, parts of others)",
}
"""What a refusal by class says, and how the list calls it."""


def refused(name):
    """Whether a class is refused before any weights are read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind = getattr(tiny.D, name)
    try:
        kinds.judge(kind)
    except SpecError as error:
        return str(error)
    return ""


def lists():
    """The classes of the installed diffusers, by what becomes of them."""
    names = {name for name in dir(tiny.D) if name.endswith("Pipeline")}
    said = {name: refused(name) for name in names - {"DiffusionPipeline"}}
    found = {
        "a map, held against its own call": MAPS & names,
        "refused in its first run": {*outside.REFUSED},
        "its own call fails in this diffusers": {*outside.BROKEN},
    }
    for words, what in REASONS.items():
        found[what] = {name for name, line in said.items() if words in line}
    return found


def test_every_pipeline_class_is_in_exactly_one_list():
    names = {name for name in dir(tiny.D) if name.endswith("Pipeline")} - {"DiffusionPipeline"}
    places = {name: [what for what, each in lists().items() if name in each] for name in names}
    assert {name: found for name, found in places.items() if len(found) != 1} == {}


@pytest.mark.parametrize("name", outside.REFUSED)
def test_what_is_no_map_is_refused_in_its_first_run(name):
    pipe, call = outside.build(name)
    prompt = tiny.PROMPT if takes_text(pipe) else None
    with pytest.raises(SpecError, match=outside.REFUSED[name][2]) as caught:
        lz.load(pipe, prompt=prompt, **call)
    assert "\n" not in str(caught.value)


def test_a_pipeline_whose_own_call_fails_is_refused_in_one_line():
    """Should it run one day, it is to be held as a map."""
    pipe = tiny.Tiny(outside.blip, outside.BLIP, {}, "BlipDiffusionPipeline")()
    with pytest.raises(AttributeError, match="invert_attention_mask"):
        pipe(prompt=tiny.PROMPT, **outside.BLIP)
    with pytest.raises(SpecError, match="BlipDiffusionPipeline refuses the call") as caught:
        lz.load(pipe, prompt=tiny.PROMPT, **outside.BLIP)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", sorted(kinds.NUMPY))
def test_onnx_has_no_gradient(name):
    assert "runs in ONNX, which has no gradient" in refused(name)
