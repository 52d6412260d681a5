r"""Two worlds whose scores are known: mixtures of Gaussians on pictures of one pixel.

Both have four kinds (the mode of the red channel, with different frequencies) and a shade (the
blue channel); in world A all pictures are dark in green, in world B they are bright.
"""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from latentzoo.diffusion.generator import Diffusion, Reading
from latentzoo.diffusion.sampler import DDIM, DDPM, Multistep, PredictorCorrector
from latentzoo.diffusion.schedule import Discrete, linear_betas
from latentzoo.diffusion.translate import sdedit, translate
from latentzoo.errors import SpecError
from latentzoo.generator import Generator
from latentzoo.rng import Rng
from latentzoo.space import Space

KINDS = torch.tensor([-0.9, -0.3, 0.3, 0.9], dtype=torch.float64)
WIDTH = torch.tensor([0.08, 0.08, 0.3], dtype=torch.float64)
SCHEDULE = Discrete.from_betas(linear_betas())


class World(nn.Module):
    """The noise in `x_t` of a mixture of four Gaussians, exactly."""

    def __init__(self, green: float, weights: list[float]) -> None:
        super().__init__()
        rest = torch.tensor([[green, 0.0]], dtype=torch.float64).expand(4, 2)
        self.means = torch.cat([KINDS[:, None], rest], dim=1)
        self.log_weights = torch.tensor(weights, dtype=torch.float64).log()

    def forward(self, x_t: Tensor, time: Tensor) -> Tensor:
        t = SCHEDULE(int(time[0]))
        x = x_t.flatten(1)[:, None]
        var = t.alpha**2 * WIDTH**2 + t.sigma**2
        off = x - t.alpha * self.means
        weight = (self.log_weights - (off**2 / var).sum(2) / 2).softmax(1)
        return t.sigma * (weight[..., None] * off / var).sum(1).view_as(x_t)


A, B = World(-0.5, [0.25] * 4), World(0.5, [0.1, 0.4, 0.3, 0.2])


def generator(world: World, sampler=None, *, steps: int = 25) -> Diffusion:
    times = [i * (1000 // steps) for i in reversed(range(steps))]
    levels = SCHEDULE.levels([*times, -1])
    return Diffusion(
        world,
        reading=Reading(kind="eps"),
        size=(1, 1),
        pairs=list(pairwise(levels)),
        sampler=sampler or DDIM(),
    )


def pictures(n: int = 64) -> Tensor:
    """Draws from world A."""
    stream = torch.Generator().manual_seed(0)
    kind = torch.arange(n) % 4
    noise = torch.randn(n, 3, generator=stream, dtype=torch.float64)
    return ((A.means[kind] + WIDTH * noise + 1) / 2).view(n, 3, 1, 1)


def kind(image: Tensor) -> Tensor:
    return (2 * image[:, 0, 0, 0, None] - 1 - KINDS).abs().argmin(1)


def bright(image: Tensor) -> Tensor:
    """How many pictures are where world B has its own, within four widths."""
    return ((2 * image[:, 1, 0, 0] - 1 - 0.5).abs() < 4 * WIDTH[1]).double().mean()


def test_the_chain_draws_from_the_world():
    ours = generator(B, DDIM(1.0), steps=100)
    with torch.no_grad():
        image = ours(Rng(*range(2000), dtype=torch.float64).normal(ours.space.dim))
    shares = torch.bincount(kind(image), minlength=4) / 2000
    assert torch.allclose(shares, B.log_weights.exp().float(), atol=0.05)
    assert bright(image) > 0.99
    assert float((2 * image[:, 2] - 1).std()) == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("sampler", [DDIM(), DDIM(0.3), DDIM(1.0), DDPM(), DDPM(large=True)])
def test_codes_give_their_pictures_back(sampler):
    ours, image = generator(A, sampler), pictures()
    with torch.no_grad():
        again = ours(ours.encode(image, Rng(*range(len(image)))))
    assert (again - image).abs().max() < 1e-6


def test_the_multistep_sampler_is_inverted_as_the_equation_it_solves():
    ours, image = generator(A, Multistep(), steps=100), pictures()
    with torch.no_grad():
        again = ours(ours.encode(image, Rng(*range(len(image)))))
    assert (again - image).abs().mean() < 0.01


def test_codes_of_deterministic_chains_are_as_gaussian_as_the_data():
    ours = generator(A, steps=100)
    z = ours.encode(pictures(512), Rng(*range(512)))
    assert z.mean(0).abs().max() < 0.15 and (z.std(0) - 1).abs().max() < 0.15


@pytest.mark.parametrize("sampler", [DDIM(), DDIM(0.1)])
def test_translation_keeps_what_the_worlds_share(sampler):
    """Beside SDEdit at its best strength: of those that arrive in world B, the most faithful."""
    a, b, image = generator(A, sampler), generator(B, sampler), pictures()
    rng = lambda: Rng(*range(len(image)))
    kept = lambda x: float((kind(x) == kind(image)).double().mean())
    shade = lambda x: float(torch.corrcoef(torch.stack([x[:, 2, 0, 0], image[:, 2, 0, 0]]))[0, 1])
    ours = translate(image, a, b, rng())
    assert bright(image) == 0 and bright(ours) > 0.98
    assert kept(ours) > 0.7 and shade(ours) > 0.95

    rivals = [sdedit(image, b, rng(), strength=s / 10) for s in range(1, 11)]
    arrived = [x for x in rivals if bright(x) > 0.98]
    best = max(arrived, key=kept)
    assert kept(ours) > kept(best) + 0.1
    assert shade(ours) > shade(best) + 0.1


def test_a_translation_there_and_back_is_the_picture():
    a, b, image = generator(A), generator(B), pictures()
    rng = Rng(*range(64))
    there = translate(image, a, b, rng)
    assert torch.allclose(translate(there, b, a, rng), image, atol=1e-6)


def test_strength_zero_changes_nothing_and_one_forgets_the_picture():
    ours, image = generator(B, DDIM(1.0)), pictures()
    assert torch.equal(sdedit(image, ours, Rng(*range(64)), strength=0.0), image)
    whole = sdedit(image, ours, Rng(*range(64)), strength=1.0)
    other = sdedit(1 - image, ours, Rng(*range(64)), strength=1.0)
    assert (kind(whole) == kind(other)).double().mean() > 0.8


class Blind(Generator):
    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.space, self.size = Space(start=(3, 1, width)), (1, width)

    def forward(self, z: Tensor) -> Tensor:
        return z.view(-1, 3, *self.size)


def test_what_cannot_be_translated_is_said():
    a, image, rng = generator(A), pictures(1), Rng(0)
    with pytest.raises(SpecError, match="cannot encode"):
        translate(image, Blind(), a, rng)
    with pytest.raises(SpecError, match=r"latent spaces differ.*the same steps"):
        translate(image, a, generator(B, DDIM(1.0)), rng)
    with pytest.raises(SpecError, match=r"latent spaces differ.*pictures of one size"):
        translate(image, a, Blind(2), rng)
    with pytest.raises(SpecError, match="cannot start"):
        sdedit(image, Blind(), rng, strength=0.5)
    with pytest.raises(SpecError, match="strength=2"):
        sdedit(image, a, rng, strength=2)
    with pytest.raises(SpecError, match="no encoder"):
        generator(A, PredictorCorrector()).encode(image, rng)
