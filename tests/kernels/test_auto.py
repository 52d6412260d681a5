"""The default: shares of modes that are right, in chains that remain their seeds; anneal where there is one mode."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from latentzoo import kernels
from latentzoo.diagnosis.verdict import diagnose
from latentzoo.errors import SpecError
from latentzoo.kernels.adapt import schedule
from latentzoo.kernels.anneal import Anneal
from latentzoo.kernels.auto import Auto
from latentzoo.kernels.groups import split
from latentzoo.kernels.jumps import Followed, Maps, shared_uniform
from latentzoo.kernels.types import Function, Potential
from latentzoo.rng import Rng
from latentzoo.run.walk import Walk

from . import known

DIM = 16


def two(share: float, place: float = 2.0, narrow: float = 0.3, wide: float = 0.3):
    """Two Gaussian modes on the first coordinate, at `place` with its share, and at minus it."""

    def phi(z: Tensor) -> Tensor:
        x = z[:, 0]
        mode = lambda p, m, s: math.log(p / s) - (x - m).square() / (2 * s * s)
        both = torch.stack([mode(share, place, narrow), mode(1 - share, -place, wide)])
        return -both.logsumexp(0) - x.square() / 2

    return phi


def shares(phi, seeds: int, *, chains: int = 64, steps: int = 400, kernel=None) -> list[float]:
    found = []
    for seed in range(seeds):
        run = [2**32 * seed + chain for chain in range(chains)]
        walk = known.walked(phi, kernel or Auto(), *run, dim=DIM, steps=steps)
        found.append(float((walk.z[:, 0] > 0).double().mean()))
        judged = diagnose(walk.trace, walk.z, kernel=walk.kernel, state=walk.here.state)
        assert judged.groups == (chains,) and judged.trustworthy
    return found


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
def test_shares_of_modes_are_right_and_the_verdict_vouches_for_them(share: float) -> None:
    assert max(abs(x - share) for x in shares(two(share), 2)) < 0.05


def test_modes_of_unlike_width_and_few_chains() -> None:
    assert shares(two(0.7, 2.0, 0.3, 0.5), 1) == [pytest.approx(0.7, abs=0.08)]
    found = shares(two(0.9), 3, chains=16, steps=200)
    assert sum(found) / 3 == pytest.approx(0.9, abs=0.08)


@pytest.mark.slow
def test_shares_are_less_noisy_than_those_of_chains_that_choose_alone() -> None:
    found = torch.tensor(shares(two(0.5), 24))
    assert abs(float(found.mean()) - 0.5) < 0.02
    assert float(found.std()) < 0.5 * math.sqrt(0.25 / 64)


def test_one_mode_is_annealed_bit_for_bit() -> None:
    slope = lambda z: 3 * z[:, 0] + (z[:, 1:4] - 1).square().sum(1)
    runs = [known.walked(slope, k, *range(32), dim=DIM, steps=120) for k in (Anneal(), Auto())]
    assert torch.equal(runs[0].z, runs[1].z)
    assert np.array_equal(runs[0].trace.array, runs[1].trace.array, equal_nan=True)
    assert runs[1].here.state.group_axis.shape[1] == 0


def test_a_chain_alone_follows_the_schedule_and_the_maps_of_its_batch(tmp_path: Path) -> None:
    seeds, phi, kernel = range(16), Function(two(0.8)), Auto()
    whole = Walk(phi, kernel, Rng(*seeds, dtype=torch.float64), steps=120)
    whole.begin(whole.rng.normal(DIM))
    for frame in whole:
        if frame.step in (50, 80):
            whole.save(tmp_path / f"{frame.step}.safetensors")
    for step in (50, 80):
        rest = Walk(phi, kernel, Rng(*seeds, dtype=torch.float64), steps=120)
        rest.resume(tmp_path / f"{step}.safetensors")
        list(rest)
        assert torch.equal(rest.z, whole.z)
    learned = kernel.plan(120).learned(whole.here.state)
    assert isinstance(learned["jumps"], Maps)
    rows = schedule(whole.trace.beta, whole.trace.step_size)
    follower = replace(kernel, schedule=rows, **learned)
    assert len(torch.unique(whole.z[:, 0] > 0)) > 1
    for chain in (3, 11):
        alone = Walk(phi, follower, Rng(chain, dtype=torch.float64), steps=120)
        alone.begin(alone.rng.normal(DIM))
        list(alone)
        assert torch.allclose(alone.z[0], whole.z[chain], atol=1e-6)
    assert kernels.settings(follower)["jumps"] == "auto"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_chains_that_fail_stop_alone_whatever_the_others_learn_then(dtype: torch.dtype) -> None:
    """Groups are found after some have failed, so the state's fields change their shape under them."""
    poisoned = lambda z: torch.where(z[:, 3] > 2, torch.nan, two(0.8)(z))
    walk = Walk(Function(poisoned), Auto(), Rng(*range(24), dtype=dtype), steps=80)
    walk.begin(walk.rng.normal(DIM).clamp(max=1.9))
    list(walk)
    failed = [failure.chain for failure in walk.here.failures]
    assert walk.here.state.group_centre.shape[1] == 2
    assert any(failure.step < 20 for failure in walk.here.failures) and len(failed) < 12
    assert walk.z.dtype == dtype and walk.z.isfinite().all()
    assert np.isfinite(np.delete(walk.trace.phi, failed, 1)).all()


@pytest.mark.parametrize("steps", range(80, 85))
def test_no_jump_takes_the_place_of_a_step_that_ends_a_phase(steps: int) -> None:
    """The step of the tested tail is shorter, and the one of the phase before it is the mean of the tuning."""
    walk = known.walked(two(0.9), Auto(), *range(16), dim=DIM, steps=steps)
    h, tail = walk.trace.step_size[:, 0], steps - steps // 4
    assert walk.here.state.group_centre.shape[1] == 2
    assert h[tail] <= 0.61 * h[tail - 1]
    assert len(np.unique(h[tail:])) == 1
    assert walk.trace.accept[tail, 0] > 0  # a test, with the momentum drawn anew


class Own(Potential):
    """Creates the two modes, as targets of so many chains."""

    def __init__(self, chains: int) -> None:
        self.chains, self.phi = chains, Function(two(0.9))

    def evaluate(self, z: Tensor, *, gradient: bool = True):
        return self.phi.evaluate(z, gradient=gradient)


def test_chains_with_targets_of_their_own_and_few_chains_do_not_jump() -> None:
    for phi, chains in ((Own(16), 16), (Function(two(0.9)), 6)):
        walk = known.walked(phi, Auto(), *range(chains), dim=DIM, steps=60)
        assert Auto().maps(walk.here.state) is None


def maps(dim: int = 3) -> Maps:
    axes = torch.linalg.qr(torch.randn(dim, 2, generator=torch.Generator().manual_seed(1)))[0]
    centre = torch.tensor([[1.5, 0.0], [-1.5, 0.5], [0.0, -2.0]])
    return Maps(axes, centre, torch.tensor([[0.3, 0.5], [0.5, 0.4], [0.4, 0.8]]))


def test_a_jump_is_its_own_reverse_with_the_opposite_ratio() -> None:
    m, rng = maps(), Rng(*range(200))
    z, u = rng.normal(3), rng.uniform()
    here = m.group(z @ m.axes)
    there, ratio, down = m.jump(z, u)
    back = (here - m.group(there @ m.axes)) % 3
    again, other, up = m.jump(there, (back - 0.5) / 2)
    fine = ratio.isfinite()
    assert fine.sum() > 100
    assert torch.allclose(again[fine], z[fine], atol=1e-5)
    assert torch.allclose(other[fine], -ratio[fine], atol=1e-4)
    assert (up[fine] != down[fine]).all()


def test_jumps_leave_the_prior_and_the_modes_invariant() -> None:
    """With any maps, and from exact draws of two unequal modes on a line in three coordinates."""
    rng = Rng(*range(4000))
    x = torch.linspace(-6, 6, 60_001, dtype=torch.float64)
    phi = two(0.7, 1.5, 0.4, 0.6)
    energy = phi(x[:, None]) + x.square() / 2
    cdf = (-energy).softmax(0).cumsum(0)
    z = rng.normal(3)
    z[:, 0] = x[torch.searchsorted(cdf, rng.uniform().double()).clamp(max=60_000)].float()
    before, kernel = z, Auto(jumps=maps(), step_size=0.3, precondition="none")
    state = known.at_posterior(kernel, Function(phi), z, rng)
    for n in range(5):
        state = state._replace(clock=torch.full_like(state.clock, 200 + 5 * n))
        state, _ = kernel.step(Function(phi), state, rng)
    assert float((state.z != before).any(1).float().mean()) > 0.05
    for f in (torch.sign, torch.square, torch.sin, lambda z: z**3):
        change = f(state.z) - f(before)
        assert float((change.mean(0) / (change.std(0) / 4000**0.5)).abs().max()) < 4


def test_what_chains_share_is_uniform_for_each_and_even_over_them() -> None:
    rng = Rng(*(2**32 * 5 + chain for chain in range(64)))
    u = torch.stack([shared_uniform(rng, n) for n in range(500)])
    assert float((u[:, 7] < 0.3).float().mean()) == pytest.approx(0.3, abs=0.08)
    assert float((u < 0.3).float().mean(1).std()) < 0.02
    assert torch.equal(shared_uniform(rng.select([9]), 4), u[4, 9:10])
    other = Rng(*(2**32 * 6 + chain for chain in range(64)))
    assert not torch.equal(shared_uniform(other, 4), u[4])


def test_groups_are_believed_where_they_are_clear() -> None:
    apart, quiet = np.repeat([0.0, 5.0, 9.0], 6) + np.linspace(0, 0.2, 18), np.full(18, 0.04)
    line = lambda x: x[:, None]
    assert np.bincount(split(line(apart), line(quiet))).tolist() == [6, 6, 6]
    assert not split(line(apart), np.full((18, 1), 9.0)).any()
    assert not split(line(np.linspace(0, 1, 18)), line(1e-6 * quiet)).any()
    assert not split(np.ones((18, 1)), line(quiet)).any()
    assert not split(line(apart * np.nan), line(quiet)).any()


def test_groups_that_no_axis_shows_alone_are_found_together() -> None:
    """Four modes at the corners of a simplex, whose projections lie nearer to each other than chains move thrice."""
    axes = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1)))[0]
    corner = np.repeat(np.eye(4) * 3, 5, axis=0) @ axes.double().numpy()
    mean = corner + 0.1 * np.random.default_rng(0).standard_normal((20, 4))
    moves = np.full((20, 4), 0.25)
    assert np.bincount(split(mean, moves)).tolist() == [5, 5, 5, 5]
    alone = [split(mean[:, r : r + 1], moves[:, r : r + 1]) for r in range(4)]
    assert max(label.max() for label in alone) < 2


def test_one_chain_in_a_mode_of_its_own_is_a_group() -> None:
    mean = np.concatenate([np.linspace(-1, 1, 15), [9.0]])[:, None]
    assert np.bincount(split(mean, np.full((16, 1), 0.5))).tolist() == [15, 1]


def test_one_slow_mode_is_one_group() -> None:
    """However little each chain moves: of a Gaussian, a uniform and a skew law, along any number of axes."""
    draw = np.random.default_rng(0)
    for chains, rank in ((16, 1), (16, 4), (64, 4), (64, 6)):
        laws = [draw.standard_normal, draw.random, draw.standard_exponential]
        found = [
            split(law((chains, rank)), np.full((chains, rank), slow**2)).any()
            for law in laws
            for slow in (0.01, 0.1, 0.3)
            for _ in range(50)
        ]
        assert sum(found) <= 0.03 * len(found)


def test_a_chain_that_takes_an_axis_along_ends_the_jumps() -> None:
    seen = Followed.begin(torch.randn(12, 5, generator=torch.Generator().manual_seed(0)))
    assert seen.axes is not None
    assert torch.allclose(seen.axes.T @ seen.axes, torch.eye(seen.mean.shape[1]), atol=1e-5)
    assert Followed(*(field[1:] for field in seen)).axes is None
    assert Followed(*(field[:11] for field in seen)).axes is not None


def test_a_switch_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SpecError, match=r"jumps=yes.*auto, none"):
        kernels.load("auto", jumps="yes")
