r"""Consistency models in diffusers' format: the repositories of `ConsistencyModelPipeline`.

.. math:: x = \sigma_{max} z, \qquad x_0 = f(x; \sigma)

with the network and the consistency function of `zoo.consistency`. The latent is the block `start`,
:math:`z`; of more steps than one also `noise`, which is put on each picture but the last.

References:
    | Consistency Models (Song et al., 2023), https://arxiv.org/abs/2303.01469
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from latentzoo.diffusion import schedulers
from latentzoo.diffusion import unet as networks
from latentzoo.diffusion.consistency import indices
from latentzoo.diffusion.memory import Recompute
from latentzoo.diffusion.precondition import Boundary, Preconditioning, spread
from latentzoo.diffusion.preconditioned import Preconditioned
from latentzoo.diffusion.sampler import Consistency
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.options import Count, Natural


class ConsistencyPipeline(Preconditioned):
    """Creates a consistency model by a network of diffusers.

    Arguments:
        network: The network, from (B, C, H, W) and what it is told of the noise (B,) to its answer.
        conditioning: How it is asked and read.
        chain: The arguments of `Preconditioned`.
    """

    def __init__(self, network: nn.Module, conditioning: Preconditioning, **chain: Any) -> None:
        super().__init__(conditioning, **chain)
        self.network = network

    def predict(self, x: Tensor, time: Tensor) -> Tensor:
        return self.network(x, time)


def build(
    unet: Mapping[str, Any],
    scheduler: Mapping[str, Any],
    *,
    steps: Count = 1,
    timesteps: Sequence[Natural] | None = None,
    class_index: Natural = 0,
    clip: bool | None = None,
    white_box_steps: Natural | None = None,
    seed: Natural = 0,
    recompute: Recompute = "auto",
) -> ConsistencyPipeline:
    """Creates a consistency model.

    Arguments:
        unet: The network's `config.json`.
        scheduler: The repository's `scheduler_config.json`, of a CMStochasticIterativeScheduler.
        steps: The number of steps, at most the number of noises.
        timesteps: Which of the noises are visited, 0 among them, the highest; None for `steps` of them.
        class_index: The class, if the network knows any.
        clip: Whether predicted pictures are clipped, which stops gradients where it acts; None for the repository's
            choice.
        white_box_steps: How many noises are latent, the first ones; None for all.
        seed: The seed of the others.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        MissingExtra: If diffusers is not installed.
        SpecError: If an option is out of range, or the scheduler says what is not understood.
    """
    told = schedulers.CONSISTENCY.read(scheduler)
    N, low = int(told["num_train_timesteps"]), float(told["sigma_min"])
    known = spread(low, float(told["sigma_max"]), N, float(told["rho"]))
    conditioning = Boundary(float(told["sigma_data"]), lowest=low)
    network = networks.UNet2D(unet, class_index=class_index)
    return ConsistencyPipeline(
        network,
        conditioning,
        channels=network.channels,
        size=network.size,
        clip=bool(told["clip_denoised"] if clip is None else clip),
        pairs=conditioning.through(known[i] for i in indices(steps, timesteps, N)),
        sampler=Consistency(low),
        white_box_steps=white_box_steps,
        seed=seed,
        recompute=recompute,
    )


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Describes a diffusers folder with the scheduler of consistency models."""
    return networks.recognise(checkpoint, schedulers.CONSISTENCY.name)


KEYS = networks.KEYS
