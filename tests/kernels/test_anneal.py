"""The default: it arrives from the prior in 200 gradients, alone or in a batch, and says so."""

import numpy as np
import pytest
import torch
from torch import Tensor

from latentzoo.kernels.adapt import conditional_ess, raise_temperature, temperature
from latentzoo.kernels.anneal import Anneal
from latentzoo.kernels.smc import SMC

from . import known

KAPPA = torch.logspace(0, 2.5, 24)


def stiff(z: Tensor) -> Tensor:
    """Curvatures from 1 to 316 in 24 of the coordinates; the mean of phi is known."""
    return (KAPPA * (z[:, :24] - 0.5).square()).sum(1) / 2


OFF2 = (0.5 / (1 + KAPPA)).square()
PHI = float((KAPPA * (1 / (1 + KAPPA) + OFF2)).sum() / 2)
SD = float((KAPPA**2 * (2 / (1 + KAPPA) ** 2 + 4 * OFF2 / (1 + KAPPA))).sum().sqrt() / 2)


@pytest.mark.parametrize(("chains", "runs"), [(1, 8), (3, 4), (8, 3), (32, 1)])
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
    walk = known.walked(stiff, Anneal(), *range(16), dim=64, steps=200)
    h = walk.trace.step_size[:, 0]
    assert len(np.unique(h[110:150])) == 1 and len(np.unique(h[150:])) == 1
    assert len(np.unique(h[1:60])) > 30
    assert (walk.trace.beta[1:, 0] < 1).sum() > 5 and (walk.trace.beta[81:] == 1).all()
    given = known.walked(stiff, Anneal(step_size=0.07), *range(16), dim=64, steps=60)
    assert (given.trace.step_size[1:] == np.float32(0.07)).all()


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


def test_the_ramp_keeps_the_sample_size_and_lands_in_time() -> None:
    phi = torch.linspace(0, 40, 64).double()
    zero = torch.zeros(64).double()
    beta = raise_temperature(phi, 0.0, cess=0.5, left=10)
    assert conditional_ess(phi, beta, zero) == pytest.approx(0.5, abs=1e-6)
    assert raise_temperature(1e-9 * phi, 0.3, cess=0.5, left=10) == 1
    beta, huge = 1e-12, 1e9 * phi
    for left in range(50, 0, -1):
        beta = raise_temperature(huge, beta, cess=0.5, left=left)
    assert beta == 1
    few = temperature(phi[:2], torch.zeros(2), clock=30, cess=0.5, steps=80)
    assert few.tolist() == [0.25, 0.25]


def test_weights_are_carried_until_chains_are_resampled() -> None:
    """Between resamplings the log-weight is minus the sum of the rises times phi."""
    seen = []

    class Spy(SMC):
        def _resample(self, state, rng):
            seen.append((state.log_w.double().log_softmax(0), state.phi, state.beta[0].double()))
            return super()._resample(state, rng)

    known.walked(stiff, Spy(cess=0.9999), *range(64), dim=64, steps=200)
    log_w, phi, beta = seen[0]
    expected = (-beta * phi.double()).log_softmax(0)
    assert torch.allclose(log_w, expected, atol=1e-4)
    first, second = seen[0], seen[1]
    rise = second[2] - first[2]
    assert torch.allclose(second[0], (first[0] - rise * second[1]).log_softmax(0), atol=1e-4)


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
