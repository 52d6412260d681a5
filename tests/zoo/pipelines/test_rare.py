"""What single pipelines do around their networks, each found in one that is seldom met."""

import warnings

import pytest
import rare
import tiny
import torch

import latentzoo as lz
from latentzoo.errors import SpecError
from latentzoo.rng import Rng
from latentzoo.zoo.pipelines import asked, blame, inside, kinds, options
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


def test_a_draw_behind_a_bound_counts():
    """In a first run numbers are no real ones: a step that is cut off there is not where they are."""
    with Draws() as draws:
        image = (1e6 * torch.randn(1, 3)).clamp(-1, 1)
    assert image.abs().eq(1).all()
    (gradient,) = torch.autograd.grad(image.sum(), draws.drawn)
    assert gradient.all()


class Types(tuple):
    """What is asked of types alone: a tensor that is compared with a type takes ten times the time of its step."""

    def __contains__(self, x):
        assert isinstance(x, torch.dtype)
        return super().__contains__(x)


def test_tensors_are_not_compared_with_types(monkeypatch):
    monkeypatch.setattr(inside, "NARROW", Types(inside.NARROW))
    x = torch.ones(2, dtype=torch.float64)
    with inside.Exact():
        assert torch.mul(x, x).float().dtype == x.to(torch.float16).dtype == torch.float64


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
    with pytest.warns(UserWarning, match="same picture without negative_prompt='blur'"):
        lz.load(about(), prompt=tiny.PROMPT, **{**about.call, "guidance_scale": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        lz.load(about(), prompt=tiny.PROMPT, **about.call)


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


def test_a_steep_decoder_has_a_right_gradient():
    """Kandinsky's decoder of random weights: a central difference is off by more than 1e-6, as h squared, and
    Richardson's extrapolation of two is not."""
    generator = load("KandinskyPipeline").double()
    z = Rng(1, dtype=torch.float64).normal(generator.space.dim).requires_grad_()
    y = Rng(2, dtype=torch.float64).normal(3, *generator.size)
    inner = lambda at: (generator(at) * y).sum()
    (gradient,) = torch.autograd.grad(inner(z), z)
    slope, v = gradient.norm(), gradient / gradient.norm()
    with torch.no_grad():
        central = [(inner(z + h * v) - inner(z - h * v)) / (2 * h) for h in (3e-6, 6e-6)]
        error = lambda found: float((found / slope - 1).abs())
        assert error(central[0]) > 1e-6
        assert 3 < error(central[1]) / error(central[0]) < 5
        assert error((4 * central[0] - central[1]) / 3) < 1e-7
