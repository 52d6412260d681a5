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
    assert set(OPTIMISERS) == {"adam", "reno", "dno", "bestofn", "fk"}


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
    for name, settings in {"adam": {}, "dno": {"gamma": 30.0, "piece": 2}}.items():
        walk = known.walked(uphill, kernels.load(name, **settings), 1, 2, 3, dim=FAR, steps=300)
        away[name] = (walk.z.square().sum(1) / FAR - 1).abs().mean().item()
    assert away["dno"] < 0.35 < 0.9 < away["adam"]


def test_dno_depends_on_the_ratio_of_phi_to_gamma_alone() -> None:
    ends = [
        known.walked(
            lambda z, c=c: c * uphill(z), kernels.load("dno", gamma=c), 1, 2, dim=64, steps=40
        ).z
        for c in (2.0, 200.0)
    ]
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-4, atol=1e-4)


def _numbers(wide: float, shift: float) -> torch.Tensor:
    """Numbers that need no generator: the same on every machine, (1, 256)."""
    return (wide * torch.arange(1, FAR + 1).double().square().sin() + shift)[None]


@pytest.mark.parametrize(
    ("wide", "shift", "value", "slope"),
    [
        (1.0, 0.5, 8.09195567254658, 2.095841460262026),
        (2.0, 0.0, 3.6199257181180826, 2.8933561432996293),
        (1.8, 0.4, 9.455858389591238, 4.1365987831948665),
        (1.414, 0.0, 0.22982843596640357, 0.6793289396626455),
    ],
)
def test_improbability_is_that_of_the_official_code(
    wide: float, shift: float, value: float, slope: float
) -> None:
    """The figures are those of compute_probability_regularization of TZW1998/Direct-Noise-Optimization in 64 bits, its
    random orders replaced by the own one, halved, and two log 2 less, which it leaves in."""
    z = _numbers(wide, shift).requires_grad_()
    mine = improbability(z, 4)
    torch.testing.assert_close(mine.item(), value, rtol=1e-12, atol=1e-12)
    norm = torch.autograd.grad(mine.sum(), z)[0].norm().item()
    torch.testing.assert_close(norm, slope, rtol=1e-9, atol=0)


def test_improbability_is_small_for_draws_and_grows_away_from_them() -> None:
    z = Rng(*range(200)).normal(FAR).double()
    assert (improbability(z, 4) > 3).float().mean() < 4 * math.exp(-3)  # each bound twice e^-t
    shifted, wide = improbability(z + 0.6, 4), improbability(1.8 * z, 4)
    assert (shifted > 5).float().mean() > 0.9 and (wide > 5).float().mean() > 0.9


def test_dno_says_what_it_does_not_take() -> None:
    for settings in ({"piece": 0}, {"orders": 0}, {"gamma": -1.0}):
        with pytest.raises(SpecError):
            kernels.load("dno", **settings)
