"""Mixtures tilted by a reward: the benchmark's closed form is right, and trusted weights of modes are too."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import tilted
from tilted import TILTED, Tilted

NAMED = {target.name: target for target in TILTED}


@pytest.mark.parametrize("target", TILTED, ids=lambda target: target.name)
def test_the_closed_form_is_that_of_quadrature(target: Tilted) -> None:
    """The posterior of z by quadrature: its weights of modes, and a gradient that is that of differences."""
    u = torch.linspace(-8, 8, 16_001).double()
    z = torch.cat([u[:, None], torch.zeros(len(u), target.dim - 1)], dim=1).double()
    p = (-target.phi(z) - u.square() / 2).softmax(0)
    x, m = target.map(z)[:, None], torch.tensor(target.means)
    log_w = torch.tensor(target.weights).log() - ((x - m) / target.sd).square() / 2
    assert torch.allclose(p @ log_w.softmax(1).double(), target.truth, atol=1e-3)
    z = z[4100:12_001:500].requires_grad_()
    (slope,) = torch.autograd.grad(target.map(z).sum(), z)
    step = torch.zeros_like(z)
    step[:, 0] = 1e-5
    ratio = (target.map(z + step) - target.map(z - step)) / 2e-5
    assert torch.allclose(slope[:, 0], ratio, rtol=1e-4)


@pytest.mark.parametrize(
    "name", ["two, .9 : .1, reward on the rare", "three, reward on the middle"]
)
def test_trusted_weights_of_modes_are_right(name: str) -> None:
    # At 120 steps chains still jump one way in the tested ones (23 down, 5 up), and half of the runs are refused.
    row = tilted.judged(NAMED[name], "auto", chains=64, steps=200, seeds=4)
    assert row.trusted >= 3 and row.off < tilted.LIMIT + 2 * row.noise, str(row)
