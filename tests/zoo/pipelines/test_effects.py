"""Options that change nothing are told, and no others: held against pictures, on every class."""

import inspect
import typing
import warnings

import pytest
import test_silent
import tiny
import torch
from every import ALL
from PIL import Image
from test_pictures import CASES
from test_pipelines import takes_text
from test_silent import SD, SD3, XL

import latentzoo as lz
from latentzoo.errors import LatentzooError
from latentzoo.record import spec
from latentzoo.record.execute import measure
from latentzoo.record.experiment import Experiment
from latentzoo.rng import Rng
from latentzoo.zoo.pipelines import changes, effects, pictures
from latentzoo.zoo.pipelines.digest import digest
from latentzoo.zoo.pipelines.follow import Heard, Trace
from latentzoo.zoo.pipelines.habits import ours
from latentzoo.zoo.pipelines.probe import Probe, answer
from latentzoo.zoo.pipelines.texts import Texts

FLUX, QWEN, REFINED = "FluxPipeline", "QwenImagePipeline", "StableDiffusionXLImg2ImgPipeline"
HOLE, CONTROL = "StableDiffusionInpaintPipeline", "StableDiffusionControlNetPipeline"
CODE = torch.linspace(-1, 1, 256).reshape(1, 4, 8, 8)
QUICK = (SD, XL, FLUX, SD3, "SanaPipeline", "StableDiffusionPAGPipeline")
BARE = {"negative_prompt": None}
UNTOLD = effects.ELSEWHERE | {"num_inference_steps", *effects.TIMES}
CHOSEN = {"max_sequence_length", "text_encoder_out_layers", "_auto_resize", "max_area"}
"""What a tiny pipeline cannot do without, or is large without."""
VALUES = {
    "negative_prompt": "a blue sphere",
    "negative_prompt_2": "a blue sphere",
    "prompt_2": "a blue sphere",
    "skip_guidance_layers": [1],
    "clip_skip": 1,
    "original_size": (32, 24),
    "target_size": (32, 24),
    "negative_original_size": (32, 24),
    "negative_target_size": (32, 24),
    "cross_attention_kwargs": {"scale": 0.5},
    "joint_attention_kwargs": {"scale": 0.5},
    "attention_kwargs": {"scale": 0.5},
}
"""Values of options that have none where nothing is given."""


@pytest.mark.parametrize(
    ("name", "over", "told"),
    [
        (SD, {"guidance_scale": 1.0, "guidance_rescale": 0.7, **BARE}, {"guidance_rescale"}),
        (SD, {"guidance_scale": 1.0, "negative_prompt": "blur"}, {"negative_prompt"}),
        (SD, {"guidance_scale": 1.0, "negative_prompt": ""}, set()),
        (SD, {"guidance_scale": 3.0, "guidance_rescale": 0.7, "negative_prompt": "blur"}, set()),
        (SD, {"cross_attention_kwargs": {"scale": 0.5}}, {"cross_attention_kwargs"}),
        (FLUX, {"true_cfg_scale": 4.0}, {"true_cfg_scale"}),
        (FLUX, {"true_cfg_scale": 4.0, "negative_prompt": "blur"}, set()),
        (FLUX, {"negative_prompt": "blur"}, {"negative_prompt"}),
        (FLUX, {"guidance_scale": 1.0}, set()),
        (FLUX, {"max_sequence_length": 512, "prompt_2": tiny.PROMPT}, set()),
        (QWEN, {"true_cfg_scale": 3.0, **BARE}, {"true_cfg_scale"}),
        (QWEN, {"guidance_scale": 2.0}, {"guidance_scale"}),
        (SD3, {"skip_layer_guidance_scale": 2.0}, {"skip_layer_guidance_scale"}),
        (SD3, {"skip_guidance_layers": [1], "skip_layer_guidance_stop": 1.0}, set()),
        (REFINED, {"aesthetic_score": 3.0}, {"aesthetic_score"}),
        (XL, {"original_size": (16, 16)}, set()),
        (XL, {"negative_original_size": (8, 8)}, {"negative_original_size"}),
        (XL, {"negative_original_size": (8, 8), "negative_target_size": (8, 8)}, set()),
        (HOLE, {"masked_image_latents": CODE}, {"masked_image_latents"}),
        (CONTROL, {"control_guidance_end": 0.9}, set()),
    ],
)
def test_what_changes_nothing_is_told(name, over, told):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", UserWarning)
        generator = test_silent.load(name, **over)
    lines = {str(w.message) for w in said}
    assert lines == {*generator.assumed.values()}
    assert generator.assumed.keys() - {"call"} == told  # what diffusers says itself
    assert not any("\n" in line for line in lines)
    assert generator.assumptions() == "; ".join(generator.assumed.values())


def test_a_network_that_does_not_read_an_argument():
    """HunyuanDiT 1.2 is told the sizes of pictures, and has no place for them."""
    about = ALL["HunyuanDiTPipeline"]
    old = about().transformer
    new = type(old).from_config(old.config, use_style_cond_and_image_meta_size=False)
    pipe = about(transformer=new)
    with pytest.warns(UserWarning, match="without original_size"):
        generator = lz.load(pipe, prompt=tiny.PROMPT, original_size=(512, 512), **about.call)
    assert generator.assumed.keys() == {"original_size"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("value", [object(), print, {1}, b"x", Image.new("RGBA", (2, 2))])
def test_what_cannot_be_changed_is_no_failed_load(value):
    generator = test_silent.load(SD, cross_attention_kwargs={"mine": value})
    assert "cross_attention_kwargs" in generator.assumed
    assert " at 0x" not in generator.assumptions()


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "I;16", "F"])
def test_pictures_of_all_modes_have_others(mode):
    seen = Image.new(mode, (2, 1))
    seen.putpixel((0, 0), 255 if len(seen.getbands()) == 1 else (255,) * len(seen.getbands()))
    (other,) = changes.others(seen)
    assert (other.mode, other.size) == (mode, seen.size) and other.tobytes() != seen.tobytes()


def test_a_pipeline_that_fails_when_it_is_followed_says_nothing(monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(effects.Trace, "__call__", fail)
    assert test_silent.load(FLUX, true_cfg_scale=4.0).assumed == {}


def test_a_network_answers_to_a_copy():
    given = [torch.ones(2)], {"states": [torch.ones(2)]}
    said = answer(lambda x, states: x.mul_(2) + states.pop().requires_grad_(), *given)
    assert said.tolist() == [3, 3] and not said.requires_grad
    assert given[0][0].tolist() == given[1]["states"][0].tolist() == [1, 1]


def test_objects_are_never_the_same():
    one = object()
    assert len({digest(one), digest(one), digest({"a": one})}) == 3
    assert digest([1, {"a": b"x"}]) == digest([1, {"a": b"x"}]) != digest((1, {"a": b"x"}))


@pytest.mark.parametrize(
    ("calls", "other"),
    [
        ([(2, 1, 1), (2, 1, 1)], [(2, 5, 1), (2, 5, 5)]),  # another place of one dictionary
        ([(2, 1, 1), (3, 1, 1)], [(2, 5, 1), (3, 5, 1)]),  # a call of other shapes
    ],
)
def test_what_is_not_read_at_one_call_may_be_read_at_the_next(calls, other):
    read = lambda x, values: x * (values["second"] + values["first"] * (len(x) == 3))
    probe = Probe()

    def call(trace, size, first, second):
        values = {"first": first, "second": second}
        trace(read, read, (torch.arange(float(size)),), {"values": values})

    like = Trace(probe)
    for one in calls:
        call(like, *one)
    trace = Trace(probe, like)
    call(trace, *other[0])
    with pytest.raises(Heard):
        call(trace, *other[1])


def test_numbers_in_another_order_in_memory_are_encoded_anew():
    """Convolutions round them otherwise, which would be taken for an effect."""
    ear, x = effects.Ear(Texts()), torch.ones(1, 3, 2, 2)
    seen = [ear.see(torch.Tensor.stride, None, (y,), {}) for y in (x, x.mT, x.mT.contiguous())]
    assert seen == [x.stride(), x.mT.stride(), x.stride()] and len(ear.seen) == 2


def test_a_picture_is_encoded_once_however_many_options_there_are(monkeypatch):
    build, call, _ = CASES["StableDiffusionImg2ImgPipeline"]
    pipe, seen = tiny.Tiny(build, call, {}, "StableDiffusionImg2ImgPipeline")(), []
    encode = pipe.vae.encode
    monkeypatch.setattr(pipe.vae, "encode", lambda *a, **k: (seen.append(1), encode(*a, **k))[1])
    lz.load(pipe, prompt=tiny.PROMPT, **call)
    few, more = len(seen), {"clip_skip": 1, "guidance_scale": 3.0, "negative_prompt": "blur"}
    lz.load(pipe, prompt=tiny.PROMPT, **call, **more)
    assert len(seen) == 2 * few


def test_what_changes_nothing_is_in_the_record(tmp_path):
    tiny.MADE[FLUX]().save_pretrained(tmp_path / "flux")
    call = {**tiny.MADE[FLUX].call, "true_cfg_scale": 4.0}
    run = spec.Run(generator=str(tmp_path / "flux"), options={"prompt": tiny.PROMPT, **call})
    with pytest.warns(UserWarning, match="without true_cfg_scale"):
        assumed = measure(Experiment(run))["assumed"]
    assert "true_cfg_scale=4.0: it needs a negative_prompt" in assumed["true_cfg_scale"]


def test_no_network_is_run_for_an_option_that_is_heard():
    """But for the first run, and once where it is given something else."""
    about = tiny.MADE[FLUX]
    pipe, calls = about(), []
    pipe.transformer.register_forward_hook(lambda *_: calls.append(1))
    load = lambda **over: lz.load(pipe, prompt=tiny.PROMPT, **{**about.call, **over})
    load()
    plain = len(calls)
    load(true_cfg_scale=4.0, negative_prompt="blur", prompt_2="a cat")
    assert len(calls) <= 2 * plain + 3


def values(kind, call):
    """Options of a class that are not usual, one at a time."""
    hints = typing.get_type_hints(kind.__call__)
    for name, p in inspect.signature(kind.__call__).parameters.items():
        value = call.get(name, VALUES.get(name))
        kinds = {*typing.get_args(hints.get(name))} | {hints.get(name)}
        if name in call:
            pass
        elif isinstance(p.default, bool):
            value = not p.default
        elif isinstance(p.default, int | float):
            value = next(changes.others(p.default))
        elif value is None and {int, float} & kinds:
            value = 0.7 if float in kinds else 2
        needed = p.default is p.empty or name in CHOSEN or pictures.is_picture(name)
        plain = not isinstance(value, torch.Tensor) and value
        if name not in UNTOLD and not ours(name) and not needed and plain:
            yield name, value


def picture(generator):
    with torch.no_grad():
        return generator(Rng(1).normal(generator.space.dim))


def law(name):
    """Each option of a class: told, or it changes the picture or its latent."""
    about = ALL[name]
    pipe = about()
    prompt = about.prompt if takes_text(pipe) else None
    wrong, tried = [], 0
    for option, value in values(type(pipe), about.call):
        rest = {n: x for n, x in about.call.items() if n != option}
        try:
            base = lz.load(pipe, prompt=prompt, **rest)
        except LatentzooError:
            continue
        alike, told = [], set()
        for one in (value, *changes.others(value)):
            try:
                generator = lz.load(pipe, prompt=prompt, **{**rest, option: one})
            except LatentzooError:
                continue
            same = base.space == generator.space
            alike.append(same and torch.equal(picture(base), picture(generator)))
            told |= {option} & generator.assumed.keys()
            if not alike[-1]:
                break
        tried += bool(alike)
        if alike and all(alike) != (option in told):
            wrong.append((option, value, alike, told))
    assert wrong == []
    return tried


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", QUICK)
def test_what_is_told_is_what_pictures_show(name):
    assert law(name) > 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(set(ALL) - set(QUICK)))
def test_what_is_told_is_what_pictures_show_of_every_class(name):
    law(name)
