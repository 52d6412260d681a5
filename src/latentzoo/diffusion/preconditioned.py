r"""A diffusion in pixels whose network is preconditioned: EDM and consistency models.

.. math:: x_0 = D(x_t; \sigma_t), \qquad \varepsilon = (x_t - x_0) / \sigma_t

with `D` of `diffusion.precondition`, clipped to [-1, 1] or not; the noise follows what is clipped.

Users: `zoo.edm`, `zoo.consistency`, `zoo.consistency_diffusers`.
"""

from abc import abstractmethod
from typing import Any

from torch import Tensor

from latentzoo.diffusion.parametrisation import Estimate, from_x0
from latentzoo.diffusion.precondition import Preconditioning
from latentzoo.diffusion.process import ReverseProcess
from latentzoo.diffusion.schedule import Level
from latentzoo.nn import channels as pictures


class Preconditioned(ReverseProcess):
    """A diffusion generator whose network is preconditioned: a subclass has the network.

    Arguments:
        conditioning: How the network is asked and read.
        channels: The number C of the pictures' channels: 3, or 1 where they are grey.
        size: The picture's height and width.
        clip: Whether predicted pictures are clipped to [-1, 1], which stops gradients where it acts.
        chain: The arguments of `ReverseProcess`; the start has the noise of the first pair.

    Raises:
        SpecError: If the pictures have other channels, or there are more latent noises than noises.
    """

    def __init__(
        self,
        conditioning: Preconditioning,
        *,
        channels: int,
        size: tuple[int, int],
        clip: bool,
        **chain: Any,
    ) -> None:
        shape = (pictures.require(channels), *size)
        super().__init__(shape=shape, size=size, start=chain["pairs"][0][0].sigma, **chain)
        self.conditioning, self.channels, self.clip = conditioning, channels, clip

    @abstractmethod
    def predict(self, x: Tensor, time: Tensor) -> Tensor:
        """What the network answers to (B, C, H, W) and what it is told of the noise (B,): (B, C, H, W)."""

    def estimate(self, x_t: Tensor, t: Level) -> Estimate:
        c = self.conditioning.scales(t.sigma)
        answer = self.predict(c.into * x_t, x_t.new_full((len(x_t),), t.time))
        x_0 = c.skip * x_t + c.out * answer
        return from_x0(x_0.clamp(-1, 1) if self.clip else x_0, x_t, t)

    def show(self, x_0: Tensor) -> Tensor:
        return pictures.coloured((x_0 + 1) / 2)

    def see(self, image: Tensor) -> Tensor:
        return 2 * pictures.seen(image, self.channels) - 1
