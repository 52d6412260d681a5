"""What a network's own library does to pictures, read from what it declares, and compared with it on two pictures.

`transformers` has a class of processors for each kind of network; most resize, crop and normalise, and say so in their
settings, others do more. timm and open_clip declare a table. A way that is not understood is refused by name: before
a network is used, its processor and ours see the same pictures, and may differ by 0.02 of [0, 1], which is what
rounding to bytes makes of a resize.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from latentzoo.errors import CheckpointError
from latentzoo.guides import pretrained
from latentzoo.guides.preprocess import Crop, Mode, Normalise, Preprocess, Resize

MODES: dict[Any, Mode] = {0: "nearest-exact", 2: "bilinear", 3: "bicubic"}
MODES |= {"nearest": "nearest-exact", "bilinear": "bilinear", "bicubic": "bicubic"}
WHOLE = 384  # from this side on, ConvNeXt's processor crops nothing
GAP = 0.02
Step = Callable[..., Tensor]


def load(source: str) -> Preprocess:
    """How the pictures of a repository of `transformers` are made ready for its network.

    Raises:
        CheckpointError: If its processor does what is not known here.
    """
    processor = pretrained.load("AutoImageProcessor", source)
    return of(processor, source=source)


def of(processor: Any, *, source: str) -> Preprocess:
    """How an image processor of `transformers` makes pictures ready; see `load`."""
    kind = type(processor).__name__.removesuffix("Fast").removesuffix("Pil")
    settings = _Settings(processor)
    name = f"'{source}' ({kind})"
    try:
        if "data_config" in settings.table:
            ours = timm(settings["data_config"], source=source)
        else:
            ours = Preprocess(*KINDS.get(kind, _usual)(settings), *_numbers(kind, settings))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _refused(name, f"a setting is not known here ({error})") from error
    agree(ours, lambda image: _pixels(processor, image), source=name)
    return ours


def timm(data: Mapping[str, Any], *, source: str) -> Preprocess:
    """How timm makes pictures ready, by its table `data_config`: the side over `crop_pct` is rounded down.

    Raises:
        CheckpointError: If it does something else than resize, crop and normalise.
    """
    _, height, width = data["input_size"]
    crop, squash = data.get("crop_mode") or "center", data.get("crop_mode") == "squash"
    mode = MODES.get(data["interpolation"])
    if mode is None or crop not in ("center", "squash") or (height != width and not squash):
        fact = f"crop_mode {crop}, {data['interpolation']}, {height}x{width} are not known here"
        raise _refused(f"'{source}' of timm", fact)
    share = data.get("crop_pct") or 1.0
    larger = int(height / share), int(width / share)
    normal = Normalise(tuple(data["mean"]), tuple(data["std"]))
    return Preprocess(Resize(larger if squash else larger[0], mode), Crop((height, width)), normal)


def open_clip(table: Mapping[str, Any], *, source: str) -> Preprocess:
    """How open_clip makes pictures ready, by the table `preprocess_cfg` of its networks.

    Raises:
        CheckpointError: If it does something else than resize, crop and normalise.
    """
    size = table["size"]
    height, width = (size, size) if isinstance(size, int) else size
    mode, way = MODES.get(table["interpolation"]), table["resize_mode"]
    if mode is None or way not in ("shortest", "squash") or (height != width and way != "squash"):
        fact = f"{way}, {table['interpolation']}, {height}x{width} are not known here"
        raise _refused(f"'{source}' of open_clip", fact)
    resize = Resize((height, width) if way == "squash" else height, mode)
    normal = Normalise(tuple(table["mean"]), tuple(table["std"]))
    return Preprocess(resize, Crop((height, width)), normal)


def agree(ours: Preprocess, theirs: Callable[[Image.Image], Tensor], *, source: str) -> None:
    """Compares ours with a library's own way, on one picture that grows and one that shrinks, of odd sides.

    Raises:
        CheckpointError: If they differ by more than `GAP` of [0, 1].
    """
    small = probe(47, 61)
    height, width = ours(_tensor(small)).shape[2:]
    for picture in (small, probe(2 * height + 35, 3 * width + 1)):
        expected, seen = theirs(picture), ours(_tensor(picture))[0]
        if expected.shape != seen.shape:
            shapes = f"it makes {tuple(expected.shape)} of a picture, not {tuple(seen.shape)}"
            raise _refused(source, shapes)
        black, white = (ours(torch.full((1, 3, 47, 61), level)) for level in (0.0, 1.0))
        scale = (white - black)[0, :, height // 2, width // 2].abs().view(3, 1, 1)
        gap = ((seen - expected).abs() / scale).max().item()
        if not gap <= GAP:
            raise _refused(source, f"its pictures differ by {gap:.3f} of [0, 1] from what it says")


def probe(height: int, width: int) -> Image.Image:
    """A picture with waves, grain and edges from black to white, at which bicubic interpolation overshoots."""
    y, x, channel = np.ogrid[:height, :width, :3]
    waves = np.sin(0.9 * y + channel) + np.cos(0.31 * x - 2.0 * channel) + np.sin(0.05 * x * y)
    return Image.fromarray((127.5 + 100 * waves).clip(0, 255).astype(np.uint8))


def _tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255


def _pixels(processor: Any, picture: Image.Image) -> Tensor:
    """What a processor makes of a picture, (3, h, w); an empty tensor, if that is no picture."""
    try:
        made = processor(picture, return_tensors="pt")
    except Exception as error:  # it may ask for anything: words, boxes, a video
        raise _refused(type(processor).__name__, f"it takes no picture alone ({error})") from error
    pixels = made.get("pixel_values") if isinstance(made, Mapping) else None
    return pixels[0] if isinstance(pixels, Tensor) and pixels.ndim == 4 else torch.empty(0)


def _refused(name: str, fact: str) -> CheckpointError:
    line = " ".join(fact.split())[:200]
    return CheckpointError(
        f"the pictures of {name} are made ready in a way that is not known here: {line}; take another model"
    )


class _Settings:
    """The settings of a processor; what its table leaves out is the default of its class."""

    def __init__(self, processor: Any) -> None:
        self.table, self.processor = processor.to_dict(), processor
        self.pillow = type(processor).__name__.endswith("Pil")

    def __getitem__(self, key: str) -> Any:
        return self.table.get(key, getattr(self.processor, key, None))

    @property
    def mode(self) -> Mode:
        number = 2 if self["resample"] is None else int(self["resample"])
        if number not in MODES:
            raise ValueError(f"resample {Image.Resampling(number).name.lower()}")
        return MODES[number]

    def sides(self, key: str) -> int | tuple[int, int]:
        """The shorter edge, or height and width."""
        size = self[key]
        if size is None:
            raise ValueError(f"no {key}: pictures of any size")
        if isinstance(size, int):
            return (size, size) if key == "crop_size" else size
        given = {name: n for name, n in dict(size).items() if n is not None}
        if given.keys() == {"shortest_edge"}:
            return int(given["shortest_edge"])
        if given.keys() != {"height", "width"}:
            raise ValueError(f"{key} {given}")
        return int(given["height"]), int(given["width"])

    def pair(self, key: str) -> tuple[int, int]:
        size = self.sides(key)
        return (size, size) if isinstance(size, int) else size

    def crop(self, size: tuple[int, int]) -> Crop:
        return Crop(size, down=True, more=self.pillow)


def _usual(settings: _Settings) -> list[Step]:
    resize = [Resize(settings.sides("size"), settings.mode)] if settings["do_resize"] else []
    return [*resize, *_crop(settings)]


def _in_numbers(settings: _Settings) -> list[Step]:
    """The usual steps of a library that rescales first, and cuts nothing off."""
    steps = _usual(settings)
    return [replace(s, bytes=False) if isinstance(s, Resize) else s for s in steps]


def _crop(settings: _Settings) -> list[Step]:
    return [settings.crop(settings.pair("crop_size"))] if settings["do_center_crop"] else []


def _convnext(settings: _Settings) -> list[Step]:
    edge = settings.sides("size")
    if not settings["do_resize"] or not isinstance(edge, int):
        return _usual(settings)
    if edge >= WHOLE:
        return [Resize((edge, edge), settings.mode), *_crop(settings)]
    larger = Resize(int(edge / settings["crop_pct"]), settings.mode)
    return [larger, settings.crop((edge, edge)), *_crop(settings)]


def _poolformer(settings: _Settings) -> list[Step]:
    if not settings["do_resize"] or settings["crop_pct"] is None:
        return _usual(settings)
    height, width = settings.pair("size")
    if height != width:
        raise ValueError(f"size {height}x{width} with crop_pct")
    return [Resize(int(height / settings["crop_pct"]), settings.mode), *_crop(settings)]


def _levit(settings: _Settings) -> list[Step]:
    edge = settings.sides("size")
    if not settings["do_resize"] or not isinstance(edge, int):
        return _usual(settings)
    return [Resize(int(256 / 224 * edge), settings.mode), *_crop(settings)]


def _perceiver(settings: _Settings) -> list[Step]:
    size, crop = settings.pair("size"), settings.pair("crop_size")

    def share(image: Tensor, **_: bool) -> Tensor:
        short = min(image.shape[2:])
        height, width = (int(n / m * short) for n, m in zip(size, crop, strict=True))
        return settings.crop((height, width))(image)

    resize = [Resize(size, settings.mode)] if settings["do_resize"] else []
    return [share, *resize] if settings["do_center_crop"] else resize


def _reversed(image: Tensor, **_: bool) -> Tensor:
    """Red, green, blue become blue, green, red."""
    return image.flip(1)


def _numbers(kind: str, settings: _Settings) -> list[Step]:
    r"""From [0, 1] to the network's numbers, :math:`(255 f x - o - m) / s`, in one step; maybe in another order."""
    factor = 255 * (settings["rescale_factor"] if settings["do_rescale"] else 1.0)
    offset = 1.0 if settings["rescale_offset"] and settings["do_rescale"] else 0.0
    three = lambda x: [float(x)] * 3 if isinstance(x, int | float) else [float(v) for v in x]
    mean, std = [0.0] * 3, [1.0] * 3
    if settings["do_normalize"] and kind not in UNNORMALISED:
        mean, std = three(settings["image_mean"]), three(settings["image_std"])
    if kind in TWICE and settings["include_top"]:
        std = [s * t for s, t in zip(std, three(settings["image_std"]), strict=True)]
    normal = Normalise(tuple((offset + m) / factor for m in mean), tuple(s / factor for s in std))
    return [*([_reversed] if settings["do_flip_channel_order"] else []), normal]


KINDS: dict[str, Callable[[_Settings], list[Step]]] = {
    "ConvNextImageProcessor": _convnext,
    "DINOv3ViTImageProcessor": _in_numbers,
    "LevitImageProcessor": _levit,
    "PerceiverImageProcessor": _perceiver,
    "PoolFormerImageProcessor": _poolformer,
}
UNNORMALISED = {"MobileViTImageProcessor"}  # whatever its settings say
TWICE = {"EfficientNetImageProcessor"}  # divides by the deviation once more for classifiers
