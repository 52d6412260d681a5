"""The Levy benchmark: its map is the law of the increments, its reference is exact, its numbers see what is wrong."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import levy
from gibbs import covariance, gibbs, indicators
from processes import INCREMENTS, OPERATORS, Increment, Laplace, Problem, operator

EACH = pytest.mark.parametrize("law", INCREMENTS, ids=lambda law: law.name)
ATOM = Laplace(share=0.1, name="Bernoulli-Laplace")


def slope(law: Increment, z: Tensor) -> Tensor:
    z = z.clone().requires_grad_()
    return torch.autograd.grad(law.quantile(z).sum(), z)[0]


@EACH
def test_the_quantile_carries_the_gaussian_to_the_law(law: Increment) -> None:
    """Where it moves, du/dz f(u) is the density of z, and it runs through zero as oddly as z does; far out, too."""
    z = torch.linspace(0.013, 8.5, 4001).double()
    u, du = law.quantile(z), slope(law, z)
    moved = u != 0
    assert bool(moved.all()) == (law.share == 1)
    log_density = -z.square() / 2 - torch.log(torch.tensor(2 * torch.pi)) / 2
    assert torch.allclose(
        (du.log() + law.log_prob(u) - log_density)[moved], torch.zeros(()).double(), atol=1e-7
    )
    assert torch.equal(law.quantile(-z), -u)
    middle = (z[1:] + z[:-1])[moved[:-1]] / 2
    ratio = u.diff()[moved[:-1]] / (slope(law, middle) * z.diff()[0])
    assert (ratio - 1).abs().max() < 1e-2  # it is the integral of its slope
    start = z[moved][0] - u[moved][0] / du[moved][0]
    assert float(start) == pytest.approx(0.0 if law.share == 1 else 1.6449, abs=2e-3)


def test_operators_keep_what_they_say() -> None:
    made = {name: operator(name) for name in OPERATORS}
    assert torch.allclose(made["convolution"].sum(1), torch.ones(64).double())
    for name in ("sampling", "fourier"):
        a = made[name]
        assert torch.allclose(a @ a.T, torch.eye(len(a)).double(), atol=1e-7) and len(a) < 40
    x = torch.randn(64, generator=torch.Generator().manual_seed(1)).double()
    wave = torch.fft.rfft(x, norm="ortho")
    assert torch.allclose(
        (made["fourier"] @ x)[:5], wave.real[:5] * torch.tensor([1, 2, 2, 2, 2]).sqrt()
    )
    assert made["sampling"][-1, -1] == 1


def test_gibbs_is_the_closed_form_where_increments_are_gaussian() -> None:
    problem = Problem.make(INCREMENTS[0], operator("fourier")[:, :24], 2)
    h, y = problem.seen, problem.y
    precision = h.T @ h / problem.noise**2 + torch.eye(24).double() / 0.25
    mean = torch.linalg.solve(precision, h.T @ y[1] / problem.noise**2)
    drawn = gibbs(problem, chains=400, sweeps=10, burn=0)[1].flatten(0, 1)
    white = (drawn - mean) @ torch.linalg.cholesky(precision)
    assert white.mean(0).abs().max() < 4.5 / len(white) ** 0.5
    assert (white.T @ white / len(white) - torch.eye(24)).abs().max() < 6 / len(white) ** 0.5


@EACH
def test_gibbs_is_quadrature_for_two_increments(law: Increment) -> None:
    """The moments of both increments, and the probability that one is exactly zero, by sums over a grid."""
    a = torch.tensor([[0.3, 1.0]]).double()
    problem = Problem(
        law,
        a.flip(1).cumsum(1).flip(1),
        0.5,
        torch.zeros(1, 2).double(),
        torch.tensor([[1.5]]).double(),
    )
    z = torch.linspace(-6, 6, 601).double()
    grid = torch.cartesian_prod(z, z)
    weight = (-problem.misfit(law.quantile(grid), 0) - grid.square().sum(1) / 2).softmax(0)
    parts = lambda u: (u.tanh(), (u == 0).double(), (u.abs() < 0.2).double(), (u / 5).tanh().abs())
    seen = lambda u: torch.cat([*parts(u), u.tanh().prod(1, keepdim=True)], 1)
    mean = weight @ seen(law.quantile(grid))
    sd = (weight @ (seen(law.quantile(grid)) - mean).square()).sqrt()
    drawn = gibbs(problem, chains=3000, sweeps=12, burn=60, every=4)[0]
    error = (seen(drawn.flatten(0, 1)).mean(0) - mean) / (sd + 1e-9)
    assert error.abs().max() < 4.5 / 3000**0.5, (error, mean)
    assert bool(mean[2] > 0.4) == (law.share < 1)


def test_indicators_of_a_long_signal_are_those_of_all_combinations() -> None:
    """Eight increments of known variances: the probability of each of the 256 patterns is a Gaussian's density."""
    problem = Problem.make(ATOM, operator("identity")[:, :8][:8], 1)
    v = torch.linspace(0.3, 3, 8).double()
    patterns = torch.cartesian_prod(*[torch.tensor([False, True])] * 8)
    log_p = torch.stack(
        [
            torch.distributions.MultivariateNormal(
                torch.zeros(8).double(), covariance(problem, v * b)
            ).log_prob(problem.y[0])
            + b.sum() * torch.tensor(0.1 / 0.9).log()
            for b in patterns
        ]
    )
    truth = log_p.softmax(0) @ patterns.double()
    draw, b = torch.Generator().manual_seed(0), torch.ones(2000, 8, dtype=torch.bool)
    for _ in range(12):
        b = indicators(problem, problem.y.expand(2000, -1), v.expand(2000, -1), b, draw)
    assert (b.double().mean(0) - truth).abs().max() < 4.5 * 0.5 / 2000**0.5


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1.4, 0.0), (1.0, 0.2)])
def test_the_numbers_see_what_is_wrong(scale: float, shift: float) -> None:
    """Exact draws have no gap and cover 0.9; wider ones cover more, moved ones have a gap."""
    problem = Problem.make(INCREMENTS[0], operator("identity"), 1)
    exact = gibbs(problem, chains=4, sweeps=1000, burn=0)[0]
    other = gibbs(problem, chains=1, sweeps=1000, burn=0, seed=1)[0, 0]
    mean = exact.flatten(0, 1).mean(0)
    other = mean + scale * (other - mean) + shift * other.std(0)
    gap, coverage, _ = levy.judged(problem, 0, other, exact)
    assert (gap < 0.02) == (shift == 0)
    assert (abs(coverage - 0.9) < 0.03) == (scale == 1 and shift == 0)


def test_a_short_process_is_sampled_and_trusted() -> None:
    law = INCREMENTS[1]
    problem = Problem.make(law, operator("identity")[:10, :10], 1)
    exact = gibbs(problem, chains=4, sweeps=600, burn=100)[0]
    result = levy.run(problem, 0, kernel="auto", chains=128, steps=240)
    gap, coverage, _ = levy.judged(problem, 0, levy.tail(result, law), exact)
    assert result.diagnosis.trustworthy, result.diagnosis
    assert gap < levy.GAP and abs(coverage - levy.LEVEL) < 3 * (0.09 / 128) ** 0.5
