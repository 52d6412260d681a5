"""From settings to a DDGAN with random weights."""

from collections.abc import Collection, Sequence
from typing import Annotated

from msgspec import Meta

from latentzoo.diffusion import memory
from latentzoo.nn.levels import attending
from latentzoo.options import Count, Natural, Weight
from latentzoo.zoo.ddgan.map import DDGAN, ddgan_schedule
from latentzoo.zoo.ddgan.network import NCSNpp

STEPS = 1000
"""More steps than a diffusion without adversary has; each has a noise of a picture's size."""


def build(
    *,
    resolution: Count = 256,
    width: Count = 64,
    mult: Sequence[Count] = (1, 1, 2, 2, 4, 4),
    depth: Count = 2,
    attention: Collection[Count] | None = None,
    levels: Collection[Natural] | None = None,
    code: Count = 100,
    style: Count = 256,
    mapping: Count = 4,
    channels: Count = 3,
    steps: Annotated[int, Meta(ge=1, le=STEPS)] = 2,
    beta_min: Weight = 0.1,
    beta_max: Weight = 20.0,
    recompute: memory.Recompute = "auto",
) -> DDGAN:
    """Creates a DDGAN generator; the defaults are those of CelebA-HQ 256.

    Arguments:
        attention: The sides at which there is attention; None for those of `levels`, or for 16.
        levels: The levels that attend, 0 that of the picture, as tensors tell them.
        steps: The number of steps the network was trained for.
        beta_min: The rate of noise at the start of the path.
        beta_max: The rate of noise at its end.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.
        others: See `NCSNpp`.

    Raises:
        SpecError: If `attention` and `levels` are not the same.
    """
    network = NCSNpp(
        resolution=resolution,
        width=width,
        mult=mult,
        depth=depth,
        attention=[resolution >> i for i in attending(resolution, attention, levels)],
        code=code,
        style=style,
        mapping=mapping,
        channels=channels,
    )
    return DDGAN(network, ddgan_schedule(steps, beta_min, beta_max), recompute=recompute)
