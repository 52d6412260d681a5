r"""Changing the sampling rate, with zeros between the samples and a filter.

The filter of StyleGAN2 is separable, the third row of Pascal's triangle on each axis,

.. math:: f = \tfrac{1}{8} (1, 3, 3, 1), \qquad (f * f^\top)[x] \text{ has gain } 1

Up-sampling puts zeros between the pixels and filters with gain 4, which is one transposed
convolution; down-sampling filters and keeps every second pixel, which is one strided convolution.
No zeros are stored. On a CPU one depth-wise convolution with 4 x 4 taps is 1.5 to 4 times faster
than two with 4 taps each. The longer filters of alias-free networks are a sinc within Kaiser's window,
applied to one axis after the other.

Users: StyleGAN2 and its descendants (`nn.style`), StyleGAN-XL, StyleSwin, StyleNeRF, NCSN++.

References:
    | Making Convolutional Networks Shift-Invariant Again (Zhang, 2019)
    | https://arxiv.org/abs/1904.11486

    | Analyzing and Improving the Image Quality of StyleGAN (Karras et al., 2020)
    | https://arxiv.org/abs/1912.04958
"""

from math import pi

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def blur(
    x: Float[Tensor, "B C H W"], pad: tuple[int, int] = (2, 1), gain: float = 1.0
) -> Float[Tensor, "B C h w"]:
    """Filters with the binomial filter.

    Arguments:
        x: The signal, with shape (B, C, H, W).
        pad: How many zeros go before and after each axis; each axis grows by their sum minus 3.
        gain: The factor on the result; 4 after zeros were put between the pixels.
    """
    before, after = pad
    if before != after:
        x, before = F.pad(x, (before, after, before, after)), 0
    return F.conv2d(x, _filters(x, gain), padding=before, groups=x.shape[1])


def upsample(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C 2*H 2*W"]:
    """Doubles the sampling rate."""
    return F.conv_transpose2d(x, _filters(x, 4.0), stride=2, padding=1, groups=x.shape[1])


def downsample(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H/2 W/2"]:
    """Halves the sampling rate; the sides are even."""
    return F.conv2d(x, _filters(x, 1.0), stride=2, padding=1, groups=x.shape[1])


def interpolate(
    x: Float[Tensor, "B C H W"], taps: Float[Tensor, "T"], factor: int, pad: tuple[int, int]
) -> Float[Tensor, "B C h w"]:
    """Raises the sampling rate by any factor and filter, of gain 1, with zeros around or a crop.

    Arguments:
        x: The signal, with shape (B, C, H, W).
        taps: The filter of either axis, with shape (T,).
        factor: The factor on the rate.
        pad: The zeros before and after each axis, at the new rate; negative for a crop.
    """
    C, (T,) = x.shape[1], taps.shape
    low, high = pad[0] - (T - 1), pad[1] - (T - factor)
    crop = max(0, min(-low, -high))
    taps = taps * factor
    x = F.conv_transpose2d(
        x, taps[:, None].expand(C, 1, T, 1), stride=(factor, 1), padding=(crop, 0), groups=C
    )
    x = F.conv_transpose2d(
        x, taps.expand(C, 1, 1, T), stride=(1, factor), padding=(0, crop), groups=C
    )
    return F.pad(x, (low + crop, high + crop) * 2)


def decimate(
    x: Float[Tensor, "B C H W"], taps: Float[Tensor, "*T"], factor: int
) -> Float[Tensor, "B C h w"]:
    """Lowers the sampling rate by a factor after a filter, of shape (T,) per axis or (T, T)."""
    C, T = x.shape[1], len(taps)
    if taps.ndim == 2:
        return F.conv2d(x, taps.expand(C, 1, T, T), stride=factor, groups=C)
    x = F.conv2d(x, taps[:, None].expand(C, 1, T, 1), stride=(factor, 1), groups=C)
    return F.conv2d(x, taps.expand(C, 1, 1, T), stride=(1, factor), groups=C)


def lowpass(
    taps: int, cutoff: float, half_width: float, rate: float, *, radial: bool = False
) -> Float[Tensor, "*T"]:
    """Designs a low-pass filter of gain 1, by Kaiser's window.

    Arguments:
        taps: The number of taps T.
        cutoff: The highest frequency that passes.
        half_width: Half of the width of the transition band.
        rate: The sampling rate.
        radial: Whether the filter is radially symmetric, of shape (T, T), and not separable.
    """
    attenuation = 2.285 * (taps - 1) * pi * 4 * half_width / rate + 7.95
    beta = 0.1102 * (attenuation - 8.7)
    if attenuation <= 50:
        over = max(attenuation - 21, 0)
        beta = 0.5842 * over**0.4 + 0.07886 * over
    window = np.kaiser(taps, beta)
    t = (np.arange(taps) - (taps - 1) / 2) / rate
    if radial:
        r = torch.from_numpy(np.hypot(*np.meshgrid(t, t)))
        ideal = (torch.special.bessel_j1(2 * pi * cutoff * r) / (pi * r)).numpy()
        window = np.outer(window, window)
    else:
        ideal = np.sinc(2 * cutoff * t)
    return torch.tensor(ideal * window / (ideal * window).sum(), dtype=torch.float32)


def _filters(x: Tensor, gain: float) -> Tensor:
    """The filter for each channel, (C, 1, 4, 4); computed, since a copy would stall a GPU."""
    n = torch.arange(4, dtype=x.dtype, device=x.device)
    taps = (1 + n * (3 - n)) / 8
    return (gain * torch.outer(taps, taps)).expand(x.shape[1], 1, 4, 4)
