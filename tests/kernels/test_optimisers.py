"""What optimises is named as what it is, does what its formula says, and is never reported as a sample."""

import math

import pytest
import torch

import latentzoo as lz
from latentzoo import kernels
from latentzoo.errors import SpecError
from latentzoo.kernels.dno import improbability
from latentzoo.kernels.types import Function
from latentzoo.rng import Rng

from . import known

OPTIMISERS = [name for name in known.NAMES if not kernels.load(name).samples]
FAR = 256


def uphill(z):
    """A reward without end in one direction."""
    return -2 * z[:, :4].sum(1)


def test_they_are_these() -> None:
    assert set(OPTIMISERS) == {"adam", "reno", "dno", "bestofn"}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_none_is_reported_as_a_sample(name: str) -> None:
    result = lz.sample(Function(known.quadratic), dim=3, kernel=name, chains=4, steps=30)
    assert not result.diagnosis.trustworthy
    assert "its results are no samples" in " ".join(result.diagnosis.reasons)


def test_best_of_n_is_the_least_of_fresh_draws() -> None:
    seen = []

    def phi(z):
        seen.append(z.detach().clone())
        return known.quadratic(z)

    kernel = kernels.load("bestofn")
    walk = known.walked(phi, kernel, 1, 2, dim=3, steps=20)
    assert len(seen) == 1 + 60  # three draws a gradient
    every = torch.stack(seen)
    value = torch.stack([known.quadratic(z) for z in every])
    best = every[value.argmin(0), torch.arange(2)]
    assert torch.equal(walk.z, best)
    assert torch.unique(every[:, 0], dim=0).shape[0] == 61


def test_best_of_n_has_log_n_nats() -> None:
    """E min of N uniforms is 1 / (N + 1): the quantile of phi that is reached."""
    phi = lambda z: z[:, 0]
    walk = known.walked(phi, kernels.load("bestofn"), *range(400), dim=1, steps=10)
    quantile = torch.distributions.Normal(0.0, 1.0).cdf(walk.z[:, 0])
    assert quantile.mean().item() == pytest.approx(1 / 32, abs=4 / 32 / math.sqrt(400))


def test_dno_keeps_the_statistics_that_map_gives_up() -> None:
    away = {}
    for name, settings in {"adam": {}, "dno": {"gamma": 30.0}}.items():
        walk = known.walked(uphill, kernels.load(name, **settings), 1, 2, 3, dim=FAR, steps=300)
        away[name] = (walk.z.square().sum(1) / FAR - 1).abs().mean().item()
    assert away["dno"] < 0.35 < 0.9 < away["adam"]


def test_improbability_is_zero_for_draws_and_grows_away_from_them() -> None:
    z = Rng(*range(200)).normal(FAR).double()
    assert (improbability(z, 2) > 3).float().mean() < 4 * math.exp(-3)  # each bound twice e^-t
    shifted, wide = improbability(z + 0.5, 2), improbability(1.6 * z, 2)
    assert (shifted > 5).float().mean() > 0.9 and (wide > 5).float().mean() > 0.9
    mean = (z + 0.5).view(200, FAR // 2, 2).mean(1).square().sum(1)
    first = FAR // 2 * mean / 4 - math.log(2)
    torch.testing.assert_close(shifted, torch.maximum(first, shifted))


def test_dno_says_what_it_does_not_take() -> None:
    for settings in ({"piece": 0}, {"orders": 0}, {"gamma": -1.0}):
        with pytest.raises(SpecError):
            kernels.load("dno", **settings)
    with pytest.raises(SpecError, match="give piece=1"):
        known.walked(lambda z: z[:, 0], kernels.load("dno"), 1, dim=1, steps=3)
