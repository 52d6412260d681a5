r"""Trains the denoiser of the text-to-image pipeline on pictures and true captions of them.

.. math:: \ell = E_{t, \epsilon} \left| v_\theta(z_t, t, c) - (\alpha_t \epsilon - \sigma_t z_0) \right|^2

A caption is said anew each time a picture is seen, and is left out one time in ten, so that the denoiser can be guided.
Its text encoder does not learn any more.

References:
    | Classifier-Free Diffusion Guidance (Ho and Salimans, 2022), https://arxiv.org/abs/2207.12598
    | Progressive Distillation for Fast Sampling of Diffusion Models (Salimans and Ho, 2022)
    | https://arxiv.org/abs/2202.00512
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from latentzoo.builtin.networks import text_to_image as parts
from latentzoo.builtin.train.data import Pictures, subject
from latentzoo.builtin.train.grammar import lesson
from latentzoo.builtin.train.trained import autoencoder
from latentzoo.builtin.train.trainer import Recipe, tile

PREVIEW = (
    "a person with sunglasses",
    "a person with red hair",
    "a person with a yellow hat",
    "a smiling person with a beard",
    "a person with sunglasses and a yellow hat",
    "a dark-skinned person with round glasses and a beard",
)


class Texts(nn.Module):
    """Creates what reads captions: the tokenizer and the text encoder that a training of the grammar left in a file."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.tokenizer = parts.tokenizer()
        self.encoder = parts.text_encoder(len(self.tokenizer))
        taught = load_file(weights)
        self.encoder.load_state_dict(_below(taught, "encoder."))
        self.pooled = _below(taught, "pooled.")
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Tensor:
        """The states of texts, `(B, LENGTH, STATES)`."""
        return self.encoder(parts.tokens(self.tokenizer, texts)).last_hidden_state


def _below(values: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): x.float() for k, x in values.items() if k.startswith(prefix)}


class CaptionedRecipe(Recipe):
    """Creates the recipe.

    Arguments:
        pictures: The training pictures.
        text: The weights of the text encoder.
        batch: Latents per step.
        silent: How often the caption is left out.
    """

    def __init__(
        self, pictures: Pictures, *, text: str, batch: int = 32, silent: float = 0.1
    ) -> None:
        self.pictures, self.batch, self.silent = pictures, batch, silent
        self.autoencoder = autoencoder()
        self.latents = pictures.latents(self.autoencoder.encoder)
        self.texts = Texts(Path(text))
        self.denoiser = parts.denoiser()
        self.denoiser.add_embedding.load_state_dict(self.texts.pooled)
        nn.init.zeros_(self.denoiser.conv_out.weight)
        self.levels = Levels()
        self.players: dict[str, nn.Module] = {"denoiser": self.denoiser}

    def losses(
        self, step: int, stream: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """One loss: the squared error of the velocity."""
        chosen = self.pictures.choose(self.batch, stream)
        states = self.texts(self.captions(chosen, stream))
        z_0, t = self.latents[chosen], self.levels.times(self.batch, stream)
        z_t, v = self.levels.mix(z_0, t, stream)
        yield "denoiser", {"v": (self.denoiser(z_t, t, states).sample - v).square().mean()}

    def captions(self, chosen: Tensor, stream: torch.Generator) -> list[str]:
        """A caption for each of the pictures, some left out."""
        said = random.Random(int(torch.randint(2**31, (1,), generator=stream)))
        avatars = (subject(self.pictures.seed, index) for index in chosen.tolist())
        return ["" if said.random() < self.silent else lesson(avatar, said) for avatar in avatars]

    @torch.no_grad()
    def preview(self, averaged: Mapping[str, nn.Module]) -> Tensor:
        """Eight samples of eight guided steps for each of six prompts, one row a prompt."""
        texts = [text for text in PREVIEW for _ in range(8)]
        z = torch.randn(len(texts), 4, 16, 16, generator=torch.Generator().manual_seed(0))
        z_0 = guided(averaged["denoiser"], z, self.texts(texts), self.texts([""]), 8, 3.0)
        return tile(self.autoencoder.decoder(z_0), 8)

    def export(self, averaged: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """The averaged denoiser."""
        return averaged["denoiser"].state_dict()


class Levels:
    """Creates the levels of noise of the schedule, by their steps of 1000."""

    def __init__(self) -> None:
        kept = parts.scheduler().alphas_cumprod
        self.alpha, self.sigma = kept.sqrt(), (1 - kept).sqrt()

    def times(self, count: int, stream: torch.Generator) -> Tensor:
        """Random steps, spread evenly but for some more near the noise, where large colours are decided, `(count,)`."""
        spread = ((torch.arange(count) + torch.rand(count, generator=stream)) / count) ** 0.75
        return (spread * len(self.alpha)).long().clamp(max=len(self.alpha) - 1)

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise at steps `(B,)`, two `(B, 1, 1, 1)`; before step 0 there is no noise."""
        alpha = torch.where(t < 0, 1.0, self.alpha[t.clamp(min=0)])
        sigma = torch.where(t < 0, 0.0, self.sigma[t.clamp(min=0)])
        return alpha[:, None, None, None], sigma[:, None, None, None]

    def mix(self, z_0: Tensor, t: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        """The noisy latents at steps `(B,)`, and the velocities there."""
        alpha, sigma = self.at(t)
        eps = torch.randn(z_0.shape, generator=stream)
        return alpha * z_0 + sigma * eps, alpha * eps - sigma * z_0


def guided(
    denoiser: Any, z: Tensor, states: Tensor, silence: Tensor, steps: int, scale: float
) -> Tensor:
    """Goes from noise `(B, 4, 16, 16)` to latents by DDIM, as the pipeline does."""
    path = parts.scheduler()
    path.set_timesteps(steps)
    silence = silence.expand_as(states)
    for t in path.timesteps:
        v = denoiser(z, t, states).sample
        if scale != 1:
            plain = denoiser(z, t, silence).sample
            v = plain + scale * (v - plain)
        z = path.step(v, t, z).prev_sample
    return z
