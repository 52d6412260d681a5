"""What single pipelines do around their networks, each found in one that is seldom met."""

import warnings

import pictured
import pytest
import rare
import tiny
import torch

import latentzoo as lz
from latentzoo.errors import SpecError
from latentzoo.rng import Rng
from latentzoo.zoo.pipelines import asked, blame, kinds, options
from latentzoo.zoo.pipelines.draws import Draws
from latentzoo.zoo.pipelines.stage import processors


def load(name, **over):
    about = rare.RARE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lz.load(about(), **{"prompt": tiny.PROMPT, **about.call, **over})


@pytest.mark.parametrize("name", kinds.MADE)
def test_what_makes_no_pictures_of_a_gaussian_is_told_by_its_class(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind = getattr(tiny.D, name)
    with pytest.raises(SpecError, match=f"{name} makes {kinds.MADE[name]}") as caught:
        kinds.judge(kind)
    assert "\n" not in str(caught.value)


def test_a_gradient_that_a_pipeline_follows_itself_is_refused():
    pipe = tiny.D.StableDiffusionAttendAndExcitePipeline(**tiny.sd())
    call = {"num_inference_steps": 2, "height": 16, "width": 16, "token_indices": [2]}
    with pytest.raises(SpecError, match="follows a gradient of its own"):
        lz.load(pipe, prompt=tiny.PROMPT, attn_res=(4, 4), **call)


def test_a_draw_behind_a_bound_counts():
    """In a first run numbers are no real ones: a step that is cut off there is not where they are."""
    with Draws() as draws:
        image = (1e6 * torch.randn(1, 3)).clamp(-1, 1)
    assert image.abs().eq(1).all()
    (gradient,) = torch.autograd.grad(image.sum(), draws.drawn)
    assert gradient.all()


def test_a_flow_takes_any_number_of_steps():
    flux = tiny.MADE["FluxPipeline"]()
    assert options.complete(flux, {"num_inference_steps": 1500})["num_inference_steps"] == 1500
    with pytest.raises(
        SpecError, match=r"num_inference_steps=0 is out of range .* give at least 1"
    ):
        options.complete(flux, {"num_inference_steps": 0})


def test_attention_is_put_back_where_a_call_fails():
    about = tiny.MADE["StableDiffusionPAGPipeline"]
    pipe = about()
    before = processors(pipe.unet)
    step = pipe.scheduler.step
    pipe.scheduler.step = lambda *a, **k: (torch.randint(0, 9, (1,)), step(*a, **k))[1]
    with pytest.raises(SpecError, match="randint"):
        lz.load(pipe, prompt=tiny.PROMPT, **about.call)
    now = processors(pipe.unet)
    assert all(now[name] is before[name] for name in before)


def test_a_pipeline_whose_pictures_must_be_guarded_is_refused():
    with pytest.raises(SpecError, match="shows no picture that its guard has not seen"):
        kinds.judge(tiny.D.Cosmos2TextToImagePipeline)


def test_a_missing_package_is_named_where_its_part_is_missed(monkeypatch):
    from diffusers.models.transformers import transformer_cosmos

    monkeypatch.delattr(transformer_cosmos, "transforms", raising=False)
    network = tiny.D.CosmosTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=12, num_layers=1
    )
    x, text = torch.zeros(1, 4, 1, 8, 8), torch.zeros(1, 5, 1024)
    with (
        pytest.raises(SpecError, match="needs the package torchvision, which is not installed"),
        blame.refused("CosmosTransformer3DModel"),
    ):
        network(x, torch.zeros(1), text, padding_mask=torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("name", ["unet", "vae", "scheduler"])
def test_what_a_pipeline_lacks_is_named(name):
    about = tiny.MADE["StableDiffusionPipeline"]
    pipe = about()
    setattr(pipe, name, None)
    with pytest.raises(
        SpecError, match=f"StableDiffusionPipeline has no {name}; load it with one"
    ):
        lz.load(pipe, prompt=tiny.PROMPT, **about.call)


@pytest.mark.parametrize("prompt", [3, True, ["a", 3], b"cat", [["a"]]])
def test_a_prompt_that_is_no_text(prompt):
    pipe = tiny.MADE["StableDiffusionPipeline"]()
    with pytest.raises(SpecError, match="is no text; put it in quotes"):
        asked.said(pipe, prompt, {})


def test_a_negative_prompt_that_is_not_read_is_told():
    about = tiny.MADE["StableDiffusionPipeline"]
    with pytest.warns(UserWarning, match="reads nothing of the negative_prompt 'blur'"):
        lz.load(about(), prompt=tiny.PROMPT, **{**about.call, "guidance_scale": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        lz.load(about(), prompt=tiny.PROMPT, **about.call)


@pytest.mark.slow
def test_several_pictures_of_a_latent_are_refused():
    call = {"image": pictured.SEEN, "layers": 2, "num_inference_steps": 2}
    with pytest.raises(SpecError, match="gives 2 pictures of 1, so it is no map"):
        lz.load(pictured.layered(), prompt=tiny.PROMPT, **call)


@pytest.mark.slow
def test_one_guidance_stands_for_a_schedule():
    call = {"guidance_schedule": [2.0, 2.0, 2.0]}
    one = load("Ideogram4Pipeline", guidance_scale=2.0, guidance_schedule=None)
    about = rare.RARE["Ideogram4Pipeline"]
    rest = {k: v for k, v in about.call.items() if k != "guidance_schedule"}
    alone = lz.load(about(), prompt=tiny.PROMPT, guidance_scale=2.0, **rest)
    z = Rng(1).normal(one.space.dim)
    with torch.no_grad():
        assert torch.equal(alone(z), one(z)) and torch.equal(one(z), load(about.name, **call)(z))
