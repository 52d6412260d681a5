"""What pipelines take without a word, or read as something else, is refused by its name or said."""

import inspect
import warnings

import numpy as np
import pictured
import pytest
import test_pictures
import tiny
import torch
from PIL import Image
from test_pictures import MASK, SEEN

import latentzoo as lz
from latentzoo.errors import SpecError
from latentzoo.rng import Rng
from latentzoo.zoo.pipelines import effects, pictures, ranges

SD, XL, FLUX, SD3 = (
    "StableDiffusionPipeline",
    "StableDiffusionXLPipeline",
    "FluxPipeline",
    "StableDiffusion3Pipeline",
)
INTO, REFINED, HOLE, CONTROL = (
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionXLImg2ImgPipeline",
    "StableDiffusionInpaintPipeline",
    "StableDiffusionControlNetPipeline",
)
BRIGHT = torch.ones(1, 3, 16, 16)
CODE = 3 * torch.ones(1, 4, 8, 8)
WRONG = [
    (SD, {"guidance_scale": -3.0}, "guidance_scale=-3.0 is out of range .* at least 0"),
    (SD, {"eta": 2.0}, "eta=2.0 is out of range .* from 0 to 1"),
    (SD, {"eta": 0.5}, "eta=0.5 does nothing, as PNDMScheduler takes none"),
    (SD, {"guidance_rescale": 1.5}, "guidance_rescale=1.5 is out of range"),
    (SD, {"clip_skip": 9}, "the text encoder has 2 layers; give 0 to 1"),
    (SD, {"clip_skip": -1}, "clip_skip=-1 is out of range"),
    (SD, {"height": 20}, "sizes that are multiples of 8, and height=20, width=16"),
    (SD, {"timesteps": [500]}, "PNDMScheduler takes no timesteps"),
    (SD, {"timesteps": [5], "sigmas": [1.0]}, "two ways to say the same"),
    (SD, {"num_inference_steps": -1}, "num_inference_steps=-1 is out of range"),
    (SD, {"prompt_embeds": torch.zeros(1, 77, 32)}, "'prompt_embeds' is not taken"),
    (
        SD,
        {"negative_prompt_embeds": torch.zeros(1, 77, 32)},
        "'negative_prompt_embeds' is not taken",
    ),
    (
        XL,
        {"negative_pooled_prompt_embeds": torch.zeros(1, 32)},
        "'negative_pooled_.* is not taken",
    ),
    (SD, {"generator": torch.Generator()}, "the draws come from the latent"),
    (SD, {"seed": 3}, "the draws come from the latent"),
    (SD, {"ip_adapter_image": SEEN}, "seen by no IP-Adapter"),
    (SD, {"ip_adapter_image": [[5 * BRIGHT]]}, "ip_adapter_image has values from 5 to 5"),
    (XL, {"original_size": (0, 0)}, r"original_size=\(0, 0\) is out of range"),
    (XL, {"target_size": [0, 16]}, r"target_size=\(0, 16\) is out of range"),
    (XL, {"crops_coords_top_left": (-3, 0)}, "crops_coords_top_left=.* is out of range"),
    (XL, {"original_size": [16, 16, 16]}, "is not a list of a whole number and a whole number"),
    (XL, {"denoising_end": 1.5}, "denoising_end=1.5 is out of range"),
    (XL, {"timesteps": [2000], "num_inference_steps": None}, "numbers from 999 down to 0"),
    (XL, {"timesteps": [1, 5]}, "does not fall"),
    (XL, {"timesteps": []}, "timesteps is empty"),
    (XL, {"timesteps": [900, 500]}, "num_inference_steps=3, and timesteps has 2 numbers"),
    (XL, {"sigmas": [0.1, 14.0]}, "does not fall"),
    (XL, {"sigmas": [14.0, -1.0]}, "sigmas=.* is out of range"),
    (SD, {"cross_attention_kwargs": 3}, "cross_attention_kwargs=3 .* is not a table of names and"),
    (FLUX, {"joint_attention_kwargs": [1]}, "is not a table of names and values"),
    (FLUX, {"sigmas": [2.0, 1.0]}, "numbers from 1 down to 0"),
    (FLUX, {"max_sequence_length": 0}, "max_sequence_length=0 is out of range"),
    (FLUX, {"max_sequence_length": 1000}, "reads at most 512 tokens"),
    (FLUX, {"true_cfg_scale": -2.0}, "true_cfg_scale=-2.0 is out of range"),
    (SD3, {"skip_guidance_layers": [7]}, "the transformer has 2 layers"),
    (SD3, {"skip_layer_guidance_start": 0.9}, "is not before skip_layer_guidance_stop=0.2"),
    (SD3, {"mu": 1.0}, "mu=1.0 does nothing"),
    (INTO, {"strength": 0.0}, "strength=0.0 is out of range .* more than 0 and at most 1"),
    (INTO, {"strength": 1.2}, "strength=1.2 is out of range"),
    (INTO, {"strength": 0.01}, "left without a step"),
    (REFINED, {"denoising_start": 0.3, "denoising_end": 0.31}, "left without a step"),
    (REFINED, {"denoising_end": 0.01}, "left without a step"),
    (REFINED, {"denoising_start": 1.0}, "more than 0 and less than 1"),
    (REFINED, {"denoising_start": 0.0}, "more than 0 and less than 1"),
    (REFINED, {"denoising_end": 0.0}, "more than 0 and at most 1"),
    (INTO, {"image": SEEN.resize((17, 17))}, "resizes a picture of 17x17 pixels to 16x16"),
    (INTO, {"image": BRIGHT[..., :1].expand(1, 3, 16, 17)}, "picture of 16x17 pixels to 16x16"),
    (INTO, {"image": 5 * BRIGHT}, "values from 5 to 5, and a picture's are from 0 to 1"),
    (INTO, {"image": 1.0001 * BRIGHT}, "values from 1.0001 to 1.0001, .* clamp it"),
    (INTO, {"image": BRIGHT * torch.nan}, "values that are not finite"),
    (INTO, {"image": np.full((16, 16, 3), 255.0)}, "divide it by 255"),
    (INTO, {"image": SEEN.convert("RGBA")}, "mode RGBA"),
    (INTO, {"image": BRIGHT[:, :1]}, "a picture of 1 channels"),
    (INTO, {"image": BRIGHT[0, 0]}, r"image has shape \(16, 16\), which is no picture's"),
    (INTO, {"image": BRIGHT[:0]}, r"image has shape \(0, 3, 16, 16\), which is no picture's"),
    (INTO, {"image": BRIGHT[..., :0]}, r"image has shape \(1, 3, 16, 0\), which is no picture's"),
    (INTO, {"image": BRIGHT.int()}, "image is a tensor of int32; give numbers from 0 to 1"),
    (INTO, {"image": BRIGHT.byte()}, r"image is a tensor of uint8; .* by image.float\(\) / 255"),
    (INTO, {"image": [SEEN, SEEN]}, "is image meant to be a list"),
    (INTO, {"image": []}, "image of .* is an empty list"),
    (INTO, {"image": None}, "needs a picture that is not given"),
    (HOLE, {"mask_image": MASK.resize((32, 32))}, "32x32 pixels and its picture 16x16"),
    (HOLE, {"mask_image": 5 * BRIGHT[:, :1]}, "mask_image has values from 5 to 5"),
    (HOLE, {"mask_image": -BRIGHT[:, :1]}, "mask_image has values from -1 to -1"),
    (HOLE, {"padding_mask_crop": 2}, "'padding_mask_crop' is not taken"),
    (CONTROL, {"controlnet_conditioning_scale": [1.0, 2.0]}, "has one ControlNet"),
    (CONTROL, {"control_guidance_end": 1.5}, "control_guidance_end=1.5 is out of range"),
    (CONTROL, {"control_guidance_start": 1.0}, "is not before control_guidance_end=1.0"),
    (CONTROL, {"image": SEEN.resize((16, 32))}, "picture of 32x16 pixels to 16x16"),
]
MADE = {}


def load(name, **over):
    """The map of a tiny pipeline, which is built once."""
    if name not in MADE:
        about = tiny.MADE.get(name)
        if about is None:
            build, call, _ = test_pictures.CASES[name]
            about = tiny.Tiny(build, call, {}, name)
        MADE[name] = about(), about.call
    pipe, call = MADE[name]
    given = {k: v for k, v in {**call, **over}.items() if v is not None or k in ("image",)}
    return lz.load(pipe, **{"prompt": tiny.PROMPT, **given})


@pytest.mark.parametrize(("name", "over", "words"), WRONG)
def test_what_is_wrong_is_said_in_one_line(name, over, words):
    with pytest.raises(SpecError, match=words) as caught:
        load(name, **over)
    told = str(caught.value)
    assert "\n" not in told and ";" in told and "refuses the call (ValueError" not in told


def test_layers_of_the_text_encoder_are_skipped():
    """diffusers 0.42 looks for the last norm where transformers 5 has none any more."""
    whole, same, short = (load(SD, clip_skip=skip) for skip in (None, 0, 1))
    z = Rng(1).normal(whole.space.dim)
    with torch.no_grad():
        torch.testing.assert_close(whole(z), same(z), atol=1e-5, rtol=0)
        assert not torch.allclose(whole(z), short(z), atol=1e-3)


def test_a_list_from_a_file_of_options_is_two_numbers():
    lists, pairs = (load(XL, original_size=x) for x in ([32, 32], (32, 32)))
    z = Rng(1).normal(lists.space.dim)
    with torch.no_grad():
        assert torch.equal(lists(z), pairs(z))


def test_what_diffusers_ignores_is_told():
    with (
        pytest.warns(UserWarning, match="cross_attention_kwargs .*'nonsense'.* will be ignored"),
        pytest.warns(UserWarning, match="without cross_attention_kwargs"),
    ):
        load(SD, cross_attention_kwargs={"nonsense": 1.0})


@pytest.mark.parametrize(
    ("name", "over"),
    [
        (XL, {"timesteps": [900, 500], "num_inference_steps": 2}),
        (XL, {"sigmas": [14.0, 1.0, 0.0], "num_inference_steps": 2}),
        (FLUX, {"sigmas": [1.0, 0.5], "num_inference_steps": None}),
        (INTO, {"image": SEEN.resize((16, 24))}),
        (INTO, {"image": BRIGHT}),
        (INTO, {"image": -BRIGHT}),
        (INTO, {"image": np.random.default_rng(0).random((16, 16, 3))}),
        (HOLE, {"mask_image": MASK.convert("RGB")}),
        (HOLE, {"image": CODE, "masked_image_latents": CODE}),
        (CONTROL, {"image": SEEN.resize((64, 64))}),
        (CONTROL, {"controlnet_conditioning_scale": 1}),
        (SD, {"num_inference_steps": np.int64(3), "guidance_scale": np.float32(7.5)}),
        (XL, {"original_size": (np.int64(16), np.int64(16))}),
        (FLUX, {"sigmas": np.linspace(1, 0.25, 4), "num_inference_steps": None}),
    ],
)
def test_what_is_right_is_taken_without_a_word(name, over):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        load(name, **over)


def test_a_grey_picture_is_its_colours():
    grey, colours = (load(INTO, image=SEEN.convert("L").convert(mode)) for mode in ("L", "RGB"))
    z = Rng(1).normal(grey.space.dim)
    with torch.no_grad():
        assert torch.equal(grey(z), colours(z))


def test_a_size_that_a_pipeline_chooses_is_told():
    about = pictured.PICTURED["QwenImageEditPipeline"]
    call = {k: v for k, v in about.call.items() if k not in ("height", "width")}
    call["image"] = Image.new("RGB", (64, 64))
    with pytest.warns(UserWarning, match="resizes a picture of 64x64 pixels to 16x16"):
        lz.load(about(), prompt=tiny.PROMPT, **call)


def test_a_size_and_a_picture_without_effect_are_both_told(monkeypatch):
    about = pictured.PICTURED["QwenImageEditPipeline"]
    call = {k: v for k, v in about.call.items() if k not in ("height", "width")}
    call["image"] = Image.new("RGB", (64, 64))
    monkeypatch.setattr(effects, "unheard", lambda *_: ["image"])
    with pytest.warns(UserWarning, match="without image|resizes a picture"):
        told = lz.load(about(), prompt=tiny.PROMPT, **call).assumed
    assert "without image" in told["image"] and "resizes a picture" in told["resized"]


def test_every_picture_that_is_resized_is_looked_at():
    chosen, rounded = ((100, 100), (16, 16)), ((130, 130), (128, 128))
    told = (
        "X resizes a picture of 100x100 pixels to 16x16; give one of that size to keep its pixels"
    )
    assert pictures.resized("X", {chosen}, None) == [told]
    with pytest.raises(SpecError, match="130x130 pixels to 128x128"):
        pictures.resized("X", {chosen, rounded}, None)


def test_no_range_is_narrower_than_what_pipelines_take_where_nothing_is_given():
    names = [name for name in dir(tiny.D) if name.endswith("Pipeline")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kinds_ = [getattr(tiny.D, name) for name in names]
    for kind in kinds_:
        call = inspect.signature(kind.__call__).parameters
        usual = {name: p.default for name, p in call.items() if p.default is not p.empty}
        ranges.judge(kind.__name__, usual, usual)


@pytest.mark.parametrize(
    ("x", "size"),
    [
        (Image.new("RGB", (4, 6)), (6, 4)),
        (torch.zeros(1, 3, 6, 4), (6, 4)),
        (np.zeros((6, 4)), (6, 4)),
        (np.zeros((6, 4, 3)), (6, 4)),
        (np.zeros((2, 6, 4, 1)), (6, 4)),
        (np.zeros((2, 6, 5)), (6, 5)),
        ("a.png", None),
    ],
)
def test_the_size_of_a_picture(x, size):
    assert pictures.size(x) == size


@pytest.mark.parametrize("name", ["image", "control_image", "mask", "ip_adapter_image", "hint"])
def test_a_picture_is_known_by_its_name(name):
    assert pictures.is_picture(name)


@pytest.mark.parametrize("name", ["prompt_attention_mask", "image_embeds", "input_images_mask"])
def test_what_is_no_picture(name):
    assert not pictures.is_picture(name)
