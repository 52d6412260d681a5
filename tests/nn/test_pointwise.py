"""Convolutions of one position are those of torch, whichever way they go."""

import pytest
import torch
from torch import Tensor, nn

from latentzoo.nn.pointwise import Pointwise, Pointwise1d, dilation

LAYERS = [
    layers
    for i, o in ((6, 10), (64, 72))  # of few channels, and of many
    for layers in (
        (nn.Conv2d(i, o, 1), Pointwise(i, o)),
        (nn.Conv1d(i, o, 1), Pointwise1d(i, o)),
    )
]


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
    side = (32, 32) if isinstance(theirs, nn.Conv2d) else (1024,)
    channels = next(theirs.parameters()).shape[1]
    x = torch.randn(chains, channels, *side, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float64, torch.float32):
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        pairs = zip(
            *(gradients(net.to(dtype), x.to(dtype)) for net in (theirs, ours)), strict=True
        )
        for a, b in pairs:
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


WAYS = [
    (64, 64, (32, 32), 2),
    (64, 64, (1024,), 2),
    (256, 256, (8, 8), 2),
    (64, 64, (31, 31), 1),
    (128, 128, (8, 8), 1),
    (32, 32, (128, 128), 1),
    (512, 3, (128, 128), 1),
]


@pytest.mark.parametrize("chains", [1, 8])
@pytest.mark.parametrize(("i", "o", "side", "way"), WAYS)
def test_the_way_is_that_of_the_picture_however_many_there_are(
    i: int, o: int, side: tuple[int, ...], way: int, chains: int
) -> None:
    x, weight = torch.empty(chains, i, *side), torch.empty(o, i, *(1 for _ in side))
    assert dilation(x, weight) == way
    assert dilation(x.double(), weight.double()) == 1  # oneDNN has no float64
    assert dilation(x.to("meta"), weight) == 1
