"""The strength of guidance in nats, against closed form on linear-Gaussian posteriors."""

import pytest
import torch
from torch import Tensor

import latentzoo as lz
from latentzoo.errors import SpecError
from latentzoo.kernels.types import Function
from latentzoo.run.progress import climbed
from latentzoo.run.strength import find, measure


class Gaussian:
    """Creates the energy sum kappa (z - c)^2 / 2 of the first coordinates, with a known strength."""

    def __init__(self, informed: int, low: float, high: float) -> None:
        self.kappa = torch.logspace(low, high, informed)
        self.centre = torch.linspace(-1.5, 1.5, informed)

    def __call__(self, z: Tensor) -> Tensor:
        return (self.kappa * (z[:, : len(self.kappa)] - self.centre).square()).sum(1) / 2

    def truth(self, factor: float) -> float:
        """KL(posterior || prior), the sum of (log(1 + k) + 1/(1 + k) - 1 + m^2) / 2."""
        kappa = factor * self.kappa.double()
        mean = kappa * self.centre / (1 + kappa)
        return float((kappa.log1p() + 1 / (1 + kappa) - 1 + mean.square()).sum() / 2)


SMALL = Gaussian(16, 0, 1.5)


@pytest.mark.parametrize("factor", [0.3, 1.0, 8.0])
def test_the_strength_is_right_to_five_per_cent(factor: float) -> None:
    found = measure(Function(lambda z: factor * SMALL(z)), dim=48)
    assert found.factor == 1
    assert found.nats == pytest.approx(SMALL.truth(factor), rel=0.05)
    assert abs(found.nats - SMALL.truth(factor)) < 4 * found.error


@pytest.mark.parametrize(("nats", "weight"), [(1.0, 1.0), (4.0, 50.0), (12.0, 0.01), (30.0, 1.0)])
def test_the_factor_for_a_strength_is_found_from_any_weight(nats: float, weight: float) -> None:
    """One search may be off by 3 per cent (standard deviation), so the law is that of several."""
    phi = Function(lambda z: weight * SMALL(z))
    found = [find(phi, nats, dim=48, seed=seed) for seed in range(3)]
    assert {each.nats for each in found} == {nats}
    true = [SMALL.truth(each.factor * weight) for each in found]
    assert sum(true) / len(true) == pytest.approx(nats, rel=0.05)
    assert all(each.error < 0.04 * nats for each in found)


@pytest.mark.parametrize("nats", [1.0, 40.0])
@pytest.mark.parametrize(
    "energy", [Gaussian(192, 0, 1.5), Gaussian(512, -1, 1), Gaussian(512, 0, 2)]
)
def test_one_search_is_right_in_many_dimensions(energy: Gaussian, nats: float) -> None:
    found = find(Function(energy), nats, dim=512)
    assert energy.truth(found.factor) == pytest.approx(nats, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("nats", [1.0, 4.0, 12.0, 40.0])
@pytest.mark.parametrize("energy", [Gaussian(192, 0, 1.5), Gaussian(4096, -1, 1)])
def test_one_search_is_right_in_four_thousand_dimensions(energy: Gaussian, nats: float) -> None:
    found = find(Function(energy), nats, dim=4096)
    assert energy.truth(found.factor) == pytest.approx(nats, rel=0.05)


def test_a_weak_energy_is_measured_by_draws_of_the_prior_alone() -> None:
    found = measure(Function(lambda z: 0.008 * SMALL(z)), dim=48)
    assert 0 < SMALL.truth(0.008) < 0.25
    assert found.nats == pytest.approx(SMALL.truth(0.008), rel=0.1)


def test_what_cannot_be_found_is_refused() -> None:
    half = Function(lambda z: torch.sigmoid(20 * z[:, 0]))
    # Weights of hundreds make a cliff of it: which of both is said there is a matter of rounding.
    with pytest.raises(SpecError, match=r"5 nats (are out of reach|cannot be found): at .* times"):
        find(half, 5.0, dim=2)
    with pytest.raises(SpecError, match="give a positive one"):
        find(half, 0.0, dim=2)
    with pytest.raises(SpecError, match="give at least 64"):
        measure(half, dim=2, chains=8)
    with pytest.raises(SpecError, match=r"is known to .* nats only"):
        find(half, 5.0, dim=2, steps=40)


def test_the_search_counts_its_gradients_and_can_be_stopped(capsys: pytest.CaptureFixture) -> None:
    seen = []
    find(Function(SMALL), 2.0, dim=16, steps=100, watch=lambda *now: seen.append(now))
    done = [each[0] for each in seen]
    assert done == sorted(done) and 98 < done[-1] <= 100 and {each[1] for each in seen} == {100}
    assert "nats at" in seen[-1][2]

    def stop(done: float, total: int, note: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find(Function(SMALL), 2.0, dim=16, watch=stop)


def test_the_search_writes_lines_into_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("latentzoo.run.progress.EVERY", 0.0)
    with climbed() as watch:
        watch(12.3, 100, "1.5 nats at 0.1 of the weights")
    assert "gradient 12 of 100  1.5 nats" in capsys.readouterr().err


def test_a_sample_of_a_strength_says_what_was_found() -> None:
    result = lz.sample(SMALL, dim=16, chains=8, steps=100, strength=3.0, progress=False)
    (note,) = [note for note in result.diagnosis.notes if "nats of guidance" in note]
    assert note.startswith("3 ± 0.") and "the weights were multiplied by" in note
