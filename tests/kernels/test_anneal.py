"""The default: it arrives from the prior in 200 gradients, alone or in a batch, and says so."""

import gc
import re

import numpy as np
import pytest
import torch
from torch import Tensor

from latentzoo.diagnosis.verdict import diagnose
from latentzoo.kernels.adapt import HASTE, conditional_ess, haste, raise_temperature, temperature
from latentzoo.kernels.anneal import Anneal
from latentzoo.kernels.baoab import baoab
from latentzoo.kernels.smc import SMC, SMCState, resample, reweight
from latentzoo.kernels.types import Function
from latentzoo.rng import Rng
from latentzoo.run.walk import Walk

from . import known

KAPPA = torch.logspace(0, 2.5, 24)


def stiff(z: Tensor) -> Tensor:
    """Curvatures from 1 to 316 in 24 of the coordinates; the mean of phi is known."""
    return (KAPPA * (z[:, :24] - 0.5).square()).sum(1) / 2


OFF2 = (0.5 / (1 + KAPPA)).square()
PHI = float((KAPPA * (1 / (1 + KAPPA) + OFF2)).sum() / 2)
SD = float((KAPPA**2 * (2 / (1 + KAPPA) ** 2 + 4 * OFF2 / (1 + KAPPA))).sum().sqrt() / 2)


def test_a_step_that_overflows_is_never_one_downhill() -> None:
    """Momenta of twelve powers of ten in a quartic well: work that float32 cannot hold is infinite, not negative."""
    phi = Function(lambda z: 2 * (z[:, 0].square() - 1).square())
    z, p = torch.meshgrid(torch.logspace(0, 4, 9), torch.logspace(0, 12, 13), indexing="ij")
    start, p = torch.stack([z, -z]).reshape(-1, 1), p.repeat(2, 1, 1).reshape(-1, 1)
    step = lambda x, p: baoab(phi, phi.evaluate(x), p, None, h=0.7, beta=1.0)
    rough, exact = step(start, p), step(start.double(), p.double()).work
    held = rough.point.phi.isfinite() & rough.point.grad.isfinite()[:, 0]
    assert (exact[held] > 1e38).any() and not rough.work[held].isnan().any()
    assert (rough.work[held & (exact > 100)] > 0).all()


@pytest.mark.parametrize("steepness", [1e16, 1e18, 1e19])
def test_a_slope_whose_length_overflows_takes_no_chain_along(steepness: float) -> None:
    """Lengths of gradients overflow in float32 at 2e19, far below the gradients themselves."""
    wall = lambda z: steepness * torch.relu(z[:, 0] - 1) ** 4 + z.square().sum(1) / 2
    walk = known.walked(wall, Anneal(), *range(16), dim=16, steps=80)
    assert not walk.here.failures and walk.z.isfinite().all()


@pytest.mark.parametrize(("chains", "runs"), [(1, 4), (3, 2), (8, 2), (32, 1)])
def test_it_arrives_within_two_hundred_gradients(chains: int, runs: int) -> None:
    ends, accepts = [], []
    for run in range(runs):
        seeds = range(1000 * run, 1000 * run + chains)
        walk = known.walked(stiff, Anneal(), *seeds, dim=64, steps=200)
        ends.append(walk.trace.phi[150:].mean())
        accepts.append(walk.trace.accept[151:].mean())
    error = (np.mean(ends) - PHI) / SD
    assert abs(error) < 4 / np.sqrt(3 * chains * runs)
    assert min(accepts) > 0.7


def test_the_step_is_frozen_before_samples_are_kept_and_a_given_one_is_obeyed() -> None:
    kernel = Anneal(precondition="none")
    walk = known.walked(stiff, kernel, *range(16), dim=64, steps=200)
    h = walk.trace.step_size[:, 0]
    assert len(np.unique(h[110:150])) == 1 and len(np.unique(h[150:])) == 1
    assert len(np.unique(h[1:60])) > 30
    assert (walk.trace.beta[1:, 0] < 1).sum() > 5 and (walk.trace.beta[81:] == 1).all()
    given = known.walked(stiff, Anneal(step_size=0.07), *range(16), dim=64, steps=60)
    assert (given.trace.step_size[1:] == np.float32(0.07)).all()


def test_while_phi_works_a_run_holds_two_places_two_momenta_and_a_gradient() -> None:
    """The start is no more than a place in the noise, and what is redrawn or put back is not there twice."""
    held = []

    def counted(z: Tensor) -> Tensor:
        places = [x.untyped_storage().data_ptr() for x in gc.get_objects() if is_latent(x)]
        held.append(len(set(places)))
        return 40 * z[:, :1].square().sum(1)

    is_latent = lambda x: type(x) is Tensor and x.shape == (2, 1013)
    walk = Walk(Function(counted), Anneal(), Rng(0, 1), steps=40)
    walk.begin(walk.draw(1013))
    list(map(len, walk))  # no frame is kept
    assert np.nanmin(walk.trace.accept[1:]) < 1  # some were put back
    assert max(held) == 5 + 1  # types are checked in tests, which holds the noise
    assert walk.start is not None and torch.equal(walk.start, Rng(0, 1).normal(1013))


def test_a_refused_step_turns_its_momentum_round() -> None:
    rng, phi = Rng(*range(16)), Function(lambda z: 30 * (5 * z).cos().sum(1))
    kernel = Anneal(step_size=1.0, tail=1.0).plan(40)
    old = kernel.init(phi, rng.normal(8), rng)
    new, _ = kernel.step(phi, old, rng)
    refused = (new.z == old.z).all(1)
    assert 0 < refused.sum() < 16
    assert torch.equal(new.p[refused], -old.p[refused])


def test_a_wild_chain_is_put_back_and_reported() -> None:
    def cliff(z: Tensor) -> Tensor:
        return z[:, 0] ** 2 / 2 + torch.where(z[:, 0] > 0.5, 1e6 * (z[:, 0] - 0.5), 0.0)

    kernel = Anneal(step_size=0.5, tail=0.0, ramp=0.05)
    walk = known.walked(cliff, kernel, *range(16), dim=2, steps=60)
    assert (walk.trace.accept == 0).any()
    assert walk.z.isfinite().all() and not walk.here.failures


def test_one_phase_ends_where_the_next_begins_even_in_short_runs() -> None:
    for steps in (1, 2, 5, 20, 40):
        walk = known.walked(stiff, Anneal(), *range(8), dim=64, steps=steps)
        assert walk.z.isfinite().all() and len(walk.trace) == steps + 1


def walls(z: Tensor) -> Tensor:
    """Flat behind a wall in each of two coordinates, as a classifier's energy is once it is content."""
    return 10 * torch.nn.functional.softplus(-30 * (z[:, :2] - 1)).sum(1)


def test_a_flat_energy_with_walls_is_sampled_with_steps_that_fit_and_trusted() -> None:
    """Truth by quadrature; sd(W) is a multiple of sd(phi), since few steps hit a wall, but hard.

    Each hit heats a chain, and the tested steps of a short run are too few to let it cool.
    """
    x = torch.linspace(-5, 8, 200_001, dtype=torch.float64)
    each = 10 * torch.nn.functional.softplus(-30 * (x - 1))
    p = (-each - x.square() / 2).softmax(0)
    mean, sd = 2 * float(p @ each), (2 * float(p @ each.square() - (p @ each) ** 2)) ** 0.5
    runs = [
        known.walked(walls, Anneal(), *range(first, first + 16), dim=64, steps=80)
        for first in (0, 100, 200, 300)
    ]
    found = [diagnose(run.trace, run.z, kernel=run.kernel, state=run.here.state) for run in runs]
    over = lambda x: np.mean([x(run.trace)[45:60].std(1).mean() for run in runs])
    assert over(lambda trace: trace.error) > 2 * over(lambda trace: trace.phi)
    for walk, each in zip(runs, found, strict=True):
        assert each.work is not None and each.work < 0.4
        others = [reason for reason in each.reasons if not re.search("groups|still move", reason)]
        assert not others
        assert walk.trace.step_size[50, 0] > 0.04
    assert sum(any("have heated" in test for test in each.missing) for each in found) > 1
    end = np.concatenate([run.trace.phi[61:] for run in runs], axis=1)
    assert abs(end.mean() - mean) < 3 * sd / 64**0.5
    cool = known.walked(walls, Anneal(), *range(100, 116), dim=64, steps=400)
    assert diagnose(cool.trace, cool.z, kernel=cool.kernel, state=cool.here.state).trustworthy
    long = known.walked(walls, Anneal(step_size=0.6, tail=0.0), *range(16), dim=64, steps=80)
    assert any("untested steps err" in r for r in _reasons(long))


def _reasons(walk: Walk) -> tuple[str, ...]:
    state = walk.here.state
    return diagnose(walk.trace, walk.z, kernel=walk.kernel, state=state).reasons


def test_momentum_along_the_gradient_is_cut_before_the_half_only() -> None:
    """Chains that fall down a long slope are not thrown far beyond its foot."""
    slope = lambda z: 100 * torch.relu(2 - z[:, 0])
    walk = known.walked(slope, Anneal(), *range(16), dim=16, steps=80)
    assert walk.trace.norm2[25:].max() < 16 + 4 + 60


def test_a_slope_of_any_steepness_throws_no_chain_away() -> None:
    """The map of a heavy tail: where it starts, its slope is a million times that of the posterior."""
    steep = lambda z: 50 * ((3 * z).exp().sum(1) - 8).square()
    walk = known.walked(steep, Anneal(), *range(32), dim=8, steps=200)
    assert not walk.here.failures and walk.z.abs().max() < 5
    assert walk.trace.norm2.max() < 40


@pytest.mark.parametrize("slope", [1e2, 1e3, 1e4])
def test_no_chain_is_put_back_for_ever(slope: float) -> None:
    cliff = lambda z: slope * torch.relu(z[:, 0] - 1)
    walk = known.walked(cliff, Anneal(), *range(16), dim=6, steps=200)
    assert walk.trace.phi[-1].max() < 10


@pytest.mark.parametrize("longest", [0.5, 1e9])
def test_a_kick_is_cut_to_its_length_and_else_left_alone(longest: float) -> None:
    phi, rng = Function(lambda z: 3 * z.square().sum(1)), Rng(*range(6))
    here, p = phi.evaluate(rng.normal(4)), rng.normal(4)
    h, beta = torch.full((6,), 0.7), torch.ones(6)
    plain = baoab(phi, here, p.clone(), None, h=h, beta=beta)
    cut = baoab(phi, here, p.clone(), None, h=h, beta=beta, longest=longest)
    flow = baoab(phi, here, p.clone(), None, h=h, beta=0 * beta)
    moved = (cut.point.z - flow.point.z).norm(dim=1) / torch.sin(h)
    assert (moved <= 0.5 + 1e-5).all() == (longest == 0.5)
    assert torch.equal(cut.point.z, plain.point.z) == (longest > 1)
    assert torch.equal(cut.work, plain.work) == (longest > 1)
    assert torch.equal(cut.point.grad, phi.evaluate(cut.point.z).grad)


def test_steps_hurry_where_energies_hardly_change_beside_how_far_they_are_apart() -> None:
    apart = torch.linspace(0, 300, 32, dtype=torch.float64)
    drawn = apart[Rng(3).uniform(32)[0].argsort()]
    assert haste(apart, drawn) == 1, "new draws of the same law"
    falls = [haste(apart, apart - change) for change in (1.0, 20.0, 40.0, 60.0, 100.0)]
    assert falls[0] == HASTE and falls[-1] == 1 and falls == sorted(falls, reverse=True)
    assert falls[2] == pytest.approx(0.8 * float(apart.std()) / 40, rel=1e-3)
    assert haste(0 * apart, 0 * apart) <= HASTE


def test_the_ramp_keeps_the_sample_size_and_lands_in_time() -> None:
    phi = torch.linspace(0, 40, 64).double()
    beta = raise_temperature(phi, 0.0, cess=0.5, left=10)
    assert conditional_ess(phi, beta, torch.full_like(phi, 1 / 64)) == pytest.approx(0.5, abs=1e-6)
    assert raise_temperature(1e-9 * phi, 0.3, cess=0.5, left=10) == 1
    beta, huge = 1e-12, 1e9 * phi
    for left in range(50, 0, -1):
        beta = raise_temperature(huge, beta, cess=0.5, left=left)
    assert beta == 1
    few = temperature(phi[:2], torch.zeros(2), clock=30, cess=0.5, steps=80)
    assert few.tolist() == [0.25, 0.25]


def population(chains: int) -> tuple[SMCState, Rng]:
    rng = Rng(*range(chains), dtype=torch.float64)
    return SMC().init(Function(stiff), 0.1 * rng.normal(64), rng), rng


def test_weights_are_carried_until_chains_are_resampled() -> None:
    """Two rises in temperature weigh as one: nothing is lost where no resampling fires."""
    state, rng = population(64)
    once = reweight(state, 0.02)
    twice = reweight(resample(reweight(state, 0.01), rng), 0.02)
    assert torch.equal(twice.ancestor, state.ancestor)
    assert torch.allclose(twice.log_w.softmax(0), once.log_w.softmax(0), atol=1e-12)
    assert torch.allclose(twice.log_z, once.log_z, atol=1e-9)
    truth = (-0.02 * state.phi).logsumexp(0) - np.log(64)
    assert torch.allclose(once.log_z, truth, atol=1e-9)


def test_chains_are_drawn_in_proportion_to_their_weights() -> None:
    state, rng = population(64)
    w = torch.linspace(0, 1, 64, dtype=torch.float64) ** 4
    drawn = resample(state._replace(log_w=w.log()), rng)
    count = torch.bincount(drawn.ancestor, minlength=64)
    assert ((count - 64 * w / w.sum()).abs() < 1).all()
    assert torch.equal(drawn.z, state.z[drawn.ancestor]) and not drawn.log_w.any()
    assert resample(state, rng) is state


@pytest.mark.slow
def test_resampling_repairs_the_shares_of_modes() -> None:
    """Two wells, 9 to 1, that no gradient chain leaves: their shares, and log Z, in closed form."""
    centre = torch.zeros(8).index_fill_(0, torch.tensor([0]), 3.0)

    def wells(z: Tensor) -> Tensor:
        near = lambda c: -8 * (z - c).square().sum(1) / 2
        both = torch.stack([near(centre) + np.log(0.9), near(-centre) + np.log(0.1)])
        return -both.logsumexp(0)

    kernel, shares, log_z = SMC(), [], []
    for run in range(6):
        walk = known.walked(wells, kernel, *range(1000 * run, 1000 * run + 128), dim=8, steps=200)
        shares.append(float((walk.z[:, 0] > 0).float().mean()))
        log_z.append(float(walk.here.state.log_z[0]))
    assert np.mean(shares) == pytest.approx(0.9, abs=0.04)
    truth = -4 * np.log(9) - 0.5 * 9 * 8 / 9
    assert np.mean(log_z) == pytest.approx(truth, abs=0.4)
