"""The blocks of a latent that a run holds still: what fills them, and its latents with them."""

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.record import spec
from latentzoo.rng import Domain, Rng
from latentzoo.space import Space


def rest(run: spec.Run, space: Space, device: torch.device | str = "cpu") -> Float[Tensor, "D"]:
    """The latent of the whole map from which a run takes the blocks that do not vary."""
    return Rng(run.rest_seed, domain=Domain.HELD, device=device).normal(space.dim)[0]


def filled(run: spec.Run, space: Space, z: Float[Tensor, "B d"]) -> Float[Tensor, "B D"]:
    """The latents of a run as the whole map takes them.

    Arguments:
        run: The run's record.
        space: The latent space of the whole map.
        z: The run's latents, of the blocks that vary.

    Raises:
        UnknownName: If the map lacks a block that varied.
        SpecError: If the latents are not of these blocks.
    """
    if run.vary is None:
        return z
    own = space.subspace(*run.vary)
    still = space.split(rest(run, space).to(z).expand(len(z), -1))
    return space.join(**(still | own.split(z)))
