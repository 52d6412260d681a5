"""Noise: a stream is its seed, alone or in a batch, and goes on from its state."""

import ast
from pathlib import Path

import pytest
import torch

import latentzoo
from latentzoo import Rng
from latentzoo import rng as rng_module
from latentzoo.errors import SpecError
from latentzoo.kernels.jumps import shared_uniform
from latentzoo.rng import Domain
from latentzoo.run.sampling import seeds
from latentzoo.zoo import stylegan2


def test_a_row_is_its_seed() -> None:
    batch, alone = Rng(3, 1, 4), Rng(1)
    for _ in range(3):
        assert torch.equal(batch.normal(5)[1:2], alone.normal(5))
        assert torch.equal(batch.uniform()[1:2], alone.uniform())


def test_selected_streams_are_shared() -> None:
    whole, part = Rng(0, 1, 2), Rng(0, 1, 2)
    part.select([2]).normal(4)
    whole.normal(4)
    assert torch.equal(whole.select([2]).normal(3), part.select([2]).normal(3))


def test_streams_go_on_from_their_state() -> None:
    rng = Rng(5, 2**62)
    rng.normal(7)
    rng.uniform(3)
    state = rng.state()
    expected = rng.normal(4), rng.uniform(2)
    again = Rng(5, 2**62)
    again.restore(state)
    assert torch.equal(again.normal(4), expected[0]) and torch.equal(again.uniform(2), expected[1])
    here = rng.state()
    assert torch.equal(rng.at(state).normal(4), expected[0])
    assert torch.equal(rng.state(), here)


def test_draws_are_standard_normal_and_uncorrelated_between_seeds() -> None:
    draws = Rng(*range(64)).normal(4096)
    assert abs(draws.mean()) < 4 / draws.numel() ** 0.5
    assert abs(draws.var() - 1) < 4 * (2 / draws.numel()) ** 0.5
    correlation = torch.corrcoef(draws) - torch.eye(64)
    assert correlation.abs().max() < 5.5 / 4096**0.5


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seed_out_of_range(seed: int) -> None:
    with pytest.raises(SpecError, match="out of range"):
        Rng(seed)


def test_state_of_another_number_of_chains() -> None:
    with pytest.raises(SpecError, match="does not fit 2 chains"):
        Rng(0, 1).restore(Rng(0).state())


@pytest.mark.parametrize("size", [3, rng_module.AHEAD + 1], ids=["often", "seldom"])
def test_a_mark_is_the_state_of_its_time(size: int) -> None:
    rng, expected, marks = Rng(4, 2**40, 7, domain=Domain.HELD, index=3), [], []
    for turn in range(4):
        for stream in (rng, rng.select([2, 0]), rng.select([2, 0]).select([1])):
            expected.append(rng.state())
            marks.append(rng.mark())
            stream.normal(size) if turn % 2 else stream.uniform(2, 5)
        if turn == 2:
            rng.restore(expected[3])
    for mark, state in zip(marks, expected, strict=True):
        assert torch.equal(mark.state(), state)
    part = rng.select([1])
    assert torch.equal(part.mark().state(), part.state())


def test_threads_draw_what_one_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Rng(*range(5)).normal(99)
    monkeypatch.setattr(rng_module, "MANY", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(Rng(*range(5)).normal(99), alone)


SEEDS = (0, 1, 2**20, 2**32, 2**62, 2**63 - 1)


def test_no_two_domains_and_no_domain_and_no_chain_share_a_number() -> None:
    streams = [(domain, index) for domain in Domain for index in (0, 1, 999)]
    rngs = [Rng(*SEEDS, domain=domain, index=index) for domain, index in streams]
    keys = torch.cat([rng.state()[:, 4:6] for rng in rngs])
    assert len(keys.unique(dim=0)) == len(streams) * len(SEEDS)
    draws = torch.cat([rng.normal(4096) for rng in rngs])
    correlation = torch.corrcoef(draws) - torch.eye(len(draws))
    assert correlation.abs().max() < 6 / 4096**0.5


def test_only_chains_draw_from_the_domain_of_chains() -> None:
    chains = {
        "run/sampling.py",
        "record/experiment.py",
        "record/parts.py",
        "run/apart.py",
        "builtin/study/evaluate.py",
    }
    root = Path(latentzoo.__file__).parent
    for path in root.rglob("*.py"):
        where = path.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Rng" and node.args:
                named = any(k.arg == "domain" for k in node.keywords)
                assert named or where in chains, f"{where}:{node.lineno} draws a chain's numbers"


def test_fixed_noise_is_no_chains_start() -> None:
    """The first noise map, and the first block held still, once were those of chain 0 of run 0."""
    layer = stylegan2.build(widths=[4, 4]).synthesis.layers[0]
    first = Rng(*seeds(0, 1)).normal(16)[0]
    assert not torch.equal(layer.noise_const.flatten(), first)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_uniform_number_is_below_one_in_any_type(dtype: torch.dtype) -> None:
    """What is below 1 in 32 bits is rounded to 1 in 16: 1 of 500 numbers of bfloat16."""
    u = Rng(3, dtype=dtype).uniform(20_000)
    assert u.dtype == dtype and u.min() >= 0 and u.max() < 1
    common = torch.cat([shared_uniform(Rng(*range(500), dtype=dtype), n) for n in range(20)])
    assert common.min() >= 0 and common.max() < 1
