"""One vector a picture, whatever a backbone puts out, and the tables of timm and open_clip."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from energies import guides
from energies.guides import pictures
from latentzoo.errors import CheckpointError
from latentzoo.guides import compared, features, tables

transformers = pytest.importorskip("transformers")
SIZE = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
SIZE |= {"num_attention_heads": 2, "image_size": 32, "patch_size": 8}
SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2]}


def backbone(name: str, **settings: Any) -> Any:
    config = getattr(transformers, f"{name}Config")(**settings)
    return guides.shake(getattr(transformers, f"{name}Model")(config))


BACKBONES = {
    "class token": (lambda: backbone("ViT", **SIZE), lambda out: out.last_hidden_state[:, 0]),
    "pooled patches": (
        lambda: backbone("Swin", **SWIN, window_size=4),
        lambda out: out.last_hidden_state.mean(1),
    ),
    "all class tokens": (
        lambda: backbone("Pixio", **SIZE, n_cls_tokens=3),
        lambda out: out.last_hidden_state[:, :3].mean(1),
    ),
    "mean over patches": (
        lambda: backbone("IJepa", **SIZE),
        lambda out: out.last_hidden_state.mean(1),
    ),
    "mean over places": (
        lambda: backbone("ResNet", embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]),
        lambda out: out.pooler_output.flatten(1),
    ),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_the_vector_of_a_backbone(name: str) -> None:
    make, expected = BACKBONES[name]
    network, image = make(), pictures(32, 2)
    with torch.no_grad():
        output = network(pixel_values=image)
        seen = features.summary(network, output)
    assert seen.shape[0] == 2 and seen.ndim == 2
    torch.testing.assert_close(seen, expected(output), rtol=1e-4, atol=1e-5)


def test_a_network_that_could_hide_patches_and_does_not_is_read(tmp_path: Path) -> None:
    size = {"embed_dim": 8, "depths": [1] * 4, "num_heads": [1] * 4, "image_size": [32, 32]}
    size |= {"patch_stride": [4, 4], "patch_padding": [3, 3], "patch_size": [7, 7]}
    size |= {"masked_unit_size": [8, 8], "query_stride": [2, 2], "mask_ratio": 0.6}
    network = backbone("Hiera", **size)
    guides.save(network, tmp_path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    image = pictures(32, 2)
    found = features.load(str(tmp_path))
    torch.testing.assert_close(found(image), network.eval()(2 * image - 1).pooler_output)


def test_a_network_that_hides_patches_at_random_is_refused(tmp_path: Path) -> None:
    guides.save(backbone("ViTMAE", **SIZE), tmp_path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="draws random numbers"):
        features.load(str(tmp_path))


def of_pillow(size: tuple[int, int], side: int, mode: str, mean: float, std: float) -> Any:
    """Resize to (height, width) or, if the height is 0, the shorter edge to the width; then the centre."""

    def transform(picture: Image.Image) -> torch.Tensor:
        width, height = picture.size
        short = min(width, height)
        wanted = size if size[0] else (size[1] * height // short, size[1] * width // short)
        small = picture.resize(wanted[::-1], Image.Resampling[mode])
        top, left = (round((n - side) / 2) for n in wanted)
        pixels = np.array(small.crop((left, top, left + side, top + side))) / 255
        return torch.from_numpy((pixels - mean) / std).permute(2, 0, 1).float()

    return transform


TIMM = {"input_size": (3, 56, 56), "mean": (0.4,) * 3, "std": (0.2,) * 3}


@pytest.mark.parametrize(
    ("table", "size", "mode"),
    [
        ({"interpolation": "bicubic", "crop_pct": 0.9}, (0, 62), "BICUBIC"),  # 62.2 down
        (
            {"interpolation": "bilinear", "crop_pct": 0.875, "crop_mode": "center"},
            (0, 64),
            "BILINEAR",
        ),
        (
            {"interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "squash"},
            (58, 58),
            "BICUBIC",
        ),
    ],
)
def test_the_table_of_timm(table: dict[str, Any], size: tuple[int, int], mode: str) -> None:
    ours = tables.timm({**TIMM, **table}, source="x")
    assert math.floor(56 / table["crop_pct"]) == size[1]
    compared.agree(ours, of_pillow(size, 56, mode, 0.4, 0.2), source="x")


def test_what_is_not_known_of_timm_is_refused() -> None:
    for odd in ({"crop_mode": "naflex"}, {"interpolation": "random"}, {"input_size": (1, 40, 40)}):
        with pytest.raises(CheckpointError, match="'x' of timm"):
            tables.timm({"interpolation": "bicubic", **TIMM, **odd}, source="x")


@pytest.mark.parametrize(
    ("way", "size"), [("shortest", (0, 40)), ("squash", (40, 40))], ids=lambda x: str(x)
)
def test_the_table_of_open_clip(way: str, size: tuple[int, int]) -> None:
    table = {"size": (40, 40), "mean": (0.0,) * 3, "std": (1.0,) * 3}
    table |= {"interpolation": "bilinear", "resize_mode": way}
    network = SimpleNamespace(visual=SimpleNamespace(preprocess_cfg=table))
    ours = tables.open_clip(network.visual.preprocess_cfg, source="x")
    compared.agree(ours, of_pillow(size, 40, "BILINEAR", 0.0, 1.0), source="x")
    with pytest.raises(CheckpointError, match="'x' of open_clip"):
        tables.open_clip({**table, "resize_mode": "tomorrow's"}, source="x")


def on_a_ground(side: int, grey: int) -> Any:
    """The longer edge becomes the side, and the picture lies in the middle of a plain square."""

    def transform(picture: Image.Image) -> torch.Tensor:
        longest = max(picture.size)
        size = [round(n / (longest / side)) for n in picture.size]
        ground = Image.new("RGB", (side, side), (grey, grey, grey))
        small = picture.resize((size[0], size[1]), Image.Resampling.BICUBIC)
        ground.paste(small, ((side - size[0]) // 2, (side - size[1]) // 2))
        return torch.from_numpy((np.array(ground) / 255 - 0.4) / 0.2).permute(2, 0, 1).float()

    return transform


def test_pictures_that_lie_on_a_ground() -> None:
    table = {**TIMM, "interpolation": "bicubic", "crop_pct": 1.0, "crop_mode": "border"}
    compared.agree(tables.timm(table, source="x"), on_a_ground(56, 102), source="x")
    table = {"size": 56, "interpolation": "bicubic", "resize_mode": "longest", "fill_color": 7}
    ours = tables.open_clip({**table, "mean": (0.4,) * 3, "std": (0.2,) * 3}, source="x")
    compared.agree(ours, on_a_ground(56, 7), source="x")
