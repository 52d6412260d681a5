r"""What a recogniser must see through: shifts, blur, noise, fading, and the marks of a decoder.

A classifier that has only seen clean drawings is fooled by the gradient of its own output. The pictures here are
wrong in the ways a generator's are: noise over them, edges washed out, and latents that no drawing has,

.. math:: x' = D\big(\sqrt{1 - s^2}\, E(x) + s\, \epsilon\big), \qquad s \sim U(0, s_{\max})
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def shift(x: Tensor, most: int, stream: torch.Generator) -> Tensor:
    """Each picture moved by up to `most` pixels along both axes, its border repeated."""
    b, _, h, w = x.shape
    dy, dx = torch.randint(-most, most + 1, (2, b, 1), generator=stream)
    rows = (torch.arange(h) + dy).clamp(0, h - 1)
    columns = (torch.arange(w) + dx).clamp(0, w - 1)
    batch = torch.arange(b)
    return x[batch[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def blur(x: Tensor, most: float, stream: torch.Generator) -> Tensor:
    """Each picture under a binomial blur mixed in by up to `most`."""
    b, c = x.shape[:2]
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    kernel = (kernel[:, None] * kernel).expand(c, 1, 5, 5)
    soft = F.conv2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), kernel, groups=c)
    return x.lerp(soft, most * torch.rand(b, 1, 1, 1, generator=stream))


def disturb(x: Tensor, stream: torch.Generator) -> Tensor:
    """Each picture shifted, blurred, faded and noisy, all by random amounts."""
    b = x.shape[0]
    y = blur(shift(x, 2, stream), 1.0, stream)
    gain = 1 + 0.1 * torch.randn(b, 1, 1, 1, generator=stream)
    offset = 0.05 * torch.randn(b, 3, 1, 1, generator=stream)
    strength = 0.15 * torch.rand(b, 1, 1, 1, generator=stream).square()
    return (y - 0.5) * gain + 0.5 + offset + strength * torch.randn(y.shape, generator=stream)


def regenerate(
    x: Tensor,
    encode: Callable[[Tensor], Tensor],
    decode: Callable[[Tensor], Tensor],
    most: float,
    stream: torch.Generator,
) -> Tensor:
    """The pictures after a latent with noise in it."""
    with torch.no_grad():
        z = encode(x)
        s = most * torch.rand(x.shape[0], 1, 1, 1, generator=stream)
        noise = torch.randn(z.shape, generator=stream)
        return decode((1 - s.square()).sqrt() * z + s * noise)
