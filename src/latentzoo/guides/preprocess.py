r"""From a picture in [0, 1] to what a network was trained on, as differentiable operations on each picture alone.

.. math:: x \mapsto \frac{\text{crop}(\text{resize}(x)) - m}{s}

The steps and their order are those of the network's own library. Nothing is rounded, the numbers keep their type, and
resizing smooths as Pillow does. Where a library works on bytes, what bicubic interpolation overshoots at sharp edges is
cut off, after each of its two passes; a picture that leaves [0, 1] itself keeps its own range.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

Sides = tuple[int, int]
Mode = Literal["nearest", "nearest-exact", "bilinear", "bicubic"]
"""Ways of Pillow, and torch's nearest pixel: the two part where a place is exactly between two pixels (512 to 224)."""


@dataclass(frozen=True)
class Resize:
    """Creates the step that resizes.

    Arguments:
        size: The shorter edge in pixels, the longer one in proportion and rounded down; or height and width.
        mode: How pixels are interpolated.
        bytes: Whether the library does so on bytes, in which nothing overshoots.
    """

    size: int | Sides
    mode: Mode = "bilinear"
    bytes: bool = True

    def __call__(self, image: Tensor, *, antialias: bool = True) -> Tensor:
        height, width = image.shape[2:]
        short = min(height, width)
        size = self.size
        if isinstance(size, int):
            size = (int(size * height / short), int(size * width / short))
        if size == (height, width):
            return image
        if self.mode in ("nearest", "nearest-exact"):
            rows, columns = (
                _places(n, m, self.mode) for n, m in zip((height, width), size, strict=True)
            )
            return image[:, :, rows][..., columns]
        if self.mode == "bicubic" and self.bytes and antialias:
            wide = within(image, _smooth(image, (height, size[1]), self.mode))
            return within(image, _smooth(wide, size, self.mode))
        return _smooth(image, size, self.mode, antialias=antialias)


@dataclass(frozen=True)
class Fit:
    """Creates the step that resizes in proportion, until pictures cover a frame or lie within it; sides are rounded.

    Arguments:
        frame: Height and width in pixels.
        mode: How pixels are interpolated.
        inside: Whether they lie within it.
    """

    frame: Sides
    mode: Mode = "bilinear"
    inside: bool = False

    def __call__(self, image: Tensor, *, antialias: bool = True) -> Tensor:
        ratios = [n / m for n, m in zip(image.shape[2:], self.frame, strict=True)]
        ratio = max(ratios) if self.inside else min(ratios)
        height, width = (round(n / ratio) for n in image.shape[2:])
        return Resize((height, width), self.mode)(image, antialias=antialias)


def _places(n: int, m: int, mode: Mode) -> list[int]:
    """Which of n pixels become m: Pillow adds up its steps in double precision, torch multiplies in single."""
    if mode == "nearest":
        return np.cumsum([n / m / 2, *[n / m] * (m - 1)]).astype(int).tolist()
    line = torch.arange(n, dtype=torch.float32).view(1, 1, n)
    return F.interpolate(line, m, mode=mode).int().flatten().tolist()


def within(image: Float[Tensor, "B 3 H W"], resized: Float[Tensor, "B 3 h w"]) -> Tensor:
    """Resized pictures without what overshoots [0, 1], or the range of the picture itself if that is wider."""
    low, high = (x[:, None, None, None] for x in image.detach().flatten(1).aminmax(dim=1))
    return resized.clamp(min=low.clamp(max=0), max=high.clamp(min=1))


def _smooth(image: Tensor, size: Sides, mode: Mode, *, antialias: bool = True) -> Tensor:
    if size == tuple(image.shape[2:]):
        return image
    return F.interpolate(image, size, mode=mode, align_corners=False, antialias=antialias)


@dataclass(frozen=True)
class Crop:
    """Creates the step that takes the centre; black, or another colour, is put around what is too small.

    Arguments:
        size: Height and width in pixels.
        down: Whether an odd remainder is rounded down, as `transformers` does, or half to even, as torchvision does.
        more: Whether the odd row of black is above, as in the part of `transformers` that works by Pillow.
        colour: What is put around, in [0, 1].
    """

    size: Sides
    down: bool = False
    more: bool = False
    colour: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __call__(self, image: Tensor, **_: bool) -> Tensor:
        lacks = [max(0, m - n) for n, m in zip(image.shape[2:], self.size, strict=True)]
        if any(lacks):
            above, left = ((n + self.more) // 2 for n in lacks)
            colour = image.new_tensor(self.colour).view(3, 1, 1)
            sides = [left, lacks[1] - left, above, lacks[0] - above]
            image = F.pad(image - colour, sides) + colour
        over = [n - m for n, m in zip(image.shape[2:], self.size, strict=True)]
        top, left = (n // 2 if self.down else round(n / 2) for n in over)
        return image[:, :, top : top + self.size[0], left : left + self.size[1]]


@dataclass(frozen=True)
class Normalise:
    """Creates the step (x - mean) / std, three numbers each."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __call__(self, image: Tensor, **_: bool) -> Tensor:
        mean, std = (image.new_tensor(part).view(-1, 1, 1) for part in (self.mean, self.std))
        return (image - mean) / std


class Preprocess(nn.Module):
    """Creates the way of a picture into a network.

    Arguments:
        steps: Functions of pictures, one after the other; each takes `antialias`.
    """

    def __init__(self, *steps: Callable[..., Tensor]) -> None:
        super().__init__()
        self.steps = steps

    def forward(
        self, image: Float[Tensor, "B 3 H W"], *, antialias: bool = True
    ) -> Float[Tensor, "B 3 h w"]:
        """Makes pictures in [0, 1] ready; without `antialias`, those that shrink are not smoothed."""
        for step in self.steps:
            image = step(image, antialias=antialias)
        return image

    def extra_repr(self) -> str:
        return ", ".join(map(repr, self.steps))


def centred(
    side: int,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    short: int | None = None,
    mode: Mode = "bicubic",
    bytes: bool = False,
) -> Preprocess:
    """The usual way: the shorter edge becomes `short` (or the side), the centre is taken, and normalised.

    Pictures are numbers, as in the code of 2022, where what overshoots stays; or bytes, as rewards see them.
    """
    resize, crop = Resize(short or side, mode, bytes=bytes), Crop((side, side))
    return Preprocess(resize, crop, Normalise(tuple(mean), tuple(std)))


def in_type_of(image: Float[Tensor, "B 3 H W"], network: nn.Module) -> Float[Tensor, "B 3 H W"]:
    """The pictures in the type of a network's numbers, so that both can meet; as they are, if it has none."""
    numbers = next((p for p in network.parameters() if p.is_floating_point()), None)
    return image if numbers is None else image.to(numbers.dtype)


def at_least_single(x: Tensor) -> Tensor:
    """Half precision becomes single, in which energies are computed; what is finer stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
