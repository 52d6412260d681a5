r"""Convolutions with a kernel for each sample.

With a style :math:`s` for the input channels, the kernel of a sample is

.. math:: w'_{oikl} = \frac{w_{oikl} \, s_i}{\sqrt{\sum_{ikl} (w_{oikl} \, s_i)^2 + \epsilon}}

There are two ways to the same numbers: make each sample's kernel and convolve in groups, or multiply
the features by :math:`s`, convolve the whole batch with :math:`w`, and divide by the norm. On a CPU
the second is up to 20 times faster where a batch has many channels, and 1.1 to 6 times with gradients,
since the gradient with respect to the style is then no convolution. It loses where maps are so large
that two more passes over them cost more than a kernel per sample: from about 8 pixels per weight on.
Kernels of 1 x 1 are matrix products, which batch as they are. `benchmarks/modconv.py` measures this.

Users: StyleGAN2 and its descendants (`nn.style`), StyleGAN-XL, StyleNeRF.

References:
    | Analyzing and Improving the Image Quality of StyleGAN (Karras et al., 2020)
    | https://arxiv.org/abs/1912.04958
"""

from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from latentzoo.nn.fir import blur

PIXELS_PER_WEIGHT = 8
"""From here on a kernel per sample is cheaper than two more passes over the features."""


def modulated_conv2d(
    x: Float[Tensor, "B I H W"],
    weight: Float[Tensor, "O I k k"],
    style: Float[Tensor, "B I"],
    up: bool = False,
    demodulate: bool = True,
    gain: Tensor | float = 1.0,
) -> Float[Tensor, "B O h w"]:
    """Convolves each sample with its own kernel.

    Arguments:
        x: The features, with shape (B, I, H, W).
        weight: The kernel, with shape (O, I, k, k).
        style: The factor of each input channel, with shape (B, I).
        up: Whether the sides are doubled, by zeros between the pixels and the binomial filter.
        demodulate: Whether each output channel of the kernel is scaled to unit norm.
        gain: A factor on the kernel, a number or of shape ().
    """
    norm = None
    if demodulate:
        if x.dtype == torch.float16:  # keeps the products below 65504; the norm cancels it
            largest = style.detach().abs().amax(dim=1, keepdim=True)
            style = style / (largest * sqrt(weight[0].numel()))
        norm = _norm(weight, style).to(x) * gain
    else:
        style = style * gain
    if weight.shape[-1] == 1 and not up:
        return (kernels(weight, style, norm).flatten(2) @ x.flatten(2)).unflatten(2, x.shape[2:])
    few = x.shape[2] * x.shape[3] < PIXELS_PER_WEIGHT * weight.numel()
    return (scaled if few else grouped)(x, weight, style, norm, up)


def scaled(x: Tensor, weight: Tensor, style: Tensor, norm: Tensor | None, up: bool) -> Tensor:
    """One convolution for the batch, its input times (B, I), its output times (B, O)."""
    x = convolve(x * style[:, :, None, None], weight, up)
    return x if norm is None else x * norm[:, :, None, None]


def grouped(x: Tensor, weight: Tensor, style: Tensor, norm: Tensor | None, up: bool) -> Tensor:
    """One group with its own kernel for each sample."""
    kernel = kernels(weight, style, norm).flatten(0, 1)
    return convolve(x.flatten(0, 1)[None], kernel, up, groups=len(x)).unflatten(1, (len(x), -1))[0]


def kernels(weight: Tensor, style: Tensor, norm: Tensor | None) -> Tensor:
    """The kernel of each sample, with shape (B, O, I, k, k)."""
    kernel = weight * style[:, None, :, None, None]
    return kernel if norm is None else kernel * norm[:, :, None, None, None]


def convolve(x: Tensor, weight: Tensor, up: bool, groups: int = 1) -> Tensor:
    """Convolves (B, I, H, W) with (O, I, k, k), to the same or to twice the sides."""
    k = weight.shape[-1]
    if not up:
        return F.conv2d(x, weight, padding=k // 2, groups=groups)
    weight = weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    return blur(F.conv_transpose2d(x, weight, stride=2, groups=groups), pad=(1, 1), gain=4.0)


def _norm(weight: Tensor, style: Tensor) -> Tensor:
    """The inverse norm (B, O) of each sample's kernels, in single precision at least."""
    dtype = torch.promote_types(weight.dtype, torch.float32)
    power = weight.to(dtype).square().sum(dim=(2, 3))
    return torch.rsqrt(style.to(dtype).square() @ power.T + 1e-8)
