"""Noise: a stream is its seed, alone or in a batch, and goes on from its state."""

import pytest
import torch

from latentzoo import Rng
from latentzoo.errors import SpecError


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
