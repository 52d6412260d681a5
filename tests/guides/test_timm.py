"""What a classifier of timm is shown is what timm's own transform shows it, for the configuration of every one."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from latentzoo.guides import declared
from latentzoo.guides.preprocess import Crop, Resize

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
    tables = configurations()
    assert len(tables) > 100
    for table in tables:
        resize, crop, *_ = timm.data.create_transform(**table, is_training=False).transforms
        ours, cut, _ = declared.timm(table, source="x").steps
        assert isinstance(ours, Resize) and isinstance(cut, Crop)
        size = resize.size
        assert ours.size == (tuple(size) if isinstance(size, list | tuple) else size), table
        assert cut.size == tuple(crop.size), table


def test_the_pixels_are_those_of_timm_for_every_way_there_is() -> None:
    ways = {
        (t["crop_pct"], t["crop_mode"], t["interpolation"]): {**t, "input_size": (3, 40, 40)}
        for t in configurations()
    }
    for table in ways.values():
        theirs = timm.data.create_transform(**table, is_training=False)
        ours, std = declared.timm(table, source="x"), torch.tensor(table["std"]).view(3, 1, 1)
        for height, width in ((53, 47), (37, 75), (121, 203)):
            noise = np.random.default_rng(height).integers(0, 256, (height, width, 3))
            pixels = noise.astype(np.uint8)
            image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
            gap = ((ours(image)[0] - theirs(Image.fromarray(pixels))) * std).abs().max()
            assert gap <= declared.GAP, (table, gap)
