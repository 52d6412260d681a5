"""The resampling kernel: its normalising constant, and how wrong it says that this is."""

import torch
from torch import Tensor

from latentzoo import kernels
from latentzoo.diagnosis.verdict import diagnose
from latentzoo.kernels.types import Population

from . import known

KAPPA = torch.tensor([30.0, 3.0, 1.0, 1.0])
LOG_Z = -float((KAPPA.log1p() + KAPPA / (1 + KAPPA)).sum()) / 2


def energy(z: Tensor) -> Tensor:
    """A linear-Gaussian target, whose log Z is `LOG_Z`."""
    return (KAPPA * (z - 1).square()).sum(1) / 2


def test_runs_spread_as_each_says_that_they_do() -> None:
    found = []
    for run in range(24):
        seeds = range(64 * run, 64 * run + 64)
        walk = known.walked(energy, kernels.load("smc"), *seeds, dim=4, steps=20)
        state = walk.here.state
        found.append(diagnose(walk.trace, walk.z, kernel=walk.kernel, state=state))
    log_z = torch.tensor([one.log_z for one in found])
    said = torch.tensor([one.log_z_error for one in found]).square().mean().sqrt()
    assert 0.5 < float(said / log_z.std()) < 2
    assert abs(float((log_z.exp().mean() / (LOG_Z + log_z * 0).exp().mean()) - 1)) < 0.25
    assert f"log Z {found[0].log_z:.3g} ± {found[0].log_z_error:.3g}, from" in str(found[0])


def test_only_families_that_grew_count() -> None:
    error = lambda *ancestor: Population(torch.tensor(ancestor), torch.zeros(len(ancestor))).error
    assert error(*range(64)) == 0
    assert error(0, 0, 1, 1) == 0.5
    assert error(0, 0, 0, 0) == 0.75**0.5
