"""Pipelines that read no text: DiT reads a class, a decoder embeddings; and those that make no pictures."""

import json

import pytest
import tiny
import torch
from test_bad import said
from test_pipelines import Recorder

import latentzoo as lz
from latentzoo.errors import SpecError
from latentzoo.zoo.pipelines import kinds
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


def test_a_decoder_of_embeddings_needs_no_prompt():
    call = {**STEPS, "height": 16, "width": 16}
    call |= {name: torch.randn(1, 32) for name in ("image_embeds", "negative_image_embeds")}
    pipe = tiny.Tiny(tiny.kandinsky22_decoder, call, {}, "KandinskyV22Pipeline")()
    generator = lz.load(pipe, **call)
    with Recorder() as recorder:
        rng = torch.Generator().manual_seed(3)
        image = pipe(generator=rng, output_type="np", **call).images
    with torch.no_grad():
        ours = generator(generator.space.join(start=recorder.drawn[0])).clamp(0, 1)
    assert torch.equal(ours, torch.from_numpy(image).movedim(-1, 1)) and generator.prompt is None
    z = torch.randn(2, generator.space.dim)
    with torch.no_grad():
        torch.testing.assert_close(generator(z)[1:], generator(z[1:]), atol=1e-3, rtol=0)
    with pytest.raises(SpecError, match="reads no text; leave out the prompt"):
        lz.load(pipe, prompt="a cat", **call)


def test_an_unconditional_pipeline_is_run_picture_by_picture():
    blocks = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1}
    kinds = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    unet = tiny.D.UNet2DModel(sample_size=8, **blocks, **kinds)
    pipe = tiny.D.DDPMPipeline(unet=unet, scheduler=tiny.D.DDPMScheduler())
    generator = lz.load(pipe, num_inference_steps=2)
    z = torch.randn(2, generator.space.dim)
    assert generator.space.blocks == {"start": (3, 8, 8), "noise": (1, 3, 8, 8)}
    with torch.no_grad():
        assert torch.equal(generator(z)[1:], generator(z[1:]))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("WanPipeline", "makes videos or sound, as its call takes num_frames"),
        ("StableAudioPipeline", "makes videos or sound, as its call takes audio_end_in_s"),
        ("DiffusionPipeline", "no pipeline whose call is a map"),
        ("ModularPipeline", "no pipeline whose call is a map"),
    ],
)
def test_what_makes_no_pictures_is_refused_before_its_weights_are_read(tmp_path, kind, words):
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": kind}))
    assert words in said(tmp_path)


def test_what_is_no_pipeline():
    with pytest.raises(SpecError, match="int is no pipeline whose call is a map"):
        lz.load(3, prompt="a cat")


def test_arguments_that_are_not_named():
    class Hidden(tiny.D.StableDiffusionPipeline):
        def __call__(self, *args, **kwargs):
            return super().__call__(*args, **kwargs)

    with pytest.raises(SpecError, match="Hidden hides the arguments of its call behind"):
        kinds.judge(Hidden)
