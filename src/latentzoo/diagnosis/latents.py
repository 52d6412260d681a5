r"""Whether latents look like draws of the prior: their norm, and how their power lies over frequencies.

A generator was trained on white noise. A reward is raised most easily by smooth changes of its latent, which the norm
does not see; of a map of H x W numbers with Fourier coefficients :math:`\hat z_f` the share

.. math:: w = \frac{\overline{|\hat z_f|^2}_{|f| < 1/8}}{\overline{|\hat z_f|^2}}

is 1 for white noise, with the standard error of as many exponential numbers as there are low frequencies.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.space import Space

LOW = 1 / 8
"""Below how many waves per number a frequency is low."""
LEAST = 8
"""The least side of a map whose frequencies say something."""
SURE = 4.0
"""How many standard errors are no chance."""


class White(NamedTuple):
    """How white the maps of one block are.

    Attributes:
        block: The block's name.
        share: The power at low frequencies over the mean power.
        error: Its standard error, were the maps white.
    """

    block: str
    share: float
    error: float


def whiteness(z: Float[Tensor, "B D"], space: Space) -> list[White]:
    """Measures the blocks that are maps of at least 8 x 8 numbers."""
    found = []
    for block, value in space.split(z).items():
        shape = tuple(value.shape[1:])
        if len(shape) < 3 or min(shape[-2:]) < LEAST:
            continue
        power = torch.fft.fft2(value.double().flatten(0, -3)).abs().square()
        y, x = (torch.fft.fftfreq(n, dtype=power.dtype, device=power.device) for n in shape[-2:])
        low = (y[:, None].square() + x.square()).sqrt() < LOW
        share = float(power[:, low].mean() / power.mean())
        found.append(White(block, share, math.sqrt(2 / (len(power) * int(low.sum())))))
    return found


def described(z: Float[Tensor, "B D"], space: Space) -> str:
    """What is to be said of latents that were moved by a reward."""
    norm = float(z.double().square().mean())
    words = [f"|z|^2 is {norm:.2f} of the prior's"]
    for block, share, error in whiteness(z, space):
        words.append(f"'{block}' has {share:.2f} of the prior's power at low frequencies")
        if abs(share - 1) > SURE * error:
            words[-1] += f" ({abs(share - 1) / error:.0f} standard errors from white noise)"
    return "latents under a reward: " + ", ".join(words)
