import gc
import weakref

import pytest
import torch
from torch import nn

from latentzoo.diffusion import memory
from latentzoo.diffusion.memory import fold
from latentzoo.errors import LatentzooError, SpecError

CHOICES = ["auto", "lean", "sqrt", True]


@pytest.fixture
def network():
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 8, 3, padding=1),
        nn.GroupNorm(2, 8),
        nn.SiLU(),
        nn.Conv2d(8, 3, 3, padding=1),
    ]
    return nn.Sequential(*layers).requires_grad_(False)


def gradient(network, recompute, *, steps=7, order=1):
    z = torch.randn(
        2, steps + 1, 3, 6, 6, generator=torch.Generator().manual_seed(1)
    ).requires_grad_()
    shift = torch.tensor(0.3, requires_grad=True)
    x, *noise = z.unbind(1)

    def step(x, i):
        return x * 0.9 + 0.2 * network(x + shift) * shift + 0.1 * noise[i]

    x = fold(step, x, range(steps), recompute=recompute)
    grads = torch.autograd.grad(x.square().sum(), (z, shift), create_graph=order == 2)
    if order == 2:
        return torch.autograd.grad(sum(g.square().sum() for g in grads), (z, shift))
    return grads


@pytest.mark.parametrize("steps", [1, 2, 7, 9])
@pytest.mark.parametrize("recompute", CHOICES)
def test_gradients_are_bit_equal(network, recompute, steps):
    """With respect to the start and to each step's noise; what all steps read is a sum of its own order."""
    expected = gradient(network, False, steps=steps)
    z, shift = gradient(network, recompute, steps=steps)
    assert torch.equal(z, expected[0]) and z.abs().amax(dim=(0, 2, 3, 4)).min() > 0
    torch.testing.assert_close(shift, expected[1], rtol=1e-6, atol=1e-6)
    assert shift.abs() > 0.1


@pytest.mark.parametrize("recompute", CHOICES)
def test_what_a_state_carries_along_has_a_bit_equal_gradient(network, recompute):
    def run(recompute):
        code = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(3)).requires_grad_()

        def step(state, i):
            x, code = state
            return (x + 0.3 * network(x * code) * code, code)

        x, _ = fold(step, (torch.ones(2, 3, 6, 6), code), range(7), recompute=recompute)
        return torch.autograd.grad(x.square().sum(), code)[0]

    assert torch.equal(run(recompute), run(False))


@pytest.mark.parametrize("recompute", CHOICES)
def test_second_derivatives_are_right(network, recompute):
    expected = gradient(network, False, order=2)
    for a, b in zip(gradient(network, recompute, order=2), expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("recompute", CHOICES)
def test_states_may_be_tuples(recompute):
    def run(recompute):
        x = torch.linspace(-1, 1, 5, requires_grad=True)
        step = lambda pair, i: (pair[1].sin() * (i + 1), pair[0] * pair[1])
        a, b = fold(step, (x, x * 2), range(5), recompute=recompute)
        return torch.autograd.grad((a + b).sum(), x)[0]

    assert torch.equal(run(recompute), run(False))


@pytest.mark.parametrize("recompute", [*CHOICES, False])
def test_the_graph_can_be_used_twice(network, recompute):
    x = torch.randn(1, 3, 6, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = fold(lambda x, i: x + 0.1 * network(x), x, range(6), recompute=recompute).sum()
    first = torch.autograd.grad(y, x, retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(y, x)[0])


def calls(recompute, steps=16, *, backward=True):
    count = 0

    def step(x, _):
        nonlocal count
        count += 1
        return (x * x).sin()

    x = torch.ones(3, requires_grad=True)
    y = fold(step, x, range(steps), recompute=recompute).sum()
    if backward:
        y.backward()
    return count


def test_what_is_run_again():
    """True runs all steps twice; sqrt walks each segment once more to find its states."""
    assert calls(False) == 16
    assert calls("auto") == calls("lean") == 16
    assert calls(True, backward=False) == 16
    assert calls(True) == 2 * 16
    assert calls("sqrt") == 3 * 16


def test_auto_keeps_the_steps_that_memory_holds(network, monkeypatch):
    expected = gradient(network, False)[:1]
    runs = []
    for free in (0, 80e3, 160e3, 1e9):
        monkeypatch.setattr(memory, "_free", lambda _, free=free: free)
        count = 0

        class Counted(nn.Module):
            def forward(self, x):
                nonlocal count
                count += 1
                return network(x)

        assert torch.equal(gradient(Counted(), "auto")[0], expected[0])
        runs.append(count)
    assert runs[0] == 14 and runs[-1] == 7 and runs == sorted(runs, reverse=True)
    assert len(set(runs)) > 2


def test_auto_keeps_steps_whole_then_lean_then_not_at_all(network, monkeypatch):
    monkeypatch.setattr(memory, "_free", lambda _: 4 * 16 * SIZE)
    budget, sizes = memory.Budget("auto", torch.device("cpu")), []
    x = torch.randn(2, 3, 6, 6, requires_grad=True)
    for _ in range(60):
        before = budget._kept.bytes
        x = budget.run(lambda x, _: network(x), x, None)
        sizes.append(budget._kept.bytes - before)
    assert sizes[1] > 2 * sizes[10] > 0 == sizes[-1]
    assert sizes[10:] == sorted(sizes[10:], reverse=True)
    assert 12 * SIZE < sum(sizes) <= 16 * SIZE


SIZE = 2 * 4 * 36 * (3 + 3 * 8)
"""The bytes that a step of the network keeps, kept whole: the maps that its layers read, of 3 and of 8 channels."""


@pytest.mark.parametrize("recompute", [*CHOICES, False])
def test_nothing_is_kept_without_gradients(recompute):
    alive = []

    def step(x, _):
        y = x + 1
        alive.append(weakref.ref(y))
        return y

    with torch.no_grad():
        fold(step, torch.zeros(3), range(5), recompute=recompute)
    assert all(ref() is None for ref in alive)


@pytest.mark.parametrize("backward", [True, False])
@pytest.mark.parametrize("recompute", CHOICES)
def test_a_graph_that_is_dropped_frees_its_memory(recompute, backward):
    """No reference cycle passes through autograd, where the collector would not find it."""
    x = torch.zeros(3, requires_grad=True)
    captured = torch.zeros(3)
    alive = weakref.ref(captured)
    y = fold(lambda x, _, c=captured: (x + c).sin(), x * 1, range(5), recompute=recompute)
    if backward:
        y.sum().backward()
    del y, captured
    gc.collect()
    assert alive() is None


def test_a_step_with_side_effects_is_found():
    runs = iter(range(100))

    def step(x, _):
        return x.sin() if next(runs) < 3 else x.sin().cos()

    y = fold(step, torch.ones(2, requires_grad=True), range(3), recompute=True)
    with pytest.raises(LatentzooError, match="not a pure function"):
        y.sum().backward()


def test_an_unknown_choice_is_refused():
    with pytest.raises(SpecError, match="choose 'auto'"):
        fold(lambda x, i: x, torch.zeros(1), range(2), recompute="sometimes")  # pyright: ignore
