r"""Distils the guided denoiser of the text-to-image pipeline into one that takes few steps and needs no guidance.

A step of the student from :math:`t` to :math:`s` should end where two guided steps of the teacher do, :math:`z_s`. That
asks of it the clean latent

.. math:: \tilde z_0 = \frac{z_s - (\sigma_s / \sigma_t)\, z_t}{\alpha_s - (\sigma_s / \sigma_t)\, \alpha_t}

and so a velocity at :math:`z_t`. The teacher's is :math:`v(\varnothing) + w\,(v(c) - v(\varnothing))`.

References:
    | Progressive Distillation for Fast Sampling of Diffusion Models (Salimans and Ho, 2022)
    | https://arxiv.org/abs/2202.00512
    | On Distillation of Guided Diffusion Models (Meng et al., 2022), https://arxiv.org/abs/2210.03142
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from latentzoo.builtin.networks import text_to_image as parts
from latentzoo.builtin.train.captioned import PREVIEW, CaptionedRecipe, guided
from latentzoo.builtin.train.data import Pictures
from latentzoo.builtin.train.trainer import tile


class FoldedRecipe(CaptionedRecipe):
    """Creates the recipe.

    Arguments:
        pictures: The training pictures.
        text: The weights of the text encoder.
        teacher: The weights of the guided denoiser.
        batch: Latents per step.
        silent: How often the caption is left out.
        steps: The number of steps of the student.
        scale: How strongly the teacher is guided.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        text: str,
        teacher: str,
        batch: int = 24,
        silent: float = 0.1,
        steps: int = 4,
        scale: float = 3.0,
    ) -> None:
        super().__init__(pictures, text=text, batch=batch, silent=silent)
        self.steps, self.scale = steps, scale
        taught = {key: x.float() for key, x in load_file(Path(teacher)).items()}
        self.teacher = parts.denoiser().requires_grad_(False).eval()
        self.teacher.load_state_dict(taught)
        self.denoiser.load_state_dict(taught)

    def losses(
        self, step: int, stream: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """One loss: the squared error of the velocity that two guided steps ask for."""
        chosen = self.pictures.choose(self.batch, stream)
        states = self.texts(self.captions(chosen, stream))
        size = 1000 // self.steps
        t = size * (1 + torch.randint(self.steps, (self.batch,), generator=stream)) - 1
        z_t, _ = self.levels.mix(self.latents[chosen], t, stream)
        v = self.asked(z_t, t, states, size)
        yield "denoiser", {"v": (self.denoiser(z_t, t, states).sample - v).square().mean()}

    @torch.no_grad()
    def asked(self, z_t: Tensor, t: Tensor, states: Tensor, size: int) -> Tensor:
        """The velocity at `z_t` of a step of `size` that ends where two guided steps of half of it do."""
        between = t - size // 2
        z_m = self.stepped(z_t, t, between, states)
        z_s = self.stepped(z_m, between, t - size, states)
        alpha, sigma = self.levels.at(t)
        alpha_s, sigma_s = self.levels.at(t - size)
        z_0 = (z_s - sigma_s / sigma * z_t) / (alpha_s - sigma_s / sigma * alpha)
        return alpha * (z_t - alpha * z_0) / sigma - sigma * z_0

    def stepped(self, z: Tensor, t: Tensor, s: Tensor, states: Tensor) -> Tensor:
        """A guided step of the teacher by DDIM."""
        silence = self.texts([""]).expand_as(states)
        both = self.teacher(z.repeat(2, 1, 1, 1), t.repeat(2), torch.cat([silence, states])).sample
        plain, told = both.chunk(2)
        v = plain + self.scale * (told - plain)
        alpha, sigma = self.levels.at(t)
        alpha_s, sigma_s = self.levels.at(s)
        return alpha_s * (alpha * z - sigma * v) + sigma_s * (sigma * z + alpha * v)

    @torch.no_grad()
    def preview(self, averaged: Mapping[str, nn.Module]) -> Tensor:
        """Eight samples of the student for each of six prompts, one row a prompt."""
        texts = [text for text in PREVIEW for _ in range(8)]
        z = torch.randn(len(texts), 4, 16, 16, generator=torch.Generator().manual_seed(0))
        states = self.texts(texts)
        z_0 = guided(averaged["denoiser"], z, states, states[:1], self.steps, 1.0)
        return tile(self.autoencoder.decoder(z_0), 8)
