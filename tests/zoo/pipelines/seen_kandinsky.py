"""Tiny random pipelines of Kandinsky to which pictures are given."""

import rare
import tiny
import torch
from pictured import HOLE, INTO, SEEN, pictured
from tiny import MADE, START

CODES = torch.linspace(-0.1, 0.1, 32)[None]
DECODED = {"image_embeds": CODES, "negative_image_embeds": -CODES}
SIDES = {"height": 16, "width": 16}
SHOWN = {**INTO, **SIDES}
HINT = {"hint": torch.linspace(-1, 1, 3 * 64**2).reshape(1, 3, 64, 64)}


def second(**more):
    """The decoder of 2.2, of another U-Net."""
    parts = tiny.kandinsky22_decoder()
    parts["unet"] = type(parts["unet"]).from_config(parts["unet"].config, **more)
    return parts


def first(**more):
    """Kandinsky 2.1, of another U-Net."""
    parts = rare.kandinsky()
    parts["unet"] = type(parts["unet"]).from_config(parts["unet"].config, **more)
    return parts


def softer(parts):
    """The same, of which the decoder sees still less, as codes from a random prior are large."""
    parts["movq"].post_quant_conv.weight.data *= 0.1
    return parts


def prior(name):
    """The parts of the prior of a combined pipeline."""
    made = MADE | rare.RARE
    return {k: v for k, v in made[name].build().items() if k.startswith("prior_")}


HINTED = {
    "addition_embed_type": "image_hint",
    "encoder_hid_dim_type": "image_proj",
    "in_channels": 8,
}
COMBINED = {"prior_num_inference_steps": 2}


@pictured("KandinskyV22Pipeline", START, **DECODED)
def _():
    return second()


@pictured("KandinskyV22Img2ImgPipeline", START, **DECODED, **SHOWN)
def _():
    return second()


@pictured("KandinskyV22InpaintPipeline", START, **DECODED, **HOLE)
def _():
    return second(in_channels=9)


@pictured("KandinskyV22ControlnetPipeline", START, **DECODED, **HINT)
def _():
    return second(**HINTED)


@pictured("KandinskyV22ControlnetImg2ImgPipeline", START, **DECODED, **HINT, **SHOWN)
def _():
    return second(**HINTED)


@pictured("KandinskyV22Img2ImgCombinedPipeline", None, stays=True, **COMBINED, **SHOWN)
def _():
    return second() | prior("KandinskyV22CombinedPipeline")


@pictured("KandinskyV22InpaintCombinedPipeline", None, stays=True, **COMBINED, **HOLE)
def _():
    return softer(second(in_channels=9)) | prior("KandinskyV22CombinedPipeline")


@pictured("KandinskyImg2ImgPipeline", START, stays=True, **DECODED, **SHOWN)
def _():
    return first()


@pictured("KandinskyInpaintPipeline", START, stays=True, **DECODED, **HOLE)
def _():
    return first(in_channels=9)


@pictured("KandinskyImg2ImgCombinedPipeline", None, stays=True, **COMBINED, **SHOWN)
def _():
    return first() | prior("KandinskyCombinedPipeline")


@pictured("KandinskyInpaintCombinedPipeline", None, stays=True, **COMBINED, **HOLE)
def _():
    return first(in_channels=9) | prior("KandinskyCombinedPipeline")


@pictured("Kandinsky3Img2ImgPipeline", None, **INTO)
def _():
    return MADE["Kandinsky3Pipeline"].build()


@pictured(
    "Kandinsky5I2IPipeline",
    None,
    image=SEEN.resize((32, 32)),
    after=lambda pipe: setattr(pipe, "resolutions", [(32, 32)]),
    **{**SIDES, "height": 32, "width": 32},
)
def _():
    parts = rare.RARE["Kandinsky5T2IPipeline"].build()
    config = parts["transformer"].config
    parts["transformer"] = type(parts["transformer"]).from_config(config, visual_cond=True)
    return parts
