"""Attention: the formula, its two derivatives, and no matrix of N x N numbers that is kept."""

import pytest
import torch
from torch import Tensor

from latentzoo.nn import attention
from latentzoo.nn.attention import attend


@pytest.fixture(params=[0, attention.FEW], ids=["kernel", "formula"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few tokens go the way of many, and the way of few."""
    monkeypatch.setattr(attention, "FEW", request.param)


def formula(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v


def tokens(*shape: int, needs: bool = True) -> Tensor:
    """Tokens whose channels are not last in memory, as a convolution leaves them."""
    return torch.randn(*shape[:2], shape[3], shape[2], dtype=torch.float64).mT.requires_grad_(
        needs
    )


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("constant", [(), (0,), (1, 2)])
def test_attention_and_its_derivatives_are_those_of_the_formula(constant: tuple[int, ...]) -> None:
    inputs = [tokens(2, 3, n, 4, needs=i not in constant) for i, n in enumerate((5, 7, 7))]
    torch.testing.assert_close(attend(*inputs), formula(*inputs))
    assert torch.autograd.gradcheck(attend, inputs)
    assert torch.autograd.gradgradcheck(attend, inputs)


@pytest.mark.usefixtures("way")
def test_a_gradient_can_be_taken_again() -> None:
    q, k, v = (tokens(1, 2, 6, 4) for _ in range(3))
    y = attend(q, k, v).square().sum()
    first = torch.autograd.grad(y, (q, k, v), retain_graph=True)
    assert all(map(torch.equal, first, torch.autograd.grad(y, (q, k, v))))


def test_what_is_kept_grows_with_the_tokens_and_not_with_their_square() -> None:
    def kept(n: int) -> int:
        seen: dict[int, int] = {}

        def pack(x: Tensor) -> Tensor:
            seen[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            y = attend(*(tokens(1, 2, n, 8) for _ in range(3)))
        assert y.requires_grad
        return sum(seen.values())

    assert kept(512) == pytest.approx(4 * kept(128), rel=0.05)
