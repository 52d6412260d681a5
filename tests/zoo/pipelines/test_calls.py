"""What is asked of a pipeline, and what it may not do: options, prompts, hooks, memory."""

import copy

import pytest
import tiny
import torch
from torch import nn

import latentzoo as lz
from latentzoo.energies.base import Function
from latentzoo.errors import SpecError, UnknownName
from latentzoo.generator import images
from latentzoo.posterior import Posterior
from latentzoo.rng import Rng
from latentzoo.zoo.pipelines import probe

CALL = {"num_inference_steps": 2, "height": 16, "width": 16}


@pytest.fixture(scope="module")
def pipe():
    return tiny.MADE["StableDiffusionPipeline"]()


def load(pipe, **options):
    return lz.load(pipe, **{"prompt": tiny.PROMPT, **CALL, **options})


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"num_inference_steps": "two"}, SpecError, "whole number"),
        ({"num_inference_steps": 2.5}, SpecError, "whole number"),
        ({"num_inference_steps": None}, SpecError, "whole number"),
        ({"num_inference_steps": 0}, SpecError, "give 1 to 1000"),
        ({"num_inference_steps": 1001}, SpecError, "give 1 to 1000"),
        ({"guidance_scale": "much"}, SpecError, "a finite number"),
        ({"guidance_scale": True}, SpecError, "a finite number"),
        ({"guidance_scale": float("nan")}, SpecError, "a finite number"),
        ({"guidance_scale": float("inf")}, SpecError, "a finite number"),
        ({"negative_prompt": 3}, SpecError, "a text"),
        ({"hight": 16}, UnknownName, "did you mean 'height'"),
        ({"height": 17}, SpecError, "multiples of 8"),
        ({"latents": 0}, SpecError, "what is sampled"),
        ({"num_images_per_prompt": 2}, SpecError, "number of chains"),
        ({"callback_on_step_end": print}, SpecError, "side effects"),
        ({"prompt": " "}, SpecError, "empty"),
        ({"prompt": []}, SpecError, "empty"),
        ({"prompt": "w " * 80 + "the last word"}, SpecError, "the last word"),
        ({"recompute": "sqrt"}, SpecError, "recompute"),
        ({"chunk": 0}, SpecError, "chunk"),
        ({"chunk": "two"}, SpecError, "chunk"),
        ({"self": 1}, UnknownName, "'self'"),
        ({"variant": "fp16"}, SpecError, "for a folder"),
    ],
)
def test_bad_options_are_one_line(pipe, options, kind, words):
    with pytest.raises(kind, match=words) as caught:
        load(pipe, **options)
    assert "\n" not in str(caught.value)


def test_nothing_may_be_given_where_the_annotation_forgets_it():
    sana = tiny.MADE["SanaPipeline"]
    call = {**sana.call, "max_sequence_length": 16}
    none, empty = (
        lz.load(sana(), prompt=tiny.PROMPT, **{**call, "complex_human_instruction": given})
        for given in (None, [])
    )
    z = Rng(1).normal(none.space.dim)
    assert torch.equal(none(z), empty(z))


def test_words_that_one_encoder_reads_are_not_lost():
    flux = tiny.MADE["FluxPipeline"]
    long = "a red cube on a blue sphere " * 4
    lz.load(flux(), prompt=long, **{**flux.call, "max_sequence_length": 256})
    with pytest.raises(SpecError, match="would be lost"):
        lz.load(flux(), prompt=long, **flux.call)


def test_a_caption_is_not_left_uncleaned_in_silence(monkeypatch):
    monkeypatch.setattr("latentzoo.zoo.pipelines.options.CLEANERS", ("no_such_package",))
    sigma = tiny.MADE["PixArtSigmaPipeline"]
    with pytest.raises(SpecError, match="clean_caption needs packages"):
        lz.load(sigma(), prompt=tiny.PROMPT, clean_caption=True, **sigma.call)


def test_a_further_text_is_one_for_all_prompts():
    flux = tiny.MADE["FluxPipeline"]
    with pytest.raises(SpecError, match="prompt_2 of FluxPipeline is a list; give one text"):
        lz.load(flux(), prompt=["a", "b"], prompt_2=["c", "d"], **flux.call)


def test_a_picture_that_is_not_finite_is_refused(pipe):
    broken = copy.copy(pipe)
    broken.vae = copy.deepcopy(pipe.vae)
    broken.vae.decoder.conv_out.bias.data[0] = torch.nan
    with pytest.raises(SpecError, match="gives a picture that is not finite"):
        load(broken)


def test_a_clamp_of_what_is_no_picture_is_kept():
    """LongCat clamps a scale (B, S, 1), which three pictures together give the shape of one."""
    cat = tiny.MADE["LongCatImagePipeline"]
    generator = lz.load(cat(), prompt=tiny.PROMPT, **cat.call)
    z = Rng(1, 2, 3).normal(generator.space.dim)
    alone = torch.cat([generator(row) for row in z.split(1)])
    torch.testing.assert_close(generator(z), alone, atol=1e-5, rtol=0)


def test_the_clamp_is_left_out_of_a_picture_alone_and_of_several(pipe):
    """Stable Diffusion clamps each picture by itself, others all that they made."""
    kolors = tiny.MADE["KolorsPipeline"]
    for bright, call in ((copy.copy(pipe), CALL), (kolors(), kolors.call)):
        bright.vae = copy.deepcopy(bright.vae)
        bright.vae.decoder.conv_out.bias.data += 3.0
        generator = lz.load(bright, **{"prompt": tiny.PROMPT, **call})
        z = Rng(1, 2).normal(generator.space.dim).requires_grad_()
        image = generator(z)
        assert image.min() > 1
        assert torch.autograd.grad(image.sum(), z)[0].abs().max() > 0


def test_a_size_that_would_be_changed_in_silence():
    flux = tiny.MADE["FluxPipeline"]
    with pytest.raises(SpecError, match=r"makes 16x16 pixels of the 18x18"):
        lz.load(flux(), prompt=tiny.PROMPT, **{**flux.call, "height": 18, "width": 18})


def test_several_maps_of_one_pipeline_do_not_meet(pipe):
    a, b = load(pipe), load(pipe, prompt="a blue sphere", guidance_scale=2.0)
    z = Rng(1).normal(a.space.dim)
    alone = a(z), b(z)
    x, y = z.clone().requires_grad_(), z.clone().requires_grad_()
    both = a(x), b(y)  # the gradient of one comes after the call of the other
    assert torch.equal(both[0], alone[0]) and torch.equal(both[1], alone[1])
    assert not torch.equal(*alone)
    torch.autograd.grad(both[0].sum(), x)


def test_chains_with_prompts_of_their_own(pipe):
    prompts = ["a red cube", "a blue sphere", "a red cube"]
    several = load(pipe, prompt=prompts, guidance_scale=3.0)
    assert several.prompt is None and several.chains == 3
    z = Rng(1, 2, 3).normal(several.space.dim)
    alone = torch.cat(
        [
            load(pipe, prompt=p, guidance_scale=3.0)(r)
            for p, r in zip(prompts, z.split(1), strict=True)
        ]
    )
    torch.testing.assert_close(several(z), alone, atol=1e-5, rtol=1e-4)
    part = several.select(torch.tensor([1, 2]))
    torch.testing.assert_close(part(z[1:]), alone[1:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(images(several, z, 2), alone, atol=1e-5, rtol=1e-4)
    with pytest.raises(SpecError, match="3 chains and 2 latents"):
        several(z[:2])


def test_a_posterior_knows_whose_prompt_is_whose(pipe):
    several = load(pipe, prompt=["a red cube", "a blue sphere", "a cat"])
    dark = {"dark": Function(lambda image: image.mean((1, 2, 3)))}
    z = Rng(1, 2, 3).normal(several.space.dim)
    whole = Posterior(several, dark).evaluate(z)
    parts = Posterior(several, dark, micro_batch=2).evaluate(z)
    torch.testing.assert_close(whole.phi, parts.phi, atol=1e-5, rtol=1e-4)
    one = Posterior(several, dark).select(torch.tensor([2])).evaluate(z[2:])
    torch.testing.assert_close(one.grad, whole.grad[2:], atol=1e-5, rtol=1e-3)


def test_prompts_of_different_length_are_apart():
    chroma = tiny.MADE["ZImagePipeline"]
    prompts = ["a red cube", "a blue sphere on a table"]
    several = lz.load(chroma(), prompt=prompts, **{**chroma.call, "max_sequence_length": 64})
    z = Rng(1, 2).normal(several.space.dim)
    for i in range(2):
        one = several.select(torch.tensor([i]))
        torch.testing.assert_close(one(z[i : i + 1]), several(z)[i : i + 1])


def test_no_text_encoder_runs_in_a_step_and_the_global_stream_is_left_alone(pipe):
    count = []
    hook = pipe.text_encoder.register_forward_hook(lambda *_: count.append(1))
    generator = load(pipe)
    hook.remove()
    said = len(count)
    state = torch.get_rng_state()
    generator(Rng(1).normal(generator.space.dim))
    assert said > 0 and len(count) == said
    assert torch.equal(torch.get_rng_state(), state)


def test_layerwise_casting_is_refused():
    sd = tiny.MADE["StableDiffusionPipeline"]()
    sd.unet.enable_layerwise_casting(torch.bfloat16, torch.float32)
    with pytest.raises(SpecError, match="casts its layers"):
        load(sd)


def test_offloading_is_refused():
    sd = tiny.MADE["StableDiffusionPipeline"]()
    sd.unet.enable_group_offload(
        torch.device("cpu"), torch.device("cpu"), offload_type="leaf_level"
    )
    with pytest.raises(SpecError, match="is offloaded"):
        load(sd)
    sd = tiny.MADE["StableDiffusionPipeline"]()
    sd.vae._hf_hook = object()  # what accelerate leaves on a network that it moves
    with pytest.raises(SpecError, match="the vae of StableDiffusionPipeline is offloaded"):
        load(sd)


def test_caches_are_refused():
    flux = tiny.MADE["FluxPipeline"]()
    flux.transformer.enable_cache(tiny.D.FirstBlockCacheConfig(threshold=0.1))
    with pytest.raises(SpecError, match="earlier calls"):
        load(flux)


class Rounded(nn.Module):
    """A linear layer whose activations are rounded to bytes, as dynamic quantisation does."""

    def __init__(self, linear):
        super().__init__()
        self.linear = linear

    def forward(self, x):
        scale = x.detach().abs().amax() / 127
        return self.linear((x / scale).round() * scale)


class Absent(torch.autograd.Function):
    """A value whose gradient was left on a disk."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return torch.full_like(grad, torch.nan)


def test_a_gradient_that_is_cut_is_found():
    sana = tiny.MADE["SanaPipeline"]
    pipe = sana()
    pipe.transformer.patch_embed.proj = Rounded(pipe.transformer.patch_embed.proj)
    with pytest.raises(SpecError, match="cuts the gradient"):
        lz.load(pipe, prompt=tiny.PROMPT, **sana.call)


def test_a_decoder_that_draws_is_no_function():
    """As the consistency decoder does, which starts at noise of its own."""
    stable = tiny.MADE["StableDiffusionPipeline"]
    pipe = stable()
    down, up = 2 * ("ResnetDownsampleBlock2D",), 2 * ("ResnetUpsampleBlock2D",)
    pipe.vae = tiny.D.ConsistencyDecoderVAE(
        **{"latent_channels": 4, "encoder_block_out_channels": (16, 16)},
        **{"encoder_down_block_types": 2 * ("DownEncoderBlock2D",), "encoder_norm_num_groups": 8},
        **{"encoder_layers_per_block": 1, "decoder_layers_per_block": 1},
        **{"decoder_block_out_channels": (32, 32), "decoder_down_block_types": down},
        decoder_up_block_types=up,
    ).eval()
    with pytest.raises(SpecError, match="ConsistencyDecoderVAE gives another output at each call"):
        lz.load(pipe, prompt=tiny.PROMPT, **stable.call)


def test_a_network_that_bends_within_a_thousandth_has_its_gradient():
    x = torch.randn(64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    wave = lambda x: torch.sin(2000 * x)
    probe.judge(wave, nn.Identity(), (x,), {})
    cut = lambda x: 2 * x.detach() + 0.1 * x
    with pytest.raises(SpecError, match="cuts the gradient"):
        probe.judge(cut, nn.Identity(), (x,), {})


def test_a_gradient_that_is_not_finite_is_found(pipe):
    lost = copy.copy(pipe)
    lost.unet = copy.deepcopy(pipe.unet)
    out = lost.unet.conv_out
    out.register_forward_hook(lambda module, x, y: Absent.apply(y))
    with pytest.raises(SpecError, match="not finite"):
        load(lost)


def test_draws_that_are_no_gaussian_are_refused_by_name():
    sd = tiny.MADE["StableDiffusionPipeline"]()
    step = sd.scheduler.step
    sd.scheduler.step = lambda *a, **k: (torch.randint(0, 9, (1,)), step(*a, **k))[1]
    with pytest.raises(SpecError, match="randint"):
        load(sd)


def test_ipndm_has_no_gradient_in_32_bits():
    sd = tiny.MADE["StableDiffusionPipeline"]()
    sd.scheduler = tiny.D.IPNDMScheduler()
    with pytest.raises(SpecError, match="IPNDMScheduler makes no map"):
        load(sd)


def test_the_users_pipeline_is_left_as_it_was(pipe):
    before = dict(vars(pipe))
    load(pipe)
    assert vars(pipe) == before and pipe.unet.forward.__func__ is type(pipe.unet).forward


def test_negative_prompts_of_each_chain(pipe):
    against = ["blur", "a hat", "blur"]
    several = load(pipe, prompt=["a cat"] * 3, negative_prompt=against, guidance_scale=4.0)
    z = Rng(1).normal(several.space.dim).expand(3, -1)
    alone = [load(pipe, prompt="a cat", negative_prompt=n, guidance_scale=4.0) for n in against]
    images = torch.cat([g(z[:1]) for g in alone])
    torch.testing.assert_close(several(z), images, atol=1e-5, rtol=1e-4)
    assert several.prompt == "a cat" and not torch.allclose(images[0], images[1], atol=1e-4)
    with pytest.raises(SpecError, match="2 texts as negative_prompt and 3 prompts"):
        load(pipe, prompt=["a cat"] * 3, negative_prompt=against[:2])


def test_a_pipeline_handed_over_in_half_precision_stays_in_it():
    pipe = tiny.MADE["FluxPipeline"]().to(torch.bfloat16)
    generator = lz.load(pipe, prompt=tiny.PROMPT, **tiny.MADE["FluxPipeline"].call)
    assert {p.dtype for p in generator.parameters()} == {torch.bfloat16}
    z = Rng(1).normal(generator.space.dim).requires_grad_()
    (gradient,) = torch.autograd.grad(generator(z).float().sum(), z)
    assert gradient.dtype == torch.float32 and gradient.isfinite().all()


def test_one_side_alone(pipe):
    with pytest.raises(
        SpecError, match=r"16x16 pixels of the 24x16 .*; give both height and width"
    ):
        lz.load(pipe, prompt=tiny.PROMPT, num_inference_steps=2, height=24)
