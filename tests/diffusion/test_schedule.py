import math
from itertools import pairwise

import pytest
import torch

from latentzoo.diffusion.noise import Noise, fixed_noise
from latentzoo.diffusion.schedule import (
    VE,
    VP,
    Discrete,
    Flow,
    constant_betas,
    cosine_betas,
    karras_sigmas,
    linear_betas,
    scaled_linear_betas,
)
from latentzoo.errors import SpecError
from latentzoo.rng import Rng


def test_betas_give_the_published_products():
    """Numbers of the official models, as their checkpoints hold them."""
    latent = Discrete.from_betas(scaled_linear_betas(0.0015, 0.0195))
    for t, expected in {1: 0.996994, 201: 0.612443, 401: 0.232975, 801: 0.004120}.items():
        assert latent(t).alpha ** 2 == pytest.approx(expected, abs=5e-7)
    assert Discrete.from_betas(linear_betas())(999).alpha ** 2 == pytest.approx(
        4.0358e-5, rel=1e-4
    )
    assert Discrete.from_betas(constant_betas(0.008))(0).alpha ** 2 == pytest.approx(0.992)


def test_cosine_betas_give_the_squared_cosine():
    schedule = Discrete.from_betas(cosine_betas(n=100))
    u = lambda t: math.cos((t / 100 + 0.008) / 1.008 * math.pi / 2) ** 2
    assert schedule(49).alpha ** 2 == pytest.approx(u(50) / u(0), rel=1e-12)


@pytest.mark.parametrize("schedule", [Discrete.from_betas(linear_betas()), VP()])
def test_variance_is_preserved(schedule):
    times = range(1000) if isinstance(schedule, Discrete) else [i / 1000 for i in range(1, 1001)]
    for level in schedule.levels(times):
        assert level.alpha**2 + level.sigma**2 == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("schedule", [VP(), VE(), Flow(), Discrete.from_betas(linear_betas())])
def test_noise_grows_with_time(schedule):
    times = range(1, 1000, 7) if isinstance(schedule, Discrete) else [i / 97 for i in range(1, 97)]
    assert all(a.log_snr > b.log_snr for a, b in pairwise(schedule.levels(times)))


def test_before_the_first_time_is_the_picture():
    assert Discrete((0.9, 0.5))(-1) == (-1, 1.0, 0.0)
    assert VE()(-1.0).sigma == 0
    assert VE(0.01, 50.0).start == 50.0 and VP().start == 1.0


def test_ve_and_karras_end_where_they_should():
    sigmas = karras_sigmas(0.002, 80.0, 5)
    assert sigmas[0] == pytest.approx(80) and sigmas[-1] == pytest.approx(0.002)
    assert VE(0.01, 50.0)(0.5).sigma == pytest.approx(math.sqrt(0.01 * 50))


@pytest.mark.parametrize("alpha_bar", [(), (0.5, 0.6), (1.2, 0.5), (0.5, -0.1)])
def test_a_schedule_that_does_not_fall_is_refused(alpha_bar):
    with pytest.raises(SpecError, match="falling"):
        Discrete(alpha_bar)


def test_a_time_beyond_the_schedule_is_refused():
    with pytest.raises(SpecError, match="at most 1"):
        Discrete((0.9, 0.5))(2)


def test_noise_is_the_latent_first_and_then_fixed():
    latent = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    noise = Noise(latent, 6, seed=7)
    assert len(list(noise)) == 6
    assert all(torch.equal(noise[i], latent[:, i]) for i in range(3))
    assert noise[4].shape == (1, 4, 5) and torch.equal(noise[4], Noise(latent, 6, seed=7)[4])
    assert not torch.equal(noise[4], noise[5])
    assert not torch.equal(noise[4], Noise(latent, 6, seed=8)[4])
    with pytest.raises(SpecError, match="give at most 2"):
        Noise(latent, 2)


def test_fixed_noise_is_normal_and_no_chain_reads_it():
    """A chain and a fixed noise with the same seed must not be the same numbers."""
    a = fixed_noise(torch.empty(1, 100_000), 0, 1).flatten()
    assert a.mean().abs() < 0.02 and (a.std() - 1).abs() < 0.01
    chain = Rng(0).normal(100_000).flatten()
    assert (a * chain).mean().abs() < 0.02


def test_the_gradient_of_every_latent_noise_arrives_once():
    latent = torch.randn(2, 3, 4, requires_grad=True)
    noise = Noise(latent, 5)
    (grad,) = torch.autograd.grad(sum((i + 1) * noise[i].sum() for i in range(5)), latent)
    assert torch.equal(grad, torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1).expand(2, 3, 4))


@pytest.mark.parametrize("betas", [(0.1, 1e4), (200.0, 300.0)])
def test_a_path_that_leaves_nothing_of_the_picture_is_refused(betas):
    """Its last alpha is 0 in 32 bits, and the picture is what is there divided by it: NaN."""
    with pytest.raises(SpecError, match=r"leave nothing of the picture"):
        VP(*betas)
