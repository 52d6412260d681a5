r"""The map of DDGAN: from a start, codes and noises to a picture.

.. math:: \hat{x}_t = G(x_t, t, u_t), \qquad
    x_{t-1} = \mu_t(\hat{x}_t, x_t) + \sigma_t \, \varepsilon_t \sim q(x_{t-1} \mid x_t, \hat{x}_t)
"""

from collections.abc import Iterator
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.compiling import outermost
from latentzoo.diffusion import memory
from latentzoo.diffusion.reverse import posterior
from latentzoo.diffusion.schedule import VP, Discrete
from latentzoo.generator import Generator
from latentzoo.nn import channels as pictures
from latentzoo.space import Space
from latentzoo.zoo.ddgan.network import NCSNpp


class DDGAN(Generator):
    r"""Creates a DDGAN generator.

    Arguments:
        network: The network :math:`G(x_t, t, u_t)`.
        schedule: The noise at each of the :math:`T` times; part of the model.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.
    """

    def __init__(
        self, network: NCSNpp, schedule: Discrete, *, recompute: memory.Recompute = "auto"
    ) -> None:
        super().__init__()
        self.network, self.size = network, network.size
        self.recompute: memory.Recompute = recompute
        T = len(schedule.alpha_bar)
        self.levels = schedule.levels(range(T - 1, -2, -1))
        shape = (network.channels, *self.size)
        self.space = Space(start=shape, code=(T, network.code), noise=(T - 1, *shape))

    def repeated(self) -> Iterator[nn.Module]:
        return outermost(self)

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        x_T, code, noise = self.space.split(z).values()

        def step(x_t: Tensor, k: int) -> Tensor:
            t, s = self.levels[k : k + 2]
            x_0 = self.network(x_t, x_t.new_full((len(x_t),), t.time), code[:, k])
            return posterior(x_t, x_0, t, s).push(noise[:, k]) if s.sigma > 0 else x_0

        steps = range(len(self.levels) - 1)
        image = memory.fold(step, x_T, steps, recompute=self.recompute)
        return pictures.coloured((image + 1) / 2)


def ddgan_schedule(steps: int, beta_min: float = 0.1, beta_max: float = 20.0) -> Discrete:
    """The variance preserving path, read at `steps` + 1 times; what is lost before the first of
    them counts as nothing, so that the last step gives the picture."""
    path = VP(beta_min, beta_max).levels(1e-3 + (1 - 1e-3) * i / steps for i in range(steps + 1))
    return Discrete.from_betas(1 - (t.alpha / s.alpha) ** 2 for s, t in pairwise(path))
