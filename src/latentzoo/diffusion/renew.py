r"""Part of the way to noise, and back (SDEdit).

.. math:: x_t \sim q(x_t \mid x_0), \qquad x_t \to \dots \to \hat{x}_0

References:
    | SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations
    | (Meng et al., 2022), https://arxiv.org/abs/2108.01073
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from latentzoo.diffusion.reverse import forward
from latentzoo.diffusion.sampler import Chain, Sampler
from latentzoo.errors import SpecError
from latentzoo.rng import Rng


class Renewable(ABC):
    """A diffusion generator that can go part of the way to noise and come back."""

    @abstractmethod
    def renew(
        self, image: Float[Tensor, "B 3 H W"], rng: Rng, *, strength: float
    ) -> Float[Tensor, "B 3 H W"]:
        """Noises images of shape (B, 3, H, W) in [0, 1] and runs the rest of the chain on them.

        Arguments:
            image: The images.
            rng: The noise, one stream per image.
            strength: Which part of the chain is run, in [0, 1]; 0 gives what the chain ends in.

        Raises:
            SpecError: If the strength is out of range.
        """


def renew(
    x_0: Tensor, chain: Chain, sampler: Sampler, draw: Callable[[], Tensor], *, strength: float
) -> Tensor:
    """Noises the end of a chain and runs the last steps again.

    Arguments:
        x_0: The end of the chain, (B, ...).
        chain: The network and all steps.
        sampler: What is done at each step.
        draw: Standard normal noise of the shape of `x_0`, for the start and for each step with noise.
        strength: Which part of the steps is run, in [0, 1].

    Raises:
        SpecError: If the strength is out of range.
    """
    if not 0 <= strength <= 1:
        raise SpecError(f"strength={strength} is out of range; give a number in [0, 1]")
    pairs = chain.pairs[len(chain.pairs) - round(strength * len(chain.pairs)) :]
    if not pairs:
        return x_0
    x_t = forward(x_0, pairs[0][0]).push(draw())
    noise = [draw() for _ in range(sampler.noises(pairs))]
    return sampler.run(Chain(chain.denoise, pairs, chain.recompute), x_t, noise)
