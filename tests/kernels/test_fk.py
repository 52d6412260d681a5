"""Steering by particles: many of them, or many sweeps of few, go from the prior to the posterior, and Z is unbiased."""

import pytest
import torch
from torch import Tensor

from latentzoo.kernels.fk import FK
from latentzoo.kernels.types import Function, Point, Potential
from latentzoo.rng import Rng

from . import known
from .test_invariance import off

STIFF = torch.tensor([[4.0, 2.0, 0.0], [2.0, 4.0, 2.0], [0.0, 2.0, 4.0]])
"""What the parts say of each other: parts that say nothing could be exchanged between particles."""
ROOT = torch.linalg.cholesky(torch.eye(3) + STIFF)
MEAN = torch.linalg.solve(torch.eye(3) + STIFF, STIFF.sum(1))
SLOPE = STIFF.sum(1)
LOG_Z = float(SLOPE @ MEAN / 2 - SLOPE.sum() / 2 - ROOT.diagonal().log().sum())


def steep(z: Tensor) -> Tensor:
    """The potential of a Gaussian posterior of mean `MEAN` and precision `ROOT ROOT'`."""
    return torch.einsum("bi,ij,bj->b", z - 1, STIFF, z - 1) / 2


def apart(z: Tensor) -> float:
    """How far draws are from that posterior, in standard errors."""
    return off((z - MEAN) @ ROOT, torch.zeros(3), torch.ones(3))


@pytest.mark.parametrize(
    ("stages", "particles", "sweeps"), [(1, 400, 1), (2, 400, 1), (3, 400, 1), (3, 4, 150)]
)
def test_they_go_from_the_prior_to_the_posterior(stages: int, particles: int, sweeps: int) -> None:
    rng = Rng(*range(2000))
    start = rng.normal(3)
    end = known.moved(FK(stages, particles), Function(steep), start, rng, sweeps)
    assert apart(end) < 4 < 40 < apart(start)


@pytest.mark.parametrize(("stages", "particles"), [(1, 8), (2, 3), (3, 2), (5, 2)])
def test_the_estimate_of_z_is_unbiased(stages: int, particles: int) -> None:
    rng = Rng(*range(20_000))
    _, log_z = FK(stages, particles).sweep(Function(steep), rng, torch.zeros(20_000, 3))
    z = (log_z - LOG_Z).exp()
    assert abs(float(z.mean()) - 1) < 4 * float(z.std()) / len(z) ** 0.5 < 0.4


@pytest.mark.parametrize(("bad", "share"), [(torch.inf, 0.5), (torch.nan, 0.5), (torch.inf, 0.05)])
def test_particles_of_no_energy_have_no_weight(bad: float, share: float) -> None:
    """With a share of the prior alone allowed, the chains still go to the posterior, which is the prior there."""
    level = torch.distributions.Normal(0, 1).icdf(torch.tensor(1 - share))

    def walled(z: Tensor) -> Tensor:
        return torch.where(z[:, 0] > level, 0 * z[:, 0], bad)

    kernel, phi, rng = FK(3, 4), Function(walled), Rng(*range(2000))
    start = rng.normal(3)
    state = kernel.init(phi, start, rng)
    sweeps = 80
    for _ in range(sweeps):
        state, _ = kernel.step(phi, state, rng)
    assert state.phi.isfinite().all() and bool((state.z[:, 0] > level).all())
    assert off(state.z[:, 1:], torch.zeros(2), torch.ones(2)) < 4
    mass = (state.log_z.exp() / sweeps).mean()
    assert float(mass) == pytest.approx(share, rel=0.05)


def test_a_sweep_without_any_energy_is_not_taken() -> None:
    nowhere = Function(lambda z: z[:, 0] * 0 + torch.inf)
    kernel, rng = FK(2, 4), Rng(1, 2)
    start = rng.normal(3)
    state = kernel.init(nowhere, start, rng)
    for _ in range(3):
        state, _ = kernel.step(nowhere, state, rng)
    assert torch.equal(state.z, start) and state.log_z.isneginf().all()
    state, _ = kernel.step(Function(steep), state, rng)
    assert state.phi.isfinite().all() and not torch.equal(state.z, start)


def test_a_sweep_costs_a_forward_pass_for_each_particle_and_stage() -> None:
    seen: list[tuple[int, bool]] = []

    class Watched(Potential):
        def evaluate(self, z: Tensor, *, gradient: bool = True) -> Point:
            seen.append((int((z == 0).sum()), gradient))
            return Function(steep).evaluate(z, gradient=gradient)

    kernel, rng = FK(3, 4), Rng(1)
    kernel.step(Watched(), kernel.init(Function(steep), rng.normal(3), rng), rng)
    assert len(seen) == 12 == 3 * kernel.gradients
    assert seen == [(2, False)] * 4 + [(1, False)] * 4 + [(0, False)] * 4  # what is to come is 0
