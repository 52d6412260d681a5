r"""The noises of a stochastic chain: the first of them a block of the latent, the others fixed.

.. math:: z = (x_T, \varepsilon_1, \dots, \varepsilon_k), \qquad
    \varepsilon_i = \varepsilon_i(\text{seed}) \quad (i > k)

A chain of T steps on pictures of d numbers reads T d numbers of noise. The part that is a latent
is a view of `z`; the fixed part is the same for every chain and is drawn again whenever a step
asks for it, so that it takes no memory.
"""

from collections.abc import Sequence
from typing import overload

from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import SpecError
from latentzoo.rng import Domain, Rng


class Noise(Sequence[Tensor]):
    """Creates the noises of a chain's steps, in the order in which they are performed.

    Arguments:
        latent: The noises that are part of the latent, with shape (B, k, ...); k may be 0.
        steps: How many steps read a noise, at least k.
        seed: The seed of the others.

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


def fixed_noise(like: Float[Tensor, "1 ..."], seed: int, step: int) -> Float[Tensor, "1 ..."]:
    """The noise of step 1, 2, ... where it is fixed, shaped and placed as `like`; step 0 is the start."""
    rng = Rng(seed, domain=Domain.STEP, index=step, device=like.device, dtype=like.dtype)
    return rng.normal(*like.shape[1:])
