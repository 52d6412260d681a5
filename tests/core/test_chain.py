"""The loop: a chain is its seed, a failing chain stops alone, and a run goes on from its checkpoint bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from latentzoo import kernels
from latentzoo.errors import EnergyError, StateError, UnknownName
from latentzoo.kernels.mala import MALA
from latentzoo.kernels.types import Function, Kernel
from latentzoo.kernels.ula import ULA
from latentzoo.rng import Rng
from latentzoo.run.walk import Walk

DIM = 5
KERNELS = [ULA(0.05), MALA(0.3)]


def quadratic(z: Tensor) -> Tensor:
    return (torch.linspace(0.5, 4, DIM) * (z - 1).square()).sum(1) / 2


def walked(phi, kernel: Kernel, *seeds: int, steps: int = 12) -> Walk:
    rng = Rng(*seeds)
    walk = Walk(Function(phi), kernel, rng, steps=steps)
    walk.begin(rng.normal(DIM))
    for _ in walk:
        pass
    return walk


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_chain_is_its_seed(kernel: Kernel) -> None:
    together = walked(quadratic, kernel, 4, 2, 9)
    for i, seed in enumerate((4, 2, 9)):
        assert torch.allclose(together.z[i], walked(quadratic, kernel, seed).z[0], atol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_chain_that_fails_stops_alone_and_is_named(kernel: Kernel) -> None:
    def poisoned(z: Tensor) -> Tensor:
        return torch.where(z[:, 0] > 1.5, torch.nan, quadratic(z))

    seeds = range(24)
    walk = walked(poisoned, kernel, *seeds, steps=30)
    failed = {failure.chain: failure for failure in walk.here.failures}
    assert 0 < len(failed) < len(seeds)
    assert all(failure.seed == chain for chain, failure in failed.items())
    assert walk.z.isfinite().all()
    for chain in seeds:
        phi = walk.trace.phi[:, chain]
        stop = failed[chain].step if chain in failed else len(phi)
        assert np.isfinite(phi[:stop]).all() and np.isnan(phi[stop:]).all()
    survivors = [chain for chain in seeds if chain not in failed]
    alone = walked(poisoned, kernel, *survivors, steps=30)
    assert torch.allclose(walk.z[survivors], alone.z, atol=1e-6)


@pytest.mark.parametrize("name", sorted(kernels.known()))
def test_no_kernel_minds_a_chain_that_has_failed(name: str) -> None:
    """Whatever a kernel keeps of all chains, and drops or learns later in the run."""
    calls = iter(range(10**6))

    def poisoned(z: Tensor) -> Tensor:
        return torch.where((z[:, 0] > 1.5) & (next(calls) < 12), torch.nan, quadratic(z))

    walk = walked(poisoned, kernels.load(name), *range(64), steps=60)
    failed = {failure.chain for failure in walk.here.failures}
    assert 0 < len(failed) < 64 and walk.z.isfinite().all()
    rest = [chain for chain in range(64) if chain not in failed]
    assert np.isfinite(walk.trace.phi[-1, rest]).all()


@pytest.mark.parametrize("kernel", [*KERNELS, kernels.load("anneal"), kernels.load("adam")])
def test_a_gradient_that_is_not_a_number_is_not_called_a_potential(kernel: Kernel) -> None:
    """The root of 0 is 0, and has no slope: the energy is finite, and its gradient NaN."""

    def kinked(z: Tensor) -> Tensor:
        return quadratic(z) + (0 * (z[:, 0] - 1.5).relu()).sqrt() * (z[:, 0] > 1.5)

    walk = walked(kinked, kernel, *range(24), steps=30)
    terms = {failure.term for failure in walk.here.failures}
    assert len(walk.here.failures) < 24 and terms and terms <= {"gradient", "proposal"}


def test_a_potential_that_is_nowhere_finite_is_an_error() -> None:
    with pytest.raises(EnergyError, match="'phi' is not finite at the start of every chain"):
        walked(lambda z: z.sum(1) * torch.nan, ULA(), 0, 1)


def test_when_every_chain_fails_the_run_ends() -> None:
    calls = iter(range(100))
    walk = walked(
        lambda z: quadratic(z) * (torch.nan if next(calls) > 4 else 1.0), ULA(), 0, 1, steps=20
    )
    assert len(walk.here.failures) == 2 and walk.done and len(walk.trace) < 20


@pytest.mark.parametrize("kernel", KERNELS)
def test_resume_is_undisturbed_bit_for_bit(kernel: Kernel, tmp_path: Path) -> None:
    rng = Rng(0, 1, 2)
    whole = Walk(Function(quadratic), kernel, rng, steps=12)
    whole.begin(rng.normal(DIM))
    for frame in whole:
        if frame.step == 5:
            whole.save(tmp_path / "c.safetensors")
    again = Walk(Function(quadratic), kernel, Rng(0, 1, 2), steps=12)
    again.resume(tmp_path / "c.safetensors")
    for _ in again:
        pass
    assert torch.equal(again.z, whole.z)
    assert np.array_equal(again.trace.array, whole.trace.array, equal_nan=True)
    assert again.phi.gradients == whole.phi.gradients


def test_best_keeps_the_least_energy_among_the_states_steps_began_at() -> None:
    phi = Function(quadratic)
    phi.names = ("e",)
    phi.evaluate = lambda z, gradient=True, f=phi.evaluate: (p := f(z))._replace(
        terms=p.phi[:, None]
    )
    rng = Rng(*range(6))
    walk = Walk(phi, ULA(0.3), rng, steps=10, best="e")
    walk.begin(rng.normal(DIM))
    for _ in walk:
        pass
    assert torch.allclose(quadratic(walk.z), torch.from_numpy(walk.trace.phi[:-1].min(0)))
    with pytest.raises(UnknownName, match="known: e"):
        Walk(phi, ULA(), rng, steps=1, best="x")


@pytest.mark.parametrize("damage", ["missing", "truncated", "other kernel", "other chains"])
def test_a_broken_checkpoint_is_one_clear_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "c.safetensors"
    if damage != "missing":
        walked(quadratic, ULA(), 0, 1).save(path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:200])

    class Other(ULA):
        State = tuple

    kernel = Other() if damage == "other kernel" else ULA()
    rng = Rng(0) if damage == "other chains" else Rng(0, 1)
    with pytest.raises(StateError, match=r"c\.safetensors: "):
        Walk(Function(quadratic), kernel, rng, steps=3).resume(path)
