"""Kernel Stein discrepancy: its definition, that its probability is uniform by chance, what it sees and what not."""

import pytest
import torch
from torch import Tensor

from latentzoo.diagnosis.ksd import MOST, ksd

DIM, CHAINS = 12, 32
MEAN, SD = torch.linspace(-3, 3, DIM).double(), torch.linspace(0.1, 1, DIM).double()


def slope(z: Tensor) -> Tensor:
    """The gradient of phi of the posterior N(MEAN, SD^2)."""
    return (z - MEAN) / SD**2 - z


def drawn(seed: int, chains: int = CHAINS) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return MEAN + SD * torch.randn(chains, DIM, generator=draw, dtype=torch.float64)


def test_it_is_the_mean_of_its_definition() -> None:
    z = drawn(0, 9)
    y, width = (z - z.mean(0)) / z.std(0), z.std(0)
    length2 = torch.cdist(y, y)[~torch.eye(9, dtype=torch.bool)].square().median()
    kernel = lambda a, b: (1 + ((a - b) / width).square().sum() / length2) ** -0.5
    # in the scaled coordinates each derivative has the dimension's width before it
    total = 0.0
    for i in range(9):
        for j in set(range(9)) - {i}:
            a, b = z[i].clone().requires_grad_(), z[j].clone().requires_grad_()
            s, t = -(a + slope(a)).detach() * width, -(b + slope(b)).detach() * width
            k = kernel(a, b)
            (da,) = torch.autograd.grad(k, a, create_graph=True)
            (db,) = torch.autograd.grad(k, b, retain_graph=True)
            cross = [torch.autograd.grad(da[n], b, retain_graph=True)[0][n] for n in range(DIM)]
            first = k.detach() * (s @ t) + s @ (width * db) + t @ (width * da.detach())
            total += float(first + (torch.stack(cross) * width**2).sum())
    found = ksd(z, slope(z))
    assert found is not None and found.value == pytest.approx(total / 72 / DIM, rel=1e-9)


def test_at_the_posterior_its_probability_is_uniform() -> None:
    p = torch.tensor([ksd(z, slope(z)).p for z in map(drawn, range(200))])
    assert 0.4 < p.mean() < 0.6
    assert (p < 0.1).float().mean() < 0.17 and (p < 0.01).float().mean() < 0.04


@pytest.mark.parametrize(
    "wrong",
    [
        lambda z: z + 0.6 * SD,
        lambda z: z + 2 * SD * (torch.arange(DIM) == 0),
        lambda z: MEAN + 0.5 * (z - MEAN),
    ],
    ids=["moved", "one coordinate moved", "narrow"],
)
def test_it_sees_means_and_widths(wrong) -> None:
    for seed in range(5):
        z = wrong(drawn(seed))
        assert ksd(z, slope(z)).p < 0.01


def test_it_sees_no_mode_that_no_chain_is_in() -> None:
    """Documented blindness: half of the posterior is missing, and score and draws agree."""

    def pull(z: Tensor) -> Tensor:
        place = torch.tensor([-4.0, 4.0]).double()
        near = (-(z[:, :1] - place).square() / 0.18).softmax(1)
        first = (near * (z[:, :1] - place)).sum(1, keepdim=True) / 0.09 - z[:, :1]
        return torch.cat([first, torch.zeros_like(z[:, 1:])], 1)

    found = []
    for seed in range(10):
        z = (drawn(seed) - MEAN) / SD
        z[:, 0] = 4 + 0.3 * z[:, 0]
        found.append(ksd(z, pull(z)).p)
    assert sum(p < 0.05 for p in found) <= 2


def test_chains_of_one_start_are_no_evidence_each() -> None:
    p = []
    for seed in range(40):
        family = torch.arange(8).repeat_interleave(8)
        z = MEAN + 0.95 * (drawn(seed, 8) - MEAN)[family] + 0.3 * (drawn(seed + 99, 64) - MEAN)
        p.append((ksd(z, slope(z), family).p, ksd(z, slope(z)).p))
    together, apart = torch.tensor(p).unbind(1)
    assert (together < 0.05).float().mean() < 0.15 < (apart < 0.05).float().mean()


def test_draws_behind_a_wall_that_none_touches_are_not_judged() -> None:
    z = drawn(0)
    touched = torch.where(torch.arange(CHAINS)[:, None] < 3, 100.0, 0.0) * torch.ones_like(z)
    assert ksd(z, 0 * z) is None and ksd(z, touched) is None


def test_what_it_cannot_tell_it_does_not() -> None:
    z = drawn(0, 7)
    assert ksd(z, slope(z)) is None
    same = MEAN.expand(16, -1)
    assert ksd(same, slope(same)) is None
    many = drawn(0, MOST + 8)
    assert ksd(many, slope(many)) == ksd(many[:MOST], slope(many[:MOST]))
