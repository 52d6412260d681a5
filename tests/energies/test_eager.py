"""Energies of altered copies: the mean and its derivatives, each copy computed once; what the alterations do."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import latentzoo as lz
from latentzoo.energies import eager
from latentzoo.energies.augment import Draws, augment, resize, translate
from latentzoo.errors import EnergyError

TERMS: list[Callable[[Tensor], Tensor]] = [
    lambda x: x.sin().sum((1, 2, 3)),
    lambda x: (x[:, 0] * x[:, 1]).mean((1, 2)),
    lambda x: x.square().flatten(1).sum(1).sqrt(),
]


def image(n: int = 2, side: int = 3) -> Tensor:
    return torch.rand(n, 3, side, side, dtype=torch.float64, requires_grad=True)


def test_the_mean_and_both_its_derivatives_are_those_of_the_terms() -> None:
    x, plain = image(), lambda x: torch.stack([term(x) for term in TERMS]).mean(0)
    torch.testing.assert_close(eager.mean(TERMS, x), plain(x))
    upstream = torch.tensor([2.0, -3.0], dtype=torch.float64)
    ours, theirs = (
        torch.autograd.grad(f(x), x, upstream) for f in (lambda x: eager.mean(TERMS, x), plain)
    )
    torch.testing.assert_close(ours, theirs)
    assert torch.autograd.gradgradcheck(lambda x: eager.mean(TERMS, x), x)


def test_each_term_is_computed_once() -> None:
    calls: list[int] = []

    def term(x: Tensor) -> Tensor:
        calls.append(1)
        return x.sin().exp().cos().sum((1, 2, 3))

    x = image()
    y = eager.mean([term] * 4, x).sum()
    before = len(calls)
    torch.autograd.grad(y, x)
    assert before == len(calls) == 4
    with torch.no_grad():
        eager.mean([term], x)
    assert len(calls) == 5


def test_a_term_that_is_detached_is_named() -> None:
    with pytest.raises(EnergyError, match="does not depend on the image"):
        eager.mean([lambda x: x.detach().sum((1, 2, 3))], image())


@pytest.mark.parametrize("together", [1, 2, 3])
@pytest.mark.parametrize("per_chain", [False, True])
def test_the_energy_of_copies_is_the_mean_over_altered_pictures(
    together: int, per_chain: bool
) -> None:
    texts = ["a person with a yellow hat", "a person with a beard"]
    more = {"copies": 3, "together": together, "per_chain": per_chain}
    energy = lz.Clip(texts, "avatar-clip", **more)
    x = torch.rand(2, 3, 64, 64, requires_grad=True)
    draws = Draws.fixed(3, (64, 64))
    copies = augment(x.repeat_interleave(3, 0), draws.repeat(2))
    whole = energy.distance(copies, 3).view(2, 3).mean(1)
    torch.testing.assert_close(energy(x), whole)
    ours, theirs = (torch.autograd.grad(e.sum(), x)[0] for e in (energy(x), whole))
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("side", [8, 9])
def test_resizing_is_linear_interpolation_about_the_centre(side: int) -> None:
    u = torch.linspace(0, 0.999, 12, dtype=torch.float64)
    x = torch.rand(12, 1, side, side, dtype=torch.float64)
    for y, picture, each in zip(resize(x, u), x, u, strict=True):
        n = int(side * (0.8 + 0.4 * float(each)))
        first = int((side - n) / 2)
        for r in range(side):
            for c in range(side):
                inside = 0 <= r - first < n and 0 <= c - first < n
                want = bilinear(picture[0], r - first, c - first, n) if inside else 0.0
                assert float(y[0, r, c]) == pytest.approx(want, abs=1e-12)


def bilinear(x: Tensor, row: int, col: int, n: int) -> float:
    """The picture at a pixel of its n x n version."""
    side, at = len(x), []
    for k in (row, col):
        place = max((k + 0.5) * side / n - 0.5, 0.0)
        low = min(int(place), side - 1)
        at.append((low, min(low + 1, side - 1), place - low))
    (r, r1, a), (c, c1, b) = at
    top = (1 - b) * x[r, c] + b * x[r, c1]
    return float((1 - a) * top + a * ((1 - b) * x[r1, c] + b * x[r1, c1]))


def test_a_picture_is_moved_by_its_own_draws() -> None:
    x = torch.arange(2 * 16.0).view(2, 1, 4, 4)
    y = translate(x, torch.tensor([1, -1]), torch.tensor([0, 2]))
    assert torch.equal(y[0, 0, :3], x[0, 0, 1:]) and not y[0, 0, 3].any()
    assert torch.equal(y[1, 0, 1:, :2], x[1, 0, :3, 2:])
    assert not y[1, 0, 0].any() and not y[1, 0, :, 2:].any()
