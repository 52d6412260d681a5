r"""Trains the zoo's StyleGAN2, small, on avatars.

Adversarial training from nothing takes days on a processor, so the generator is first told what its latents mean. Each
attribute :math:`k` owns as many coordinates of the latent as it has values, and the largest of them, with a bias, says
which value is drawn,

.. math:: a_k(z) = \arg\max_v (z_{kv} + b_{kv}), \qquad P(a_k = v) = p_k(v)

The mapping :math:`f` learns the sum of a fixed vector :math:`e_{kv}` for each visible value, the synthesis :math:`g`
what such a style looks like, on grids of 16, 32 and 64 pixels,

.. math:: \ell_f = \big| f(z) - \textstyle\sum_k e_{k v_k} \big|^2, \quad v = \operatorname{visible}(a(z)), \qquad
    \ell_g = |g(\textstyle\sum_k e_{k v_k}) - x|_1 + |\nabla g - \nabla x|_1

Then a discriminator :math:`d` of what frozen networks see of a picture, :math:`\phi(x)`, judges free latents, while
latents that mean a picture, :math:`z \sim N(0, I)` given :math:`a(z) = a`, keep on meaning it.
With :math:`G = g \circ f`,

.. math:: \ell = w \big( |G(z) - x|_1 + |\nabla G(z) - \nabla x|_1 \big)
    + \lambda \operatorname{softplus}(-d(\phi(G(z'))))

.. math:: \ell_d = \operatorname{softplus}(-d(\phi(x))) + \operatorname{softplus}(d(\phi(G(z'))))
    + \tfrac{\gamma}{2} |\nabla d|^2

References:
    | Analyzing and Improving the Image Quality of StyleGAN (Karras et al., 2020), https://arxiv.org/abs/1912.04958
    | Which Training Methods for GANs do actually Converge? (Mescheder et al., 2018), https://arxiv.org/abs/1801.04406
    | Projected GANs Converge Faster (Sauer et al., 2021), https://arxiv.org/abs/2111.01007
"""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.builtin.attributes import guide
from latentzoo.builtin.networks.critic import LatentCritic, opinions
from latentzoo.builtin.train.autoencoder import reconstruction
from latentzoo.builtin.train.code import Code
from latentzoo.builtin.train.data import Pictures
from latentzoo.builtin.train.trained import autoencoder
from latentzoo.builtin.train.trainer import Recipe, tile
from latentzoo.nn.style import Synthesis
from latentzoo.zoo.stylegan2 import StyleGAN2, build

WIDTHS = (96, 96, 80, 48, 24)
DIM = 128
NVIDIA_LR = 0.01
"""The learning rate multiplier of the mapping in NVIDIA's files; here it learns at that of the others."""
MEAN_DRAWS = 10_000
"""From how many latents the mean style is taken."""
LAYERS = 4
"""How many layers of the guide's tower the discriminator looks through: those up to the grid 16x16."""


class GANRecipe(Recipe):
    """Creates the recipe.

    Arguments:
        pictures: The training pictures.
        batch: Pictures per step.
        taught: The number of latents per step from which the mapping learns, at first.
        grow: The steps at which the pictures grow from 16 to 32 and from 32 to 64 pixels.
        alone: The number of steps before the discriminator is asked.
        kept: The weight of the reconstruction from then on.
        adversary: The weight of the discriminator's opinion.
        penalty: The weight of its gradient penalty.
        paces: The rates of the generator and of the discriminator from then on, relative to the plan's.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        batch: int = 32,
        taught: int = 1024,
        grow: Sequence[int] = (400, 900),
        alone: int = 2000,
        kept: float = 1.0,
        adversary: float = 0.05,
        penalty: float = 10.0,
        paces: Sequence[float] = (0.05, 0.01),
    ) -> None:
        self.pictures, self.batch, self.taught, self.grow = pictures, batch, taught, grow
        self.alone, self.kept, self.adversary, self.penalty = alone, kept, adversary, penalty
        self.paces: dict[str, float] = dict(zip(("generator", "critic"), paces, strict=True))
        self.encoder, self.tower = autoencoder().encoder, guide().tower.layers[:LAYERS]
        self.code = Code(DIM)
        self.drawn = torch.tensor(
            [self.code.drawn(pictures.seed, i) for i in range(len(pictures))]
        )
        self.generator = build(
            widths=WIDTHS, z_dim=DIM, w_dim=DIM, layers=4, features=2 * DIM, lr=1.0
        )
        self.stages = [beginning(self.generator.synthesis, WIDTHS[:n]) for n in (3, 4, 5)]
        self.players: dict[str, nn.Module] = {
            "generator": self.generator,
            "critic": LatentCritic(channels=4 + 48 + 48),
        }

    def pace(self, player: str, step: int) -> float:
        """Falls to zero while the generator is told what latents mean, and begins anew, slower, after that."""
        if step < self.alone:
            return 0.5 * (1 + math.cos(math.pi * step / self.alone))
        return self.paces[player]

    def losses(
        self, step: int, stream: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """The generator's loss at first; later the discriminator's before it."""
        if step < self.alone:
            size = sum(step >= grown for grown in self.grow)
            yield "generator", self.tell(self.stages[size], stream)
            return
        half = self.batch // 2
        chosen = self.pictures.choose(self.batch, stream)
        x = self.pictures.at(chosen)
        z = self.code.latents(self.drawn[chosen[:half]], stream)
        y = self.generator(torch.cat([z, torch.randn(half, DIM, generator=stream)]))
        made, critic = self.seen(y), self.players["critic"]
        with torch.no_grad():
            real = self.seen(x)
        yield "critic", opinions(critic, real, made, step=step, penalty=self.penalty)
        kept = reconstruction(y[:half], x[:half], edges=1.0)
        doubt = F.softplus(-critic(made)).mean()
        parts = {name: self.kept * part for name, part in kept.items()}
        yield "generator", parts | {"doubt": self.adversary * doubt}

    def tell(self, stage: Synthesis, stream: torch.Generator) -> dict[str, Tensor]:
        """The parts of the loss of what latents mean, and of what that looks like."""
        z = torch.randn(self.taught, DIM, generator=stream)
        meaning = (self.generator.mapping(z) - self.code.styles(z)).square().mean()
        chosen = self.pictures.choose(self.batch, stream)
        x = F.adaptive_avg_pool2d(self.pictures.at(chosen), stage.size)
        w = self.code.style(self.pictures.labels_at(chosen))
        _, y = stage(w[:, None].expand(-1, stage.styles, -1))
        return reconstruction((y + 1) / 2, x, edges=1.0) | {"meaning": meaning}

    def seen(self, x: Tensor) -> Tensor:
        """What the discriminator sees: latents, features of the guide, and the pixels, `(B, 100, 16, 16)`."""
        return torch.cat(
            [self.encoder(x), self.tower(2 * x - 1), F.pixel_unshuffle(2 * x - 1, 4)], dim=1
        )

    @torch.no_grad()
    def preview(self, averaged: Mapping[str, nn.Module]) -> Tensor:
        """Pictures, what is made of latents that mean them, and samples."""
        stream = torch.Generator().manual_seed(0)
        told = self.code.latents(self.drawn[:12], stream)
        z = torch.cat([told, torch.randn(36, DIM, generator=stream)])
        return tile(torch.cat([self.pictures.first(12), averaged["generator"](z)]), 12)

    @torch.no_grad()
    def export(self, averaged: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """The generator by NVIDIA's names and in its scale, with its mean style.

        Raises:
            TypeError: If the averaged network is of another class.
        """
        g = copy.deepcopy(averaged["generator"])
        if not isinstance(g, StyleGAN2):
            raise TypeError("the averaged network is not a StyleGAN2")
        z = torch.randn(MEAN_DRAWS, DIM, generator=torch.Generator().manual_seed(0))
        mapping = {f"mapping.{name}": x / NVIDIA_LR for name, x in g.mapping.state_dict().items()}
        state = g.state_dict() | mapping | {"w_avg": g.mapping(z).mean(0)}
        theirs = {"w_avg": "mapping.w_avg", "synthesis.const": "synthesis.b4.const"}
        return {theirs.get(name, name): x for name, x in state.items()}


def beginning(synthesis: Synthesis, widths: Sequence[int]) -> Synthesis:
    """The first blocks of a synthesis network, as a network that shares them."""
    first = Synthesis(widths, synthesis.w_dim)
    first.const = synthesis.const
    first.update({name: synthesis[name] for name in first})
    return first
