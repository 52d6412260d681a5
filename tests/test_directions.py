"""Chains followed along the main directions of their gradients: what is found there, and that nothing is changed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from latentzoo import kernels
from latentzoo.diagnosis.convergence import rhat
from latentzoo.diagnosis.verdict import Diagnosis, diagnose
from latentzoo.kernels.anneal import Anneal
from latentzoo.kernels.lowrank import Reference
from latentzoo.kernels.types import Function, Kernel
from latentzoo.rng import Rng
from latentzoo.run.directions import Directions
from latentzoo.run.walk import Walk

DIM = 100
KAPPA = torch.full((DIM,), 0.8).index_fill(0, torch.tensor([0]), 60.0)


def gaussian(z: Tensor) -> Tensor:
    """A Gaussian posterior whose first coordinate is the steepest, a twentieth of phi, and less of |z|^2."""
    return (KAPPA * z.square()).sum(1) / 2


def begun(kernel: Kernel, *, chains: int = 8, steps: int = 200, phi=gaussian) -> Walk:
    rng = Rng(*range(chains))
    walk = Walk(Function(phi), kernel, rng, steps=steps)
    walk.begin(rng.normal(DIM))
    return walk


def walked(kernel: Kernel, **options) -> Walk:
    walk = begun(kernel, **options)
    list(walk)
    return walk


def judged(walk: Walk) -> Diagnosis:
    return diagnose(walk.trace, walk.z, kernel=walk.kernel, state=walk.here.state)


def test_a_slow_direction_is_seen_where_phi_and_the_norm_look_settled() -> None:
    """From the half on, a reference far too narrow in the first coordinate holds every chain where it is."""
    narrow = Reference(torch.eye(DIM)[:, :1], torch.tensor([0.005]), torch.zeros(DIM))
    free, held = (
        walked(Anneal(step_size=0.2, precondition=p), chains=64, steps=600)
        for p in ("none", narrow)
    )
    for walk in (free, held):
        assert float(walk.trace.directions.basis[0, 0].abs()) > 0.8
        assert max(rhat(walk.trace.phi[300:]), rhat(walk.trace.norm2[300:])) < 1.05
    assert judged(free).rhat < 1.05 and judged(free).ess > 500
    assert judged(held).rhat > 1.5 and 10 * judged(held).ess < judged(free).ess
    assert "of phi, |z|^2 and 2 directions of the gradients" in str(judged(held))


def test_following_changes_no_sample() -> None:
    seen, unseen = begun(Anneal()), begun(Anneal())
    unseen.trace.directions = Directions(0)
    list(seen), list(unseen)
    assert np.isfinite(seen.trace.along[100:]).all() and unseen.trace.along.shape[1] == 0
    assert torch.equal(seen.z, unseen.z) and torch.equal(seen.rng.state(), unseen.rng.state())


def test_what_is_recorded_is_the_latent_along_fixed_directions() -> None:
    walk = begun(Anneal())
    z = torch.stack([walk.here.state.z, *(frame.state.z for frame in walk)])
    basis = walk.trace.directions.basis
    assert torch.allclose(basis.T @ basis, torch.eye(2), atol=1e-5)
    along = torch.from_numpy(walk.trace.along)
    assert along[:100].isnan().all()
    assert torch.allclose(along[100:], (z[100:] @ basis).transpose(1, 2), atol=1e-5)


@pytest.mark.parametrize("moment", [60, 150])
def test_resume_is_undisturbed_bit_for_bit(moment: int, tmp_path: Path) -> None:
    whole = begun(Anneal())
    for frame in whole:
        if frame.step == moment:
            whole.save(tmp_path / "here.safetensors")
    rest = Walk(Function(gaussian), Anneal(), Rng(*range(8)), steps=200)
    rest.resume(tmp_path / "here.safetensors")
    list(rest)
    assert whole.trace.along.shape == (201, 2, 8)
    assert np.array_equal(whole.trace.along, rest.trace.along, equal_nan=True)
    assert judged(rest) == judged(whole)


@pytest.mark.parametrize(
    "options",
    [{"chains": 1}, {"phi": lambda z: 3 * z.sum(1)}, {"kernel": "pcn"}],
    ids=["one chain", "constant gradient", "no gradient"],
)
def test_where_directions_cannot_be_told_there_are_none(options: dict) -> None:
    walk = walked(kernels.load(options.pop("kernel", "ula")), **options)
    assert walk.trace.along.shape == (len(walk.trace), 0, len(walk.trace.seeds))
    assert judged(walk).directions == 0


def test_a_failed_chain_is_left_out() -> None:
    wild = lambda z: gaussian(z) + torch.where(z[:, 1] > 1.8, torch.nan, 0.0)
    walk = walked(Anneal(), chains=16, phi=wild)
    failures = walk.here.failures
    failed = [failure.chain for failure in failures]
    lost = np.isnan(walk.trace.along[100:])
    assert 0 < len(failed) < 12 and not np.delete(lost, failed, 2).any()
    for chain, _, step, _ in failures:
        assert not lost[: max(step - 100, 0), :, chain].any()
        assert lost[max(step - 100, 0) :, :, chain].all()
    found = diagnose(
        walk.trace, walk.z, kernel=walk.kernel, state=walk.here.state, failures=failures
    )
    assert found.directions == 2 and np.isfinite([found.rhat, found.ess, found.tail_ess]).all()
