"""What a network of timm or open_clip is shown is what their own transforms show it, for the table of every one."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from latentzoo.guides import compared, tables
from latentzoo.guides.preprocess import Crop, Preprocess, Resize

timm = pytest.importorskip("timm")
pytest.importorskip("torchvision")


def configurations() -> list[dict[str, Any]]:
    """The different tables of all classifiers that have weights."""
    found: dict[str, dict[str, Any]] = {}
    for name in timm.list_models(pretrained=True):
        config = timm.get_pretrained_cfg(name)
        if config is not None and config.num_classes:
            table = timm.data.resolve_data_config(pretrained_cfg=config.to_dict())
            found[str(table)] = table
    return list(found.values())


def test_the_sides_are_those_of_timm_for_every_classifier() -> None:
    known = configurations()
    assert len(known) > 100
    for table in known:
        resize, crop, *_ = timm.data.create_transform(**table, is_training=False).transforms
        ours, cut, _ = tables.timm(table, source="x").steps
        assert isinstance(ours, Resize) and isinstance(cut, Crop)
        size = resize.size
        assert ours.size == (tuple(size) if isinstance(size, list | tuple) else size), table
        assert cut.size == tuple(crop.size), table


def gap(table: dict[str, Any], ours: Preprocess, theirs: Any) -> float:
    """The largest difference in [0, 1], on pictures up and down, of odd sides, with places between two pixels."""
    worst, std = 0.0, torch.tensor(table["std"]).view(3, 1, 1)
    for height, width in ((53, 47), (37, 75), (121, 203), (48, 112), (203, 40)):
        noise = np.random.default_rng(height).integers(0, 256, (height, width, 3))
        pixels = noise.astype(np.uint8)
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
        difference = (ours(image)[0] - theirs(Image.fromarray(pixels))) * std
        worst = max(worst, float(difference.abs().max()))
    return worst


def test_the_pixels_are_those_of_timm_for_every_way_there_is() -> None:
    ways = {
        (t["crop_pct"], t["crop_mode"], t["interpolation"]): {**t, "input_size": (3, 40, 40)}
        for t in configurations()
    }
    for table in ways.values():
        theirs = timm.data.create_transform(**table, is_training=False)
        assert gap(table, tables.timm(table, source="x"), theirs) <= compared.GAP, table


def test_the_pixels_are_those_of_timm_for_every_way_there_might_be() -> None:
    ways = product(
        ("center", "squash", "border", None),
        ("bicubic", "bilinear", "nearest"),
        (1.0, 0.9, 0.6, None),
        ((3, 40, 40), (3, 40, 57), (3, 57, 40)),
    )
    for crop_mode, interpolation, crop_pct, size in ways:
        given = {"crop_mode": crop_mode, "interpolation": interpolation, "crop_pct": crop_pct}
        given |= {"input_size": size, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
        table = timm.data.resolve_data_config(given)
        theirs = timm.data.create_transform(**table, is_training=False)
        assert gap(table, tables.timm(table, source="x"), theirs) <= compared.GAP, table


def test_the_pixels_are_those_of_open_clip_for_every_way_there_might_be() -> None:
    transforms = pytest.importorskip("open_clip.transform")
    ways = product(
        ("shortest", "longest", "squash"),
        ("bicubic", "bilinear", "random"),
        (40, (40, 40), (40, 57), (57, 40)),
        (0, 200),
    )
    for way, interpolation, size, ground in ways:
        table = {"resize_mode": way, "interpolation": interpolation, "size": size}
        table |= {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "fill_color": ground}
        theirs = transforms.image_transform_v2(transforms.PreprocessCfg(**table), is_train=False)
        assert gap(table, tables.open_clip(table, source="x"), theirs) <= compared.GAP, table
