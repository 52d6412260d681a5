"""The map of NVAE: from the noises of all groups to the mean image."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import SpecError
from latentzoo.generator import Generator
from latentzoo.nn import channels as pictures
from latentzoo.rng import Rng
from latentzoo.space import Space
from latentzoo.zoo.nvae.cells import Norm
from latentzoo.zoo.nvae.distributions import Group, clamped, mean, unclamped
from latentzoo.zoo.nvae.network import NVAEDecoder


class NVAE(Generator):
    r"""Creates an NVAE generator; the noise of each group is a block of its latent, `group_0` first.

    Arguments:
        network: The decoder.
        temperature: The temperature :math:`\tau`, positive.
        free: How many groups, from the first, have :math:`\mu = \tilde\mu` and :math:`\sigma = \exp \tilde\rho`; one in
            the experiments of latentzoo's paper.
        bound: Where the noises are cut off on both sides, if they are; 1.25 in those experiments.

    Raises:
        SpecError: If the temperature or the bound is not positive, or there are not so many groups.
    """

    def __init__(
        self,
        network: NVAEDecoder,
        *,
        temperature: float = 1.0,
        free: int = 0,
        bound: float | None = None,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise SpecError(f"the temperature {temperature} is not positive; 1 is the model's own")
        if bound is not None and bound <= 0:
            raise SpecError(f"the bound {bound} is not positive; give a positive one or none")
        if not 0 <= free <= len(network.shapes):
            raise SpecError(f"{free} groups cannot be free; the model has {len(network.shapes)}")
        self.network, self.temperature, self.free, self.bound = network, temperature, free, bound
        self.space = Space(**{f"group_{g}": shape for g, shape in enumerate(network.shapes)})
        self.size = network.size

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        return pictures.coloured((mean(self.network(self.groups(z))) + 1) / 2)

    def groups(self, z: Float[Tensor, "B D"]) -> list[Group]:
        """Pairs the noises, with shapes (B, L, h, w), with the rule that puts each of them in its place."""
        eps = z if self.bound is None else z.clamp(-self.bound, self.bound)
        rules = [unclamped if g < self.free else clamped for g in range(len(self.network.shapes))]
        blocks = self.space.split(self.temperature * eps).values()
        return list(zip(blocks, rules, strict=True))

    @torch.no_grad()
    def readjust(self, rng: Rng, *, batches: int = 500, momentum: float = 0.05) -> None:
        """Replaces the statistics of the batch norms by those of this map's own samples, at its temperature.

        The authors do so before they sample, with batches of 16; the statistics of a file are those of training.

        Arguments:
            rng: The noise; it has as many streams as a batch has images.
            batches: The number of batches.
            momentum: The weight of each batch in the running statistics.
        """
        live = lambda norm, x, _: F.batch_norm(
            x[0], norm.running_mean, norm.running_var, norm.weight, norm.bias, True, momentum
        )
        norms = [module for module in self.modules() if isinstance(module, Norm)]
        hooks = [norm.register_forward_hook(live) for norm in norms]
        try:
            for _ in range(batches):
                self(rng.normal(self.space.dim))
        finally:
            for hook in hooks:
                hook.remove()
