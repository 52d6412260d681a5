"""What a guide sees is what its own library shows it: every image processor of the installed transformers."""

import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from latentzoo.errors import CheckpointError
from latentzoo.guides import compared, declared, vision_language
from latentzoo.guides.text_image import OPENAI

transformers = pytest.importorskip("transformers")

SIZES = ((53, 40), (37, 75), (151, 111), (120, 203), (20, 31), (48, 112))
"""Height, width: up and down, odd sides, not square; 48 to 40 has places exactly between two pixels."""
WHOLE = {"shortest_edge": 384}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "ConvNext": [{}, {"size": WHOLE}, {"crop_pct": 0.9}],
    "EfficientNet": [
        {"include_top": False},
        {"include_top": True},
        {"resample": 0},
        {
            "rescale_offset": True,
            "include_top": False,
            "do_normalize": False,
            "rescale_factor": 1 / 127.5,
        },
    ],
    "Bit": [{}, {"do_resize": False}, {"do_normalize": False}, {"do_rescale": False}],
    "CLIP": [{}, {"resample": 2}, {"size": {"height": 39, "width": 45}}],
    "ViT": [{}, {"resample": 0}, {"image_mean": 0.4, "image_std": 0.2}],
    "PPLCNet": [{"resize_short": 37}, {"resize_short": 37, "size_divisor": 8}],
    "PoolFormer": [{}, {"crop_pct": None}],
    "TextNet": [{}, {"size_divisor": 7}],
    "Perceiver": [{"crop_size": {"height": 47, "width": 47}}],
}
CLASSIFIERS = {
    *("Beit", "Bit", "Blip", "CLIP", "ChineseCLIP", "ConvNext", "DeiT", "EfficientNet", "Levit"),
    *("MobileNetV1", "MobileNetV2", "MobileViT", "Perceiver", "PoolFormer", "Pvt", "Segformer"),
    *("Siglip", "TextNet", "ViT", "OwlViT", "Flava"),
}
"""The kinds that classifiers and text-image models have, and that must be understood."""


OPTIONS: dict[str, tuple[Any, ...]] = {
    "size": (37, {"shortest_edge": 39}, {"height": 39, "width": 45}, {"longest_edge": 40}),
    "crop_size": (35, {"height": 31, "width": 37}, {"height": 60, "width": 60}),
    "resample": (0, 1, 2, 3),
    "image_mean": (0.4, [0.1, 0.2, 0.3]),
    "image_std": (0.3, [0.1, 0.2, 0.3]),
    "rescale_factor": (1 / 127.5,),
    "pad_size": ({"height": 60, "width": 60},),
    "crop_pct": (0.5, None),
    **dict.fromkeys(("do_resize", "do_center_crop", "do_rescale", "do_normalize"), (True, False)),
    **dict.fromkeys(("do_pad", "do_flip_channel_order", "rescale_offset"), (True,)),
    **dict.fromkeys(("keep_aspect_ratio", "default_to_square", "do_convert_rgb"), (True, False)),
}
"""Settings that are changed one at a time, for every processor."""


def classes() -> list[type]:
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    names = {n for v in IMAGE_PROCESSOR_MAPPING_NAMES.values() for n in (v or {}).values() if n}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [getattr(transformers, name) for name in sorted(names)]


def kind(processor: type) -> str:
    return re.sub(r"ImageProcessor(Pil|Fast)?$", "", processor.__name__)


def small(processor: Any) -> dict[str, Any]:
    """The sizes of a processor, a few pixels each, so that a test takes no time."""
    given = {}
    for key, side in (("size", 40), ("crop_size", 33)):
        table = getattr(processor, key, None)
        if table is not None and not isinstance(table, int):
            names = [name for name, n in dict(table).items() if n is not None]
            if set(names) in ({"height", "width"}, {"shortest_edge"}):
                given[key] = dict.fromkeys(names, side)
    return given


def gap(processor: Any, ours: Any, height: int, width: int) -> float:
    """The largest difference of what both make of a picture, in [0, 1]."""
    noise = np.random.default_rng(height).integers(0, 256, (height, width, 3))
    y, x, c = np.ogrid[:height, :width, :3]
    waves = 125 + 90 * np.sin(y / 5 + c) + 60 * np.cos(x / 7)
    pixels = np.where(x < width / 2, noise, waves.clip(0, 255)).astype(np.uint8)  # edges, too
    theirs = processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"][0]
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].double() / 255
    seen = ours(image)[0]
    assert theirs.shape == seen.shape
    scale = (ours(image + 1) - ours(image))[0].abs().amax((1, 2)).view(3, 1, 1)
    return ((seen - theirs) / scale).abs().max().item()


@pytest.fixture(scope="module")
def known() -> dict[str, list[str]]:
    """The kinds that are understood and those that are refused, both proven."""
    understood, refused = [], []
    for processor in classes():
        for variant in VARIANTS.get(kind(processor), [{}]):
            try:
                made = processor(**{**small(processor), **variant})
            except (ImportError, TypeError):  # it needs torchvision, or a table of timm's
                break
            try:
                ours = declared.of(made, source="repository")
            except CheckpointError as error:
                assert kind(processor) in str(error), "refused by name"
                assert not variant, f"{processor.__name__} {variant}: {error}"
                refused.append(kind(processor))
                continue
            gaps = [gap(made, ours, *size) for size in SIZES]
            assert max(gaps) <= compared.GAP, (processor.__name__, variant, gaps)
            understood.append(kind(processor))
    return {"understood": understood, "refused": refused}


def test_every_processor_is_met_or_refused_by_name(known: dict[str, list[str]]) -> None:
    understood = set(known["understood"])
    assert understood >= CLASSIFIERS, CLASSIFIERS - understood
    assert "ImageGPT" in known["refused"] and "Siglip2" in known["refused"]  # colours; patches


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_each_setting_is_followed_or_refused(name: str) -> None:
    followed = set()
    for processor in (p for p in classes() if kind(p) == name):
        for key, value in ((k, v) for k, values in OPTIONS.items() for v in values):
            try:
                made = processor(**{**small(processor), key: value})
            except (ImportError, TypeError, ValueError):
                continue
            try:
                ours = declared.of(made, source="repository")
            except CheckpointError as error:
                assert name in str(error) and "\n" not in str(error)
                continue
            gaps = [gap(made, ours, *size) for size in (SIZES[0], SIZES[-1])]
            assert max(gaps) <= compared.GAP, (processor.__name__, key, value, gaps)
            followed.add(key)
    assert followed >= {"resample", "do_normalize", "do_rescale", "rescale_factor"}


def test_the_first_clip_is_shown_its_own_colours() -> None:
    from transformers.utils.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    assert (tuple(OPENAI_CLIP_MEAN), tuple(OPENAI_CLIP_STD)) == OPENAI


@pytest.mark.parametrize(("backend", "mode"), [("", "nearest"), ("PilBackend", "nearest-exact")])
def test_the_nearest_pixel_of_a_vision_language_model_is_its_backends(
    backend: str, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow's and torch's part where a place is exactly between two pixels; here Pillow's stands for torch's."""
    monkeypatch.setattr(declared, "TORCH", {backend})
    processor = transformers.Qwen2VLImageProcessorPil(resample=0)
    assert vision_language.of(processor, source="repository").mode == mode
