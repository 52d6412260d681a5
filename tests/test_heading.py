"""Where the chains as a whole are going: chance does not move them along it, what is not finished does."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from latentzoo.diagnosis.left import unfinished
from latentzoo.diagnosis.settled import moving
from latentzoo.diagnosis.verdict import Diagnosis, diagnose
from latentzoo.kernels.anneal import Anneal
from latentzoo.kernels.types import Function
from latentzoo.rng import Rng
from latentzoo.run.directions import Sights
from latentzoo.run.heading import Heading
from latentzoo.run.walk import Walk

DIM, CHAINS, STEPS, SEEDS = 512, 16, 80, 60


def states(
    seed: int, *, rate: float, slope: float = 0.0, chains: int = CHAINS, dim: int = DIM
) -> list[Tensor]:
    """Chains that are draws of the prior and forget e^-rate of it in a step; all of them move by slope as well."""
    draw = torch.Generator().manual_seed(seed)
    normal = lambda: torch.randn(chains, dim, generator=draw, dtype=torch.float64)
    along = torch.ones(dim, dtype=torch.float64) / math.sqrt(dim)
    keep, found = math.exp(-rate), [normal()]
    for _ in range(STEPS):
        found.append(keep * found[-1] + math.sqrt(1 - keep**2) * normal())
    return [z + step * slope * along for step, z in enumerate(found)]


def recorded(zs: list[Tensor], sights: Sights | None = None, failed: int = -1) -> Heading:
    """The record of these states; the first chain fails at the step `failed`."""
    heading = Heading(STEPS, sights)
    for step, z in enumerate(zs):
        gone = torch.full((len(z),), -1)
        gone[0] = failed if 0 <= failed <= step else -1
        frame: Any = SimpleNamespace(step=step, state=SimpleNamespace(z=z), failed=gone)
        heading.append(frame)
    return heading


def seen(heading: Heading, chains: int = CHAINS) -> np.ndarray:
    return heading.array(STEPS + 1, chains).astype(float)


def left(x: np.ndarray) -> float:
    return unfinished([x], np.full(x.shape, 0.1), np.arange(len(x)) > 3 * len(x) // 4, 1.0)


@pytest.mark.parametrize("rate", [0.02, 0.1, 1.0])
def test_chance_does_not_move_the_chains_along_it(rate: float) -> None:
    found = [seen(recorded(states(seed, rate=rate))) for seed in range(SEEDS)]
    assert sum(left(x) > 0 for x in found) <= 1 and not any(map(moving, found))


def test_along_its_own_heading_a_half_would_turn_back() -> None:
    """Why each chain is looked at along the heading of the others: chance in 512 dimensions goes back in one."""
    turned, kept = [], []
    for seed in range(SEEDS):
        zs = states(seed, rate=0.1)
        heading = recorded(zs)
        assert heading.way is not None
        for found, way in ((kept, heading.way), (turned, heading.way.flip(1))):
            x = [torch.stack([z[half::2] @ way[:, half] for half in (0, 1)]).mean() for z in zs]
            found.append(float(x[-1] - x[51]))
    error = lambda found: np.std(found) / math.sqrt(SEEDS)
    assert np.mean(turned) < -5 * error(turned) and abs(np.mean(kept)) < 4 * error(kept)


def test_a_common_move_is_seen_in_many_dimensions() -> None:
    """A tenth of a standard deviation a step, along a direction that nobody named."""
    sized = {"rate": 0.02, "chains": 64, "dim": 128}
    for seed in range(20):
        still, moved = (
            seen(recorded(states(seed, slope=slope, **sized)), 64) for slope in (0.0, 0.1)
        )
        assert left(still) == 0 and not moving(still)
        assert left(moved) > 0.25 and moving(moved)


def test_each_chain_is_looked_at_along_the_other_half() -> None:
    zs = states(0, rate=0.1)
    way = recorded(zs).way
    assert way is not None and torch.allclose(way.norm(dim=0), torch.ones(2, dtype=way.dtype))
    for half in (0, 1):
        moved = zs[50][1 - half :: 2].mean(0) - zs[40][1 - half :: 2].mean(0)
        assert torch.allclose(way[:, half], moved / moved.norm())
    x = seen(recorded(zs))
    assert np.isnan(x[:50]).all()
    assert x[60, 3] == pytest.approx(float(zs[60][3] @ way[:, 1]), rel=1e-5)


def test_who_follows_looks_along_the_mean_of_both_from_the_half_on() -> None:
    """Then a number of a chain depends on no other: neither on which there are, nor on its place among them."""
    zs = states(0, rate=0.1)
    alive = torch.ones(CHAINS, dtype=torch.bool)
    other = Sights.of(zs[0][:1].T, zs[0], alive, recorded(states(1, rate=0.1)).way)
    whole, some = seen(recorded(zs, other)), seen(recorded([z[3:6] for z in zs], other), 3)
    assert np.isnan(whole[:40]).all() and np.isfinite(whole[40:]).all()
    assert np.array_equal(whole[:, 3:6], some, equal_nan=True)
    assert np.isnan(seen(recorded(zs, other._replace(heading=None)))).all()


def test_a_failed_chain_is_left_out_and_each_is_still_held_against_the_other_half() -> None:
    found = [seen(recorded(states(seed, rate=0.1), failed=5)) for seed in range(SEEDS)]
    assert all(np.isnan(x[50:, 0]).all() and np.isfinite(x[50:, 1:]).all() for x in found)
    assert sum(left(x[:, 1:]) > 0 for x in found) <= 1


def test_where_too_few_live_or_one_fails_meanwhile_there_is_no_heading() -> None:
    zs = states(0, rate=0.1)
    assert np.isnan(seen(recorded([z[:3] for z in zs]), 3)).all()
    assert np.isfinite(seen(recorded([z[:4] for z in zs]), 4)[50:]).all()
    assert np.isnan(seen(recorded([z[:4] for z in zs], failed=5), 4)).all()
    assert np.isnan(seen(recorded(zs, failed=45))).all()
    assert np.isfinite(seen(recorded(zs, failed=55))[50:, 1:]).all()


def begun(chains: int = 8) -> Walk:
    """A run in very short steps that begins at its posterior, where every variance is a half."""
    phi = Function(lambda z: z.square().sum(1) / 2)
    return Walk(phi, Anneal(step_size=0.02), Rng(*range(chains)), steps=STEPS)


def judged(walk: Walk, going: np.ndarray) -> Diagnosis:
    """The diagnosis of a run that would have gone so."""
    numbers = ("array", "along", "identity")
    trace = SimpleNamespace(going=going, **{key: getattr(walk.trace, key) for key in numbers})
    return diagnose(trace, walk.z, kernel=walk.kernel, state=walk.here.state)  # pyright: ignore


def test_a_run_that_was_still_going_somewhere_is_not_trusted() -> None:
    """Steps of a fiftieth finish nothing in the end, though phi, |z|^2 and the gradients' directions look settled."""
    walk = begun(chains=32)
    walk.begin(walk.rng.normal(64) / 2**0.5)
    list(walk)
    going = walk.trace.going
    found = judged(walk, going)
    assert found.going is not None and found.going < 0.25
    assert judged(walk, np.full_like(going, np.nan)).going is None
    gone = going + 0.02 * np.minimum(np.arange(STEPS + 1), 60)[:, None]
    moved = judged(walk, gone)
    assert (moved.going or 0) > 0.25 and not moved.trustworthy and not moved.drifting
    assert judged(walk, going + 0.1 * np.arange(STEPS + 1)[:, None]).drifting


@pytest.mark.parametrize("moment", [45, 60, 70])
def test_resume_is_undisturbed_bit_for_bit(moment: int, tmp_path: Path) -> None:
    whole, rest = begun(), begun()
    whole.begin(whole.rng.normal(64) / 2**0.5)
    for frame in whole:
        if frame.step == moment:
            whole.save(tmp_path / "here.safetensors")
    rest.resume(tmp_path / "here.safetensors")
    list(rest)
    assert np.isfinite(whole.trace.going[50:]).all()
    assert np.array_equal(whole.trace.going, rest.trace.going, equal_nan=True)
