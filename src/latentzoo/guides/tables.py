"""How timm and open_clip make pictures ready, by the tables that their networks declare.

Both work by Pillow and know three ways: the picture covers the frame and its centre is taken, it is squashed into it,
or it lies within it on a plain ground.
"""

from collections.abc import Mapping
from typing import Any

from latentzoo.guides.compared import refused
from latentzoo.guides.preprocess import Crop, Fit, Mode, Normalise, Preprocess, Resize, Sides

MODES: dict[Any, Mode] = {"nearest": "nearest", "bilinear": "bilinear", "bicubic": "bicubic"}


def timm(data: Mapping[str, Any], *, source: str) -> Preprocess:
    """How timm makes pictures ready, by its table `data_config`: the sides over `crop_pct` are rounded down.

    Raises:
        CheckpointError: If it does something else than resize, crop and normalise pictures of three channels.
    """
    channels, *frame = data["input_size"]
    way, mode = data.get("crop_mode") or "center", MODES.get(data["interpolation"])
    if mode is None or way not in ("center", "squash", "border") or channels != 3:
        fact = f"crop_mode {way}, {data['interpolation']}, {channels} channels are not known here"
        raise refused(f"'{source}' of timm", fact)
    share, mean = data.get("crop_pct") or 1.0, tuple(data["mean"])
    larger = int(frame[0] / share), int(frame[1] / share)
    red, green, blue = (round(255 * x) / 255 for x in mean)
    crop = Crop((frame[0], frame[1]), colour=(red, green, blue) if way == "border" else (0, 0, 0))
    return Preprocess(_resize(way, larger, mode), crop, Normalise(mean, tuple(data["std"])))


def open_clip(table: Mapping[str, Any], *, source: str) -> Preprocess:
    """How open_clip makes pictures ready, by the table `preprocess_cfg` of its networks.

    Raises:
        CheckpointError: If it does something else than resize, crop and normalise.
    """
    size = table["size"]
    frame = (size, size) if isinstance(size, int) else (size[0], size[1])
    asked, way = table["interpolation"], table["resize_mode"]
    mode = MODES.get("bicubic" if asked == "random" else asked)  # random in training alone
    if mode is None or way not in ("shortest", "squash", "longest"):
        fact = f"{way}, {table['interpolation']} are not known here"
        raise refused(f"'{source}' of open_clip", fact)
    if way == "shortest" and frame[0] != frame[1]:
        mode = "bicubic"  # whatever the table says
    grey = table.get("fill_color", 0) / 255 if way == "longest" else 0.0
    crop = Crop(frame, colour=(grey, grey, grey))
    normal = Normalise(tuple(table["mean"]), tuple(table["std"]))
    return Preprocess(_resize(way, frame, mode), crop, normal)


def _resize(way: str, frame: Sides, mode: Mode) -> Resize | Fit:
    if way == "squash":
        return Resize(frame, mode)
    if way in ("border", "longest"):
        return Fit(frame, mode, inside=True)
    return Resize(frame[0], mode) if frame[0] == frame[1] else Fit(frame, mode)
