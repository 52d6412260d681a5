"""The strength of guidance in nats, against closed form on linear-Gaussian posteriors."""

import pytest
import torch
from torch import Tensor

from latentzoo.errors import SpecError
from latentzoo.kernels.types import Function
from latentzoo.run.strength import find, measure

KAPPA = torch.logspace(0, 1.5, 16)
CENTRE = torch.linspace(-1.5, 1.5, 16)


def energy(z: Tensor) -> Tensor:
    return (KAPPA * (z[:, :16] - CENTRE).square()).sum(1) / 2


def truth(factor: float) -> float:
    """KL(posterior || prior), the sum of (log(1 + k) + 1/(1 + k) - 1 + m^2) / 2."""
    kappa = factor * KAPPA.double()
    mean = kappa * CENTRE / (1 + kappa)
    return float((kappa.log1p() + 1 / (1 + kappa) - 1 + mean.square()).sum() / 2)


@pytest.mark.parametrize("factor", [0.3, 1.0, 8.0])
def test_the_strength_is_right_to_five_per_cent(factor: float) -> None:
    found = measure(Function(lambda z: factor * energy(z)), dim=48)
    assert found.factor == 1
    assert found.nats == pytest.approx(truth(factor), rel=0.05)


@pytest.mark.parametrize(("nats", "weight"), [(4.0, 50.0), (12.0, 0.01), (30.0, 1.0)])
def test_the_factor_for_a_strength_is_found_from_any_weight(nats: float, weight: float) -> None:
    """One search is off by 3 per cent (standard deviation), so the law is that of several."""
    phi = Function(lambda z: weight * energy(z))
    found = [find(phi, nats, dim=48, seed=seed) for seed in range(8)]
    assert {each.nats for each in found} == {nats}
    true = [truth(each.factor * weight) for each in found]
    assert sum(true) / len(true) == pytest.approx(nats, rel=0.05)


def test_what_cannot_be_found_is_refused() -> None:
    half = Function(lambda z: torch.sigmoid(20 * z[:, 0]))
    with pytest.raises(SpecError, match=r"5 nats are out of reach: at .* times these weights"):
        find(half, 5.0, dim=2, steps=40)
    with pytest.raises(SpecError, match="give a positive one"):
        find(half, 0.0, dim=2)
    with pytest.raises(SpecError, match="give at least 64"):
        measure(half, dim=2, chains=8)
