"""Starts picked of several draws: their law, whose seed they are, and what they cost."""

import pytest
import torch
from torch import Tensor

from latentzoo import sample
from latentzoo.errors import SpecError
from latentzoo.kernels.types import Function
from latentzoo.rng import Rng
from latentzoo.run.starts import TRIES, affordable, choose, pick


def bowl(z: Tensor) -> Tensor:
    return 30 * (z - 1).square().sum(1)


def chosen(phi: Function, rng: Rng, dim: int, tries: int) -> Tensor:
    """The starts that are picked."""
    return rng.at(choose(phi, rng, dim, tries)).normal(dim)


def test_a_choice_has_the_law_of_its_temperature() -> None:
    """Two values a half and three ten times: with J = 6 and a worth of two, only the two are left."""
    phi = torch.tensor([[0.0, 0.0, 900.0, 900.0, 900.0, 900.0]]).expand(20_000, -1)
    u = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    share = torch.bincount(pick(phi, u), minlength=6) / 20_000
    assert share[:2].tolist() == pytest.approx([0.5, 0.5], abs=0.015)
    assert share[2:].max() < 0.005


def test_equal_draws_are_picked_alike() -> None:
    u = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    share = torch.bincount(pick(torch.zeros(20_000, 5), u), minlength=5) / 20_000
    assert share.tolist() == pytest.approx([0.2] * 5, abs=0.015)


def test_weak_energies_are_picked_at_the_posterior_itself() -> None:
    """Where all draws are worth more than a third at b = 1, the choice is importance resampling."""
    phi = torch.tensor([[0.0, 0.5, 1.0]]).expand(50_000, -1)
    u = torch.rand(50_000, generator=torch.Generator().manual_seed(0))
    share = torch.bincount(pick(phi, u), minlength=3) / 50_000
    assert share.tolist() == pytest.approx((-phi[0]).softmax(0).tolist(), abs=0.01)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_draw_that_is_not_finite_is_not_picked(bad: float) -> None:
    phi = torch.tensor([[bad, 3.0, bad]]).expand(100, -1)
    assert (pick(phi, torch.linspace(0, 0.999, 100)) == 1).all()


def test_few_finite_draws_are_picked_alike() -> None:
    """Two of eight are less than a third, so no temperature fits; still only they are picked."""
    phi = torch.full((100, 8), torch.nan).index_fill(1, torch.tensor([2, 5]), 3.0)
    phi[:, 6] = torch.inf
    chosen = pick(phi, torch.linspace(0, 0.999, 100))
    assert chosen.unique().tolist() == [2, 5]


@pytest.mark.parametrize("tries", [0, 100])
def test_tries_that_the_budget_does_not_allow_are_an_error(tries: int) -> None:
    with pytest.raises(SpecError, match="tries"):
        sample(bowl, dim=4, chains=2, steps=20, tries=tries)


def test_one_try_is_the_prior_and_evaluates_nothing() -> None:
    def never(z: Tensor) -> Tensor:
        raise AssertionError(f"{z.shape} was rated")

    z = chosen(Function(never), Rng(3, 4), 6, 1)
    assert torch.equal(z, Rng(3, 4).normal(6))


def test_the_start_of_a_chain_is_its_seed() -> None:
    together = chosen(Function(bowl), Rng(5, 6, 7), 4, 8)
    alone = torch.cat([chosen(Function(bowl), Rng(seed), 4, 8) for seed in (5, 6, 7)])
    assert torch.equal(together, alone)


def test_starts_are_better_than_the_prior() -> None:
    rng = Rng(*range(200))
    assert (
        bowl(chosen(Function(bowl), rng, 4, 8)).mean()
        < 0.75 * bowl(Rng(*range(200)).normal(4)).mean()
    )


def test_what_draws_cost_is_part_of_the_budget() -> None:
    result = sample(bowl, dim=4, chains=4, steps=60, tries=9, kernel="ghmc")
    whole = sample(bowl, dim=4, chains=4, steps=60, kernel="ghmc")
    assert result.gradients == pytest.approx(whole.gradients)
    assert len(result.trace) == len(whole.trace) - 3


@pytest.mark.parametrize(("steps", "tries"), [(0, 1), (5, 1), (26, 1), (27, TRIES), (500, TRIES)])
def test_short_runs_do_not_spend_much_on_starts(steps: int, tries: int) -> None:
    assert affordable(steps) == tries
