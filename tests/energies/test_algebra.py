"""The algebra of energies against its closed forms."""

import math
import random

import pytest
import torch
from torch import Tensor

from latentzoo.energies.base import Either, Energy, Function, Not, Sum
from latentzoo.errors import SpecError
from latentzoo.posterior import Posterior
from toys import Affine


def _channel(k: int) -> Energy:
    """An energy whose value is the mean of one channel."""
    return Function(lambda image: image[:, k].mean((1, 2)))


A, B, C = map(_channel, range(3))


def _image(*values: tuple[float, float, float], dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor(values, dtype=dtype)[:, :, None, None].expand(-1, -1, 2, 2).clone()


IMAGE = _image((0.3, 1.2, 0.7), (2.0, 0.1, 0.01), (5.0, 4.0, 9.0))


def test_either_adds_what_pictures_are_worth() -> None:
    a, b = A(IMAGE), B(IMAGE)
    torch.testing.assert_close((A | B)(IMAGE), -torch.log(torch.exp(-a) + torch.exp(-b)))
    torch.testing.assert_close(
        (500 * A | 3 * B)(IMAGE), -torch.logaddexp(-500 * a, -3 * b), rtol=1e-12, atol=0
    )


def test_either_of_many_is_flat_and_does_not_overflow() -> None:
    many = A | B | C
    assert len(many.energies) == 3
    c = C(IMAGE)
    torch.testing.assert_close(many(IMAGE), -torch.logaddexp(-(A | B)(IMAGE), -c))
    far = _image((1e4, 2e4, 0.0), (-1e4, 3e4, 0.0), dtype=torch.float32)
    torch.testing.assert_close((A | B)(far), torch.tensor([1e4, -1e4]))


def test_not_is_the_logarithm_of_what_is_left() -> None:
    cap = 5.0
    for a, expected in zip(A(IMAGE).tolist(), (~A)(IMAGE).tolist(), strict=True):
        left = 1 - (1 - math.exp(-cap)) * math.exp(-a)
        assert expected == pytest.approx(-math.log(left), rel=1e-12)


def test_not_of_minus_log_p_is_minus_log_of_the_rest() -> None:
    logit = Function(lambda image: torch.nn.functional.softplus(image[:, 0].mean((1, 2))))
    rest = Function(lambda image: torch.nn.functional.softplus(-image[:, 0].mean((1, 2))))
    image = _image(*((x, 0.0, 0.0) for x in (-8.0, -1.0, 0.0, 1.0, 8.0)))
    torch.testing.assert_close(Not(logit, cap=40)(image), rest(image), rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(
        Not(Not(logit, cap=40), cap=40)(image), logit(image), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("cap", [0.5, 5.0, 60.0])
def test_not_is_bounded_falls_and_vanishes(cap: float) -> None:
    values = torch.cat([-torch.logspace(3, -3, 20), torch.zeros(1), torch.logspace(-6, 3, 80)])
    image = _image(*((float(v), 0.0, 0.0) for v in values), dtype=torch.float32).requires_grad_()
    value = Not(A, cap=cap)(image)
    (slope,) = torch.autograd.grad(value.sum(), image)
    assert slope.isfinite().all()
    assert (slope <= 0).all()
    assert (value >= 0).all() and (value <= cap * (1 + 1e-6)).all()
    assert (value.diff() <= 1e-6).all()
    assert value[20].item() == pytest.approx(cap)
    assert value[-1] == 0
    tail = Not(A, cap=cap)(_image((30.0, 0.0, 0.0), dtype=torch.float32))
    assert tail.item() == pytest.approx(-math.expm1(-cap) * math.exp(-30), rel=1e-5)


@pytest.mark.parametrize(
    "energy",
    [A | B, 3 * A | B + 2 * C, ~A, Not(B, cap=60), 500 * (A | B) + 20 * ~C, ~(A | B), ~(~A)],
    ids=["either", "weighted", "not", "high cap", "nested", "neither", "twice"],
)
def test_gradients_are_those_of_finite_differences(energy: Energy) -> None:
    image = IMAGE[:2].clone().requires_grad_()
    assert torch.autograd.gradcheck(energy, image, eps=1e-6, atol=1e-5, rtol=1e-5)


def test_precedence_and_weights() -> None:
    energy = 500 * (A | B) + 20 * ~C
    assert isinstance(energy, Sum)
    assert energy.weights == (500.0, 20.0)
    assert [type(term) for term in energy.energies] == [Either, Not]
    expected = 500 * (A | B)(IMAGE) + 20 * (~C)(IMAGE)
    torch.testing.assert_close(energy(IMAGE), expected, rtol=0, atol=0)
    bare = 500 * A | 500 * B + C
    assert isinstance(bare, Either)
    assert [type(term) for term in bare.energies] == [Sum, Sum]


def test_values_do_not_depend_on_the_batch_or_the_call() -> None:
    energy = 7 * (A | 3 * B) + 2 * ~C
    random.seed(0)
    torch.manual_seed(0)
    first = energy(IMAGE)
    torch.rand(3)
    assert torch.equal(first, energy(IMAGE))
    alone = torch.cat([energy(image[None]) for image in IMAGE])
    torch.testing.assert_close(first, alone, rtol=1e-15, atol=0)


def test_a_posterior_logs_the_terms_of_the_algebra_apart() -> None:
    phi = Posterior(Affine(), {"wish": 500 * (A | B) + 20 * ~C})
    assert phi.names == ("wish.0", "wish.1")
    point = phi.evaluate(torch.ones(2, 6))
    torch.testing.assert_close(point.phi, point.terms @ torch.tensor([500.0, 20.0]))


@pytest.mark.parametrize("cap", [0.0, -1.0, float("inf"), float("nan")])
def test_a_cap_that_bounds_nothing_is_refused(cap: float) -> None:
    with pytest.raises(SpecError, match="cap"):
        Not(A, cap=cap)


def test_a_choice_of_nothing_is_refused() -> None:
    with pytest.raises(SpecError, match="at least one"):
        Either()
