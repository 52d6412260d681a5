"""Convolutions of one position are those of torch, whichever way they go."""

import pytest
import torch
from torch import Tensor, nn

from latentzoo.nn.pointwise import Pointwise, Pointwise1d

LAYERS = [(nn.Conv2d(6, 10, 1), Pointwise(6, 10)), (nn.Conv1d(6, 10, 1), Pointwise1d(6, 10))]


def gradients(layer: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """What comes out, its gradient, and the gradient of that."""
    x = x.clone().requires_grad_()
    y = layer(x)
    (first,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
    return y, first, *torch.autograd.grad(first.square().sum(), x)


@pytest.mark.parametrize(("theirs", "ours"), LAYERS)
@pytest.mark.parametrize("chains", [1, 3])
def test_they_are_those_of_torch(theirs: nn.Module, ours: nn.Module, chains: int) -> None:
    ours.load_state_dict(theirs.state_dict())
    side = (64, 64) if isinstance(theirs, nn.Conv2d) else (4096,)
    x = torch.randn(chains, 6, *side, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float64, torch.float32):
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        pairs = zip(
            *(gradients(net.to(dtype), x.to(dtype)) for net in (theirs, ours)), strict=True
        )
        for a, b in pairs:
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
