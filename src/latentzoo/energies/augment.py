r"""Augmentations of a batch, differentiable, with every draw an argument.

Averaging an energy over altered copies of a picture makes it smoother and harder to fool. The copies' draws are fixed
once per run, so that the energy stays a function. Each picture has its own draws; all steps are linear in the picture:

.. math::
    \text{brightness} \quad & x + u - \tfrac12 \\
    \text{saturation} \quad & m + 2 u \, (x - m), \quad m = \text{mean over channels} \\
    \text{contrast} \quad & m + (u + \tfrac12) (x - m), \quad m = \text{mean over channels and pixels} \\
    \text{translation} \quad & x'_{r, c} = x_{r + d_r, c + d_c}, \text{ black outside} \\
    \text{resize} \quad & \text{bilinear, to } 0.8 + 0.4 u \text{ of the side, centred} \\
    \text{cutout} \quad & \text{black in a window of half the side}

References:
    | Differentiable Augmentation for Data-Efficient GAN Training (Zhao et al., 2020)
    | https://arxiv.org/abs/2006.10738
    | FuseDream: Training-Free Text-to-Image Generation with Improved CLIP+GAN Space Optimization
    | (Liu et al., 2021), https://arxiv.org/abs/2112.01573
"""

from collections.abc import Callable
from itertools import groupby
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from latentzoo.errors import ImageError
from latentzoo.rng import Domain, Rng


class Draws(NamedTuple):
    """The draws of N altered pictures of H x W pixels, each of shape (N,).

    Attributes:
        brightness, saturation, contrast: Uniform in [0, 1).
        shift_rows, shift_cols: Whole numbers in -s..s with s an eighth of the side.
        resize: Uniform in [0, 1), in double precision.
        cut_rows, cut_cols: The window's centre, whole numbers in 0..side.
    """

    brightness: Float[Tensor, "N"]
    saturation: Float[Tensor, "N"]
    contrast: Float[Tensor, "N"]
    shift_rows: Int64[Tensor, "N"]
    shift_cols: Int64[Tensor, "N"]
    resize: Float[Tensor, "N"]
    cut_rows: Int64[Tensor, "N"]
    cut_cols: Int64[Tensor, "N"]

    @classmethod
    def fixed(cls, count: int, size: tuple[int, int], *, seed: int = 0) -> "Draws":
        """Draws for `count` copies of pictures of a size, once and for all."""
        u = Rng(seed, domain=Domain.COPY).uniform(8, count)[0].double()
        rows, cols = size
        brightness, saturation, contrast = u[:3]
        return cls(
            brightness,
            saturation,
            contrast,
            _whole(u[3], -_eighth(rows), _eighth(rows)),
            _whole(u[4], -_eighth(cols), _eighth(cols)),
            u[5],
            _whole(u[6], 0, _last_centre(rows)),
            _whole(u[7], 0, _last_centre(cols)),
        )

    def repeat(self, batch: int) -> "Draws":
        """The same draws for each of `batch` pictures, picture-major."""
        return Draws(*(draw.repeat(batch) for draw in self))


def augment(x: Float[Tensor, "N C H W"], draws: Draws) -> Float[Tensor, "N C H W"]:
    """Alters every picture by its draws: colour, translation, resize, cutout, in this order.

    Raises:
        ImageError: If the pictures are not square.
    """
    x = colour(x, draws.brightness, draws.saturation, draws.contrast)
    x = translate(x, draws.shift_rows, draws.shift_cols)
    return cutout(resize(x, draws.resize), draws.cut_rows, draws.cut_cols)


def colour(x: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Changes brightness, then saturation, then contrast; draws in [0, 1) of shape (N,)."""
    each = lambda u: u.to(x).view(-1, 1, 1, 1)
    x = x + each(brightness) - 0.5
    m = x.mean(1, keepdim=True)
    x = m + 2 * each(saturation) * (x - m)
    m = x.mean((1, 2, 3), keepdim=True)
    return m + (each(contrast) + 0.5) * (x - m)


def translate(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Moves each picture up and left by whole pixels, (N,); what comes in is black."""
    return _each(x, lambda x, r, c: F.pad(x, (-c, c, -r, r)), rows, cols)


def resize(x: Tensor, u: Tensor) -> Tensor:
    """Resizes each picture to 0.8 + 0.4 u of its side, (N,), and pads or crops it back around the centre.

    Raises:
        ImageError: If the pictures are not square.
    """
    side = x.shape[-1]
    if x.shape[-2] != side:
        raise ImageError(
            f"pictures of {x.shape[-2]}x{side} cannot be augmented; use square ones or copies=0"
        )

    def to(x: Tensor, n: int) -> Tensor:
        y = F.interpolate(x, size=(n, n), mode="bilinear")
        first = int((side - n) / 2)  # negative where the picture is cropped; rounded towards 0
        if n >= side:  # which copies nothing
            return y[..., -first : side - first, -first : side - first]
        return F.pad(y, (first, side - n - first) * 2)

    # floor() of exactly this double-precision expression decides the side
    return _each(x, to, (side * (u.double() * (1.2 - 0.8) + 0.8)).floor().long())


def _each(x: Tensor, alter: Callable[..., Tensor], *draws: Tensor) -> Tensor:
    """Alters pictures by whole numbers, each of shape (N,); neighbours with the same ones together."""
    runs = [
        (drawn, len(list(run)))
        for drawn, run in groupby(zip(*map(Tensor.tolist, draws), strict=True))
    ]
    parts = x.split([count for _, count in runs])
    altered = [alter(part, *drawn) for part, (drawn, _) in zip(parts, runs, strict=True)]
    return altered[0] if len(altered) == 1 else torch.cat(altered)


def cutout(x: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Blackens a window of half the side around each picture's centre of the window, (N,)."""
    hit = lambda n, centre: _window(n, centre.to(x.device))
    hidden = hit(x.shape[2], rows)[:, None, :, None] & hit(x.shape[3], cols)[:, None, None, :]
    return x * ~hidden


def _window(n: int, centre: Tensor) -> Tensor:
    half = int(n * 0.5 + 0.5)
    first = (centre - half // 2)[:, None]
    low, high = first.clamp(0, n - 1), (first + half - 1).clamp(0, n - 1)
    k = torch.arange(n, device=centre.device)
    return (k >= low) & (k <= high)


def _whole(u: Tensor, low: int, high: int) -> Tensor:
    return (low + (u * (high - low + 1)).floor()).long()


def _eighth(n: int) -> int:
    return int(n * 0.125 + 0.5)


def _last_centre(n: int) -> int:
    return n - 1 + (1 - int(n * 0.5 + 0.5) % 2)
