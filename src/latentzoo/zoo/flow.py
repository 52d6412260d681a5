r"""Rectified flow in pixels: a U-Net in diffusers format that predicts the velocity of a straight path.

.. math:: x_t = (1 - t) \, x_0 + t \, z, \qquad \frac{dx}{dt} = u(x_t, t) \approx z - x_0

The flow is solved from :math:`t = 1` to 0 by Euler's or Heun's rule. The latent is the block
`start`, :math:`x_1`.

References:
    | Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow
    | (Liu et al., 2022), https://arxiv.org/abs/2209.03003
    | Flow Matching for Generative Modeling (Lipman et al., 2022), https://arxiv.org/abs/2210.02747
    | Scaling Rectified Flow Transformers for High-Resolution Image Synthesis (Esser et al., 2024)
    | https://arxiv.org/abs/2403.03206
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from latentzoo.diffusion import schedulers
from latentzoo.diffusion import unet as networks
from latentzoo.diffusion.generator import Diffusion, Reading
from latentzoo.diffusion.memory import Recompute
from latentzoo.diffusion.sampler import DDIM, Heun
from latentzoo.diffusion.schedule import Flow
from latentzoo.errors import SpecError, UnknownName
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.options import Count, Natural

SAMPLERS = {"euler": DDIM(), "heun": Heun()}
CLASSES = {"euler": schedulers.FLOW_EULER, "heun": schedulers.FLOW_HEUN}
OWN = {scheduler.name: sampler for sampler, scheduler in CLASSES.items()}


def build(
    unet: Mapping[str, Any],
    scheduler: Mapping[str, Any],
    *,
    sampler: str | None = None,
    steps: Count = 50,
    class_index: Natural = 0,
    recompute: Recompute = "auto",
) -> Diffusion:
    """Creates a rectified flow generator.

    Arguments:
        unet: The network's `config.json`.
        scheduler: The repository's `scheduler_config.json`.
        sampler: "euler", or "heun" of second order with two network calls per step; None for the repository's.
        steps: The number of steps.
        class_index: The class, if the network knows any.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        MissingExtra: If diffusers is not installed.
        SpecError: If an option is out of range, or the repository asks for what is not there.
        UnknownName: If the sampler is unknown.
    """
    sampler = OWN.get(str(scheduler.get("_class_name")), "euler") if sampler is None else sampler
    if sampler not in SAMPLERS:
        raise UnknownName("sampler", sampler, SAMPLERS)
    told = CLASSES[sampler].read(scheduler)
    N, shift = int(told["num_train_timesteps"]), float(told["shift"])
    network = networks.UNet2D(unet, class_index=class_index)
    levels = Flow().levels([*times(shift, N, steps), 0.0])
    return Diffusion(
        network,
        reading=Reading(kind="flow", hertz=N),
        size=network.size,
        channels=network.channels,
        pairs=list(pairwise(levels)),
        sampler=SAMPLERS[sampler],
        recompute=recompute,
    )


def times(rho: float, N: int, steps: int) -> list[float]:
    r"""The times of a chain, falling from 1; they are shifted towards the noise,

    .. math:: t' = \frac{\rho \, t}{1 + (\rho - 1) \, t}

    as is the smallest of them, to which the even spacing goes.

    Raises:
        SpecError: If there is no step, or an option of the schedule is not supported.
    """
    if steps < 1:
        raise SpecError(f"{steps} steps do not make a chain; give 1 or more")
    shift = lambda t: rho * t / (1 + (rho - 1) * t)
    low = shift(1 / N)
    return [shift(1 + (low - 1) * i / max(steps - 1, 1)) for i in range(steps)]


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Describes a diffusers folder with a deterministic flow matching scheduler."""
    return networks.recognise(checkpoint, *OWN)


KEYS = networks.KEYS
