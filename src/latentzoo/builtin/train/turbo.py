r"""Distils the latent diffusion into one call.

For a set of starts :math:`z` the teacher's :math:`z_0(z)` is computed once. The student is pulled towards it, and
towards what a discriminator takes for latents of real pictures,

.. math:: \ell_f = |f(z) - z_0(z)|_1 + \lambda \operatorname{softplus}(-d(f(z')))

.. math:: \ell_d = \operatorname{softplus}(-d(z_0^{real})) + \operatorname{softplus}(d(f(z')))
    + \tfrac{\gamma}{2} |\nabla d|^2

where the starts :math:`z'` are always fresh.

References:
    | Adversarial Diffusion Distillation (Sauer et al., 2023), https://arxiv.org/abs/2311.17042
    | Which Training Methods for GANs do actually Converge? (Mescheder et al., 2018), https://arxiv.org/abs/1801.04406
"""

import copy
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.builtin.ldm import SHIFT, LatentDiffusion
from latentzoo.builtin.networks.critic import LatentCritic, opinions
from latentzoo.builtin.networks.unet import CHANNELS, GRID
from latentzoo.builtin.train.data import Pictures, fingerprint, remember
from latentzoo.builtin.train.trained import latent_diffusion
from latentzoo.builtin.train.trainer import Recipe, tile
from latentzoo.builtin.turbo import OneStep


class TurboRecipe(Recipe):
    """Creates the recipe.

    Arguments:
        pictures: The training pictures.
        batch: Latents per step, half of them with a teacher.
        starts: The number of starts whose end the teacher computes.
        steps: The number of steps of the teacher.
        adversary: The weight of the discriminator's opinion, after the first steps.
        alone: The number of steps before it is asked.
        penalty: The weight of its gradient penalty.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        batch: int = 32,
        starts: int = 8192,
        steps: int = 10,
        adversary: float = 0.1,
        alone: int = 500,
        penalty: float = 1.0,
    ) -> None:
        self.batch, self.adversary, self.alone, self.penalty = batch, adversary, alone, penalty
        teacher: LatentDiffusion = latent_diffusion(steps)
        self.decoder = teacher.decoder
        self.real = pictures.latents(teacher.encoder)
        name = f"ends-{starts}-{steps}-{SHIFT}-{fingerprint(teacher)}.npy"
        self.starts = torch.randn(
            starts, CHANNELS, GRID, GRID, generator=torch.Generator().manual_seed(1)
        )
        self.ends = remember(pictures.folder / name, lambda: self._ends(teacher))
        self.student = copy.deepcopy(teacher.denoiser).requires_grad_(True)
        self.critic = LatentCritic()
        self.players: dict[str, nn.Module] = {"student": self.student, "critic": self.critic}

    @torch.no_grad()
    def _ends(self, teacher: LatentDiffusion) -> Tensor:
        return torch.cat([teacher.reverse(z) for z in self.starts.split(64)])

    def ask(self, z: Tensor) -> Tensor:
        """The student's answer at starts `(B, 4, 16, 16)`."""
        return -self.student(z, z.new_ones(len(z)))

    def losses(
        self, step: int, stream: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """The discriminator's loss, once it takes part, then the student's."""
        taught = torch.randint(len(self.starts), (self.batch,), generator=stream)
        if step < self.alone:
            answer = self.ask(self.starts[taught])
            yield "student", {"distance": (answer - self.ends[taught]).abs().mean()}
            return
        taught = taught[: self.batch // 2]
        new = torch.randn(self.batch // 2, CHANNELS, GRID, GRID, generator=stream)
        answer = self.ask(torch.cat([self.starts[taught], new]))
        real = self.real[torch.randint(len(self.real), (self.batch,), generator=stream)]
        yield "critic", opinions(self.critic, real, answer, step=step, penalty=self.penalty)
        distance = (answer[: len(taught)] - self.ends[taught]).abs().mean()
        doubt = F.softplus(-self.critic(answer)).mean()
        yield "student", {"distance": distance, "doubt": self.adversary * doubt}

    @torch.no_grad()
    def preview(self, averaged: Mapping[str, nn.Module]) -> Tensor:
        """What the teacher makes above, what the student makes of the same starts below."""
        student = OneStep(averaged["student"], self.decoder)
        y = student(self.starts[:24].flatten(1))
        x = self.decoder(self.ends[:24])
        rows = [half for a, b in zip(x.split(12), y.split(12), strict=True) for half in (a, b)]
        return tile(torch.cat(rows), 12)

    def export(self, averaged: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """The student and the decoder, in one file."""
        return OneStep(averaged["student"], self.decoder).state_dict()
