"""A momentum of fixed length: the flow can be run backwards, errs as its order says, and arrives."""

import pytest
import torch
from torch import Tensor

from latentzoo import kernels
from latentzoo.errors import SpecError
from latentzoo.kernels.isokinetic import leapfrog, minimal_norm, on_sphere, turned
from latentzoo.kernels.mclmc import MCLMC
from latentzoo.kernels.types import Function, Point
from latentzoo.rng import Rng

from . import known

KAPPA = torch.logspace(0, 2, 24, dtype=torch.float64)


def stiff(z: Tensor) -> Tensor:
    """Curvatures from 1 to 100 in 24 of the coordinates; the posterior moments of phi are known."""
    return (KAPPA.to(z) * (z[:, :24] - 0.5).square()).sum(1) / 2


OFF2 = (0.5 / (1 + KAPPA)).square()
PHI = float((KAPPA * (1 / (1 + KAPPA) + OFF2)).sum() / 2)
SD = float((KAPPA**2 * (2 / (1 + KAPPA) ** 2 + 4 * OFF2 / (1 + KAPPA))).sum().sqrt() / 2)


def begun(chains: int = 8, dim: int = 64) -> tuple[Function, Point, Tensor, Rng]:
    rng, phi = Rng(*range(chains), dtype=torch.float64), Function(stiff)
    return phi, phi.evaluate(rng.normal(dim)), on_sphere(rng.normal(dim)), rng


@pytest.mark.parametrize("integrate", [leapfrog, minimal_norm])
def test_a_step_turned_round_leads_back(integrate) -> None:
    phi, here, p, _ = begun()
    h = torch.full((8,), 0.2, dtype=torch.float64)
    there = integrate(phi, here, p, h=h)
    back = integrate(phi, there.point, -there.p, h=h)
    assert torch.allclose(back.point.z, here.z, atol=1e-9)
    assert torch.allclose(back.p, -p, atol=1e-9)
    assert torch.allclose(back.work, -there.work, atol=1e-8)
    assert torch.allclose(there.p.square().sum(1), torch.full_like(h, 64))


@pytest.mark.parametrize("integrate", [leapfrog, minimal_norm])
def test_the_work_of_a_step_falls_as_its_cube(integrate) -> None:
    phi, here, p, _ = begun()
    work = lambda h: integrate(phi, here, p, h=torch.full((8,), h, dtype=torch.float64)).work
    ratio = work(0.001).abs().mean() / work(0.0005).abs().mean()
    assert float(ratio) == pytest.approx(8, rel=0.1)


def test_two_gradients_err_less_in_one_step_of_least_error_than_in_two_leapfrogs() -> None:
    phi, here, p, _ = begun(chains=64)
    h = torch.full((64,), 0.02, dtype=torch.float64)
    one = minimal_norm(phi, here, p, h=2 * h).work
    first = leapfrog(phi, here, p, h=h)
    two = first.work + leapfrog(phi, first.point, first.p, h=h).work
    assert float(one.abs().mean()) < 0.75 * float(two.abs().mean())


def test_the_turn_forgets_after_its_length() -> None:
    rng = Rng(*range(64), dtype=torch.float64)
    p = on_sphere(rng.normal(512))
    h, length = torch.full((64,), 0.7, dtype=torch.float64), torch.full((64,), 2.0)
    q = turned(p, rng.normal(512), h=h, length=length.double())
    kept = float((p * q).sum(1).mean() / 512)
    assert kept == pytest.approx(torch.tensor(-0.35).exp().item(), abs=0.02)


def test_a_slope_without_end_turns_and_does_not_break() -> None:
    phi = Function(lambda z: 1e15 * z[:, 0])
    rng = Rng(*range(4))
    move = minimal_norm(
        phi, phi.evaluate(rng.normal(3)), on_sphere(rng.normal(3)), h=torch.ones(4)
    )
    assert move.point.z.isfinite().all() and move.work.isfinite().all()
    assert (move.p[:, 0] < -1.7).all()


@pytest.mark.parametrize("name", sorted(known.ISOKINETIC))
def test_one_coordinate_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match="cannot turn in a latent of one number; take anneal"):
        known.walked(lambda z: z[:, 0] ** 2, kernels.load(name), 0, 1, dim=1, steps=8)


@pytest.mark.parametrize(("chains", "runs"), [(2, 4), (32, 1)])
@pytest.mark.parametrize("name", sorted(known.ISOKINETIC))
def test_it_arrives_from_the_prior_within_two_hundred_gradients(
    name: str, chains: int, runs: int
) -> None:
    found = []
    for run in range(runs):
        seeds = range(1000 * run, 1000 * run + chains)
        walk = known.walked(stiff, kernels.load(name), *seeds, dim=64, steps=200)
        half = len(walk.trace) // 2
        found.append(walk.trace.phi[half:].mean())
        assert len(set(walk.trace.step_size[half + 1 :, 0])) == 1
    assert abs(sum(found) / runs - PHI) / SD < 0.1 + 4 / (5 * chains * runs) ** 0.5


def test_the_length_of_decoherence_is_the_width_of_what_a_chain_sees() -> None:
    """All of 16 directions are a third as wide as the prior's."""
    walk = known.walked(lambda z: 4 * z.square().sum(1), MCLMC(), *range(16), dim=16, steps=800)
    length = walk.here.state.length
    assert float(length.mean()) == pytest.approx(1 / 3, rel=0.15)
    given = known.walked(stiff, MCLMC(length=0.7), *range(2), dim=64, steps=40)
    assert given.here.state.length.tolist() == pytest.approx([0.7, 0.7])
