"""A chain is its seed: alone, in a batch, under a recorded schedule, and after a kill."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from latentzoo import kernels
from latentzoo.errors import SpecError
from latentzoo.kernels.adapt import schedule
from latentzoo.kernels.types import Function
from latentzoo.rng import Rng
from latentzoo.run.walk import Walk

from . import known

SEEDS = (4, 2, 9, 7, 1)
SCHEDULED = [n for n in known.NAMES if "schedule" in kernels.settings(kernels.load(n))]
ITSELF = [n for n in known.NAMES if n not in {*SCHEDULED, *known.COUPLED}]


def double(name: str, **settings):
    """A run in float64, so that batch and single agree to rounding that does not grow."""
    kernel = kernels.load(name, **settings)

    def run(*seeds: int, kernel=kernel) -> Walk:
        rng = Rng(*seeds, dtype=torch.float64)
        walk = Walk(Function(known.quadratic), kernel, rng, steps=int(40 * kernel.gradients))
        walk.begin(rng.normal(3))
        list(walk)
        return walk

    return kernel, run


@pytest.mark.parametrize("name", ITSELF)
def test_a_chain_is_its_seed(name: str) -> None:
    _, run = double(name)
    together = run(*SEEDS)
    for i, seed in enumerate(SEEDS):
        assert torch.allclose(together.z[i], run(seed).z[0], atol=1e-9)


@pytest.mark.parametrize("name", SCHEDULED)
def test_a_chain_alone_follows_the_schedule_of_its_batch(name: str) -> None:
    kernel, run = double(name)
    together = run(*SEEDS)
    rows = schedule(together.trace.beta, together.trace.step_size)
    assert len(rows) == len(together.trace) - 1
    follower = replace(kernel, schedule=rows)
    for i, seed in enumerate(SEEDS):
        alone = run(seed, kernel=follower)
        assert np.allclose(alone.trace.phi[:, 0], together.trace.phi[:, i], rtol=1e-3, atol=1e-4)
        assert np.array_equal(alone.trace.step_size[:, 0], together.trace.step_size[:, i], True)


@pytest.mark.parametrize("name", SCHEDULED)
def test_a_run_longer_than_its_schedule_is_an_error(name: str) -> None:
    kernel = kernels.load(name, schedule=((1.0, 0.1),) * 3)
    with pytest.raises(SpecError, match="the schedule ends after 3 steps"):
        known.walked(known.quadratic, kernel, 0, dim=3, steps=30)


@pytest.mark.parametrize("name", known.NAMES)
def test_resume_is_undisturbed_bit_for_bit(name: str, tmp_path: Path) -> None:
    seeds = range(64) if name in known.COUPLED else SEEDS
    steps = int(40 * kernels.load(name).gradients)
    rng = Rng(*seeds)
    whole = Walk(Function(known.quadratic), kernels.load(name), rng, steps=steps)
    whole.begin(rng.normal(3))
    for frame in whole:
        if frame.step == 13:
            whole.save(tmp_path / "here.safetensors")
    rest = Walk(Function(known.quadratic), kernels.load(name), Rng(*seeds), steps=steps)
    rest.resume(tmp_path / "here.safetensors")
    list(rest)
    for a, b in zip(whole.here.state, rest.here.state, strict=True):
        assert torch.equal(a, b)
    assert np.array_equal(whole.trace.array, rest.trace.array, equal_nan=True)


def test_too_few_chains_to_resample_are_refused() -> None:
    with pytest.raises(SpecError, match="give at least 64 chains, or take anneal"):
        known.walked(known.quadratic, kernels.load("smc"), *SEEDS, dim=3, steps=10)


def test_chains_that_were_not_run_together_share_no_schedule() -> None:
    beta = np.ones((3, 2))
    with pytest.raises(SpecError, match="did not share a schedule"):
        schedule(beta, beta * [[0.1, 0.2]])
