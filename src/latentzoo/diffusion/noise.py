r"""The noises of a stochastic chain: the first of them a block of the latent, the others fixed.

.. math:: z = (x_T, \varepsilon_1, \dots, \varepsilon_k), \qquad
    \varepsilon_i = \varepsilon_i(\text{seed}) \quad (i > k)

A chain of T steps on pictures of d numbers reads T d numbers of noise. The part that is a latent
is a view of `z`; the fixed part is the same for every chain and is drawn again whenever a step
asks for it, so that it takes no memory.
"""

from collections.abc import Sequence
from typing import overload

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import SpecError


class Noise(Sequence[Tensor]):
    """Creates the noises of a chain's steps, in the order in which they are performed.

    Arguments:
        latent: The noises that are part of the latent, with shape (B, k, ...); k may be 0.
        steps: How many steps read a noise, at least k.
        seed: The seed of the others; it names streams that no chain's `Rng` ever reads.

    Raises:
        SpecError: If there are more latent noises than steps.
    """

    def __init__(self, latent: Float[Tensor, "B k ..."], steps: int, *, seed: int = 0) -> None:
        if latent.shape[1] > steps:
            raise SpecError(
                f"{latent.shape[1]} noises are latent, but the chain reads {steps}; "
                f"give at most {steps}"
            )
        self.latent, self.steps, self.seed = latent.unbind(1), steps, seed
        self.like = latent.new_empty(1, *latent.shape[2:])

    def __len__(self) -> int:
        return self.steps

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Tensor]: ...
    def __getitem__(self, index: int | slice) -> Tensor | Sequence[Tensor]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.steps))]
        if not 0 <= index < self.steps:
            raise IndexError(index)
        if index < len(self.latent):
            return self.latent[index]
        return fixed_noise(self.like, self.seed, index + 1)


def fixed_noise(like: Tensor, seed: int, stream: int) -> Tensor:
    """Standard normal numbers as a function of two whole numbers, shaped and placed as `like`.

    They come from a counter-based generator on the CPU. The stream is the upper half of its key,
    which is 0 for the noise of chains; streams from 1 upward are therefore never theirs.
    """
    draws = np.random.Generator(np.random.Philox(key=seed + (stream << 64)))
    return torch.from_numpy(draws.standard_normal(tuple(like.shape), np.float32)).to(like)
