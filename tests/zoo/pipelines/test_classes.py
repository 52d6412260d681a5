"""A pipeline that reads a class instead of a text: DiT, by number, by name, one for each chain."""

import json

import pytest
import tiny
import torch
from test_bad import said
from test_pipelines import Recorder

import latentzoo as lz
from latentzoo.errors import SpecError
from latentzoo.zoo.pipelines.pipeline import TextToImage
from laws import obey

STEPS = {"num_inference_steps": 2, "guidance_scale": 4.0}


@pytest.fixture(scope="module")
def pipe():
    pipe = tiny.dit()
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def folder(pipe, tmp_path_factory):
    """The pipeline as it is published: the names of its classes stand in the model index."""
    folder = tmp_path_factory.mktemp("dit")
    pipe.save_pretrained(folder)
    index = folder / "model_index.json"
    names = {"id2label": {"207": "golden retriever, retriever", "360": "otter"}}
    index.write_text(json.dumps(json.loads(index.read_text()) | names))
    return folder


def test_the_map_is_the_pipelines_own_call(pipe):
    generator = TextToImage(pipe, None, class_labels=207, **STEPS)
    with Recorder() as recorder:
        rng = torch.Generator().manual_seed(3)
        image = pipe(class_labels=[207], generator=rng, output_type="np", **STEPS).images
    z = generator.space.join(start=recorder.drawn[0])
    with torch.no_grad():
        ours = generator(z).clamp(0, 1)
    assert torch.equal(ours, torch.from_numpy(image).movedim(-1, 1))
    obey(generator)


def test_each_chain_has_its_class(folder):
    one, other, both = (
        lz.load(str(folder), class_labels=labels, **STEPS)
        for labels in ("otter", 207, ["otter", "retriever"])
    )
    z = torch.randn(2, one.space.dim)
    with torch.no_grad():
        assert torch.equal(both(z), torch.cat([one(z[:1]), other(z[1:])]))
        assert not torch.allclose(one(z), other(z), atol=1e-3)


@pytest.mark.parametrize("label", [1000, -1, True, 2.5, "cat", None, ["otter", "cat"]])
def test_a_class_that_is_not_there(pipe, label):
    with pytest.raises(SpecError, match="class"):
        TextToImage(pipe, None, class_labels=label, **STEPS)


def test_a_prompt_is_not_passed_over(folder):
    assert "reads no text; give a class" in said(folder)


def test_a_picture_without_a_gradient_is_refused_before_the_first_step():
    pipe = tiny.D.StableDiffusionPanoramaPipeline(**tiny.sd())
    with pytest.raises(SpecError, match="cannot be differentiated"):
        TextToImage(pipe, tiny.PROMPT, num_inference_steps=3, height=16, width=16)
