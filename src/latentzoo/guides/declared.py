"""What `transformers` does to pictures, read from what a processor declares, and compared with it on two pictures.

It has a class of processors for each kind of network; most resize, crop and normalise, and say so in their settings,
others do more. A way that is not understood is refused by name: before a network is used, its processor and ours see
the same pictures.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from latentzoo.guides import pretrained, tables
from latentzoo.guides.compared import agree, refused
from latentzoo.guides.preprocess import Crop, Mode, Normalise, Preprocess, Resize

MODES: dict[int, Mode] = {0: "nearest", 2: "bilinear", 3: "bicubic"}
TORCH = {"TorchvisionBackend", "BaseImageProcessorFast"}
"""The classes of `transformers` 5 and 4 that work by torchvision; all others do by Pillow."""
WHOLE = 384  # from this side on, ConvNeXt's processor crops nothing
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
            ours = tables.timm(settings["data_config"], source=source)
        else:
            ours = Preprocess(*KINDS.get(kind, _usual)(settings), *_numbers(kind, settings))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise refused(name, f"a setting is not known here ({error})") from error
    agree(ours, lambda image: _pixels(processor, image), source=name)
    return ours


def mode(processor: Any) -> Mode:
    """How an image processor of `transformers` interpolates.

    Raises:
        ValueError: If in a way that is not known here.
    """
    return _Settings(processor).mode


def _pixels(processor: Any, picture: Image.Image) -> Tensor:
    """What a processor makes of a picture, (3, h, w); an empty tensor, if that is no picture."""
    try:
        made = processor(picture, return_tensors="pt")
    except Exception as error:  # it may ask for anything: words, boxes, a video
        raise refused(type(processor).__name__, f"it takes no picture alone ({error})") from error
    pixels = made.get("pixel_values") if isinstance(made, Mapping) else None
    return pixels[0] if isinstance(pixels, Tensor) and pixels.ndim == 4 else torch.empty(0)


class _Settings:
    """The settings of a processor; what its table leaves out is the default of its class."""

    def __init__(self, processor: Any) -> None:
        self.table, self.processor = processor.to_dict(), processor
        self.pillow = not TORCH & {base.__name__ for base in type(processor).__mro__}

    def __getitem__(self, key: str) -> Any:
        return self.table.get(key, getattr(self.processor, key, None))

    @property
    def mode(self) -> Mode:
        number = 2 if self["resample"] is None else int(self["resample"])
        if number not in MODES:
            raise ValueError(f"resample {Image.Resampling(number).name.lower()}")
        return "nearest-exact" if number == 0 and not self.pillow else MODES[number]

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


def _textnet(settings: _Settings) -> list[Step]:
    edge = settings.sides("size")
    if not settings["do_resize"] or not isinstance(edge, int):
        return _usual(settings)
    return [_divisible(settings, lambda n, short: int(edge * n / short)), *_crop(settings)]


def _lcnet(settings: _Settings) -> list[Step]:
    if not settings["do_resize"] or settings["resize_short"] is None:
        return _usual(settings)
    edge = int(settings["resize_short"])
    return [_divisible(settings, lambda n, short: round(n * (edge / short))), *_crop(settings)]


def _divisible(settings: _Settings, side: Callable[[int, int], int]) -> Step:
    """The resize to sides that become multiples of a number, which are rounded up."""
    unit, mode = int(settings["size_divisor"] or 1), settings.mode

    def resize(image: Tensor, *, antialias: bool = True) -> Tensor:
        short = min(image.shape[2:])
        height, width = (-(-side(n, short) // unit) * unit for n in image.shape[2:])
        return Resize((height, width), mode)(image, antialias=antialias)

    return resize


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
    if kind in REVERSED:
        return [normal, _reversed]
    return [*([_reversed] if settings["do_flip_channel_order"] else []), normal]


KINDS: dict[str, Callable[[_Settings], list[Step]]] = {
    "ConvNextImageProcessor": _convnext,
    "DINOv3ViTImageProcessor": _in_numbers,
    "LevitImageProcessor": _levit,
    "PPLCNetImageProcessor": _lcnet,
    "PerceiverImageProcessor": _perceiver,
    "PoolFormerImageProcessor": _poolformer,
    "TextNetImageProcessor": _textnet,
}
UNNORMALISED = {"MobileViTImageProcessor"}  # whatever its settings say
REVERSED = {"PPLCNetImageProcessor"}  # after it was normalised: red by what is given for blue
TWICE = {"EfficientNetImageProcessor"}  # divides by the deviation once more for classifiers
