r"""From a picture in [0, 1] to what a network was trained on, as differentiable operations on each picture alone.

.. math:: x \mapsto \frac{\text{crop}(\text{resize}(x)) - m}{s}

The resize smooths as Pillow's does. Nothing is clamped or rounded.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.errors import CheckpointError

MODES = {
    0: "nearest",
    1: "bicubic",
    2: "bilinear",
    3: "bicubic",
}  # 1 is Lanczos, which torch lacks
WHOLE = 384  # from this side on, ConvNeXt's processor crops nothing


class Preprocess(nn.Module):
    """Creates the way of a picture into a network.

    Arguments:
        size: The shorter edge in pixels, or height and width; None keeps the picture's own.
        crop: Height and width of the centre that is taken; None takes all.
        mean, std: The normalisation of the channels, three numbers each.
        mode: How pixels are interpolated: bilinear, bicubic or nearest.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        size: int | tuple[int, int] | None,
        crop: tuple[int, int] | None = None,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        *,
        mode: str = "bilinear",
    ) -> None:
        super().__init__()
        self.size, self.crop, self.mode = size, crop, mode
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 h w"]:
        size = self._size(image.shape[2], image.shape[3])
        if size != tuple(image.shape[2:]):
            smooth = {} if self.mode == "nearest" else {"align_corners": False, "antialias": True}
            image = F.interpolate(image, size, mode=self.mode, **smooth)
        if self.crop is not None:
            top, left = (round((n - m) / 2) for n, m in zip(size, self.crop, strict=True))
            image = F.pad(image, [max(0, -left)] * 2 + [max(0, -top)] * 2)
            top, left = max(0, top), max(0, left)
            image = image[:, :, top : top + self.crop[0], left : left + self.crop[1]]
        return (image - self.mean.to(image)) / self.std.to(image)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        if self.size is None:
            return height, width
        if isinstance(self.size, tuple):
            return self.size
        short = min(height, width)
        return int(self.size * height / short), int(self.size * width / short)


def declared(settings: Mapping[str, Any], *, source: str) -> Preprocess:
    """What an image processor of `transformers` declares.

    Arguments:
        settings: Its settings, as `to_dict` gives them.
        source: What to call it in errors.

    Raises:
        CheckpointError: If it asks for something else than resize, crop and normalisation of [0, 1].
    """
    if not settings.get("do_rescale", True) or settings.get("rescale_offset"):
        raise CheckpointError(
            f"'{source}' takes pictures that are not in [0, 1], which is not known here; take another model"
        )
    size, crop = settings.get("size") or {}, None
    if isinstance(size, int):
        size = {"shortest_edge": size}
    edge: int | None = size.get("shortest_edge")
    target: int | tuple[int, int] | None = edge
    if edge and (share := settings.get("crop_pct")):
        target = int(edge / share) if edge < WHOLE else (edge, edge)
        crop = (edge, edge)
    elif not edge and size:
        target = (size["height"], size["width"])
    if settings.get("do_center_crop") and (wanted := settings.get("crop_size")):
        crop = (wanted, wanted) if isinstance(wanted, int) else (wanted["height"], wanted["width"])
    normal = bool(settings.get("do_normalize", True))
    return Preprocess(
        target if settings.get("do_resize", True) else None,
        crop,
        settings["image_mean"] if normal else (0.0,) * 3,
        settings["image_std"] if normal else (1.0,) * 3,
        mode=MODES[int(settings.get("resample", 2))],
    )
