"""The resampling kernel: its normalising constant, and how wrong it says that this is."""

import torch
from torch import Tensor

from latentzoo import kernels
from latentzoo.diagnose import diagnose
from latentzoo.kernels.smc import log_z_error

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
    assert f"log Z {found[0].log_z:.3g} ± {found[0].log_z_error:.3g}, strength" in str(found[0])


def test_only_families_that_grew_count() -> None:
    assert log_z_error(torch.arange(64)) == 0
    assert log_z_error(torch.tensor([0, 0, 1, 1])) == 0.5
    assert log_z_error(torch.zeros(4, dtype=torch.long)) == 0.75**0.5
