"""Diffusion in pixel space: which noises are latent, and that a picture is found again."""

import pytest
import torch

from latentzoo.builtin.ddpm import build
from latentzoo.diffusion.noise import fixed_noise
from latentzoo.errors import SpecError
from latentzoo.rng import Rng
from latentzoo.zoo import load

SMALL = {"widths": (8, 8, 8), "steps": 4}


@pytest.fixture
def random_weights():
    """Two builds of the same random weights: one with all noises latent, one with the first two."""

    def make(**options):
        torch.manual_seed(0)
        generator = build(**SMALL, **options).eval()
        torch.nn.init.normal_(generator.network.unet.last.weight, std=0.1)
        return generator

    return make


def test_the_first_noises_are_latent_and_the_others_are_fixed(random_weights) -> None:
    whole, part = random_weights(eta=1.0), random_weights(eta=1.0, white_box_steps=2)
    assert whole.space.blocks["noise"] == (3, 3, 64, 64)
    assert part.space.blocks["noise"] == (2, 3, 64, 64)
    z = Rng(0, 1).normal(part.space.dim)
    blocks = part.space.split(z)
    last = fixed_noise(blocks["start"][:1], 0, 3).expand(2, -1, -1, -1)
    noise = torch.cat([blocks["noise"], last[:, None]], 1)
    with torch.no_grad():
        same = whole(whole.space.join(start=blocks["start"], noise=noise))
        torch.testing.assert_close(part(z), same)


def test_every_latent_noise_is_read(random_weights) -> None:
    generator = random_weights(eta=1.0)
    z = Rng(0).normal(generator.space.dim).requires_grad_()
    generator(z).square().sum().backward()
    assert (generator.space.split(z.grad)["noise"].abs().amax((0, 2, 3, 4)) > 0).all()


def test_a_chain_of_no_noise_is_a_function_of_its_start(random_weights) -> None:
    assert set(random_weights().space.blocks) == {"start"}
    assert set(random_weights(eta=1.0, white_box_steps=0).space.blocks) == {"start"}


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"eta": 2.0}, {"eta": 1.0, "white_box_steps": 10}]
)
def test_a_map_that_is_not_defined_is_refused(options) -> None:
    with pytest.raises(SpecError):
        build(**{"widths": (8,), **options})


def test_a_face_is_found_again() -> None:
    generator = load("avatar-ddpm", steps=5)
    with torch.no_grad():
        x = generator(Rng(3).normal(generator.space.dim))
        again = generator(generator.encode(x, Rng(0)))
    assert (again - x).abs().mean() < 0.02
