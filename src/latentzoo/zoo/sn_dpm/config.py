"""From settings to an SN-DPM or an NPR-DPM with random weights."""

from collections.abc import Collection
from typing import Any

from latentzoo.diffusion.memory import Recompute
from latentzoo.diffusion.schedule import Discrete, linear_betas
from latentzoo.nn.levels import attending
from latentzoo.options import Count, Natural, Positive, Share
from latentzoo.zoo.sn_dpm.map import SNDPM
from latentzoo.zoo.sn_dpm.unet import UNet


def build(
    *,
    N: Count = 1000,
    resolution: Count = 64,
    attn_resolutions: Collection[Count] | None = None,
    levels: Collection[Natural] | None = None,
    head: str = "eps2",
    steps: Count = 50,
    forward_type: str = "ddpm",
    eta: Share = 1.0,
    clip_pixel: Positive | None = None,
    clip_index: Natural = 1,
    white_box_steps: Natural | None = None,
    seed: Natural = 0,
    recompute: Recompute = "auto",
    **config: Any,
) -> SNDPM:
    """Builds a generator; the defaults are those of CelebA 64.

    Arguments:
        N: The number of times the network knows.
        resolution: The side of the picture.
        attn_resolutions: The sides at which attention follows each residual block; None for those of `levels`, or 16.
        levels: The levels of these sides, 0 that of the picture, as tensors tell them.
        config: See `UNet`; the others, see `SNDPM`.

    Raises:
        SpecError: If `attn_resolutions` and `levels` are not the same.
    """
    attends = [resolution >> i for i in attending(resolution, attn_resolutions, levels)]
    heads = 1 if head == "none" else 2
    return SNDPM(
        UNet(resolution=resolution, attn_resolutions=attends, heads=heads, **config),
        Discrete.from_betas(linear_betas(n=N)),
        head=head,
        steps=steps,
        forward_type=forward_type,
        eta=eta,
        clip_pixel=clip_pixel,
        clip_index=clip_index,
        white_box_steps=white_box_steps,
        seed=seed,
        recompute=recompute,
    )
