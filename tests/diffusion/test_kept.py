"""Steps that are kept lean: the same bits, in less memory, whatever a network does between its convolutions."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.diffusion.kept import Kept
from latentzoo.errors import LatentzooError


def frozen(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers).requires_grad_(False)


def film(y: Tensor) -> Tensor:
    """A norm whose map is scaled and shifted by little."""
    return F.silu(NORM(y) * torch.full((1, 8, 1, 1), 1.5) + torch.full((8, 1, 1), 0.2))


def in_place(y: Tensor) -> Tensor:
    h = NORM(y)
    return F.gelu(F.silu(F.silu(h.add_(1)) * 0.5, inplace=True))


def changed_later(y: Tensor) -> Tensor:
    """What a product was made of changes afterwards, which a gradient does not mind."""
    h = y * 2
    z = F.silu(h)
    y.sub_(3)
    return z + y


NORM = frozen(nn.GroupNorm(2, 8))[0]
CONV = frozen(nn.Conv2d(8, 8, 3, padding=1))[0]
STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "2d": frozen(nn.GroupNorm(2, 8), nn.SiLU(), nn.Conv2d(8, 8, 3, padding="same")),
    "1d": frozen(nn.Flatten(2), nn.GroupNorm(2, 8), nn.Conv1d(8, 8, 1), nn.SiLU()),
    "3d": frozen(nn.Unflatten(3, (-1, 3)), nn.SiLU(), nn.Conv3d(8, 8, 2, groups=2)),
    "channels last": lambda x: CONV(F.silu(x.to(memory_format=torch.channels_last))),
    "one picture": lambda x: torch.stack([CONV(F.silu(v)) for v in x]),
    "rows": frozen(nn.LayerNorm(6), nn.Linear(6, 6), nn.GELU(), nn.RMSNorm(6), nn.Linear(6, 6)),
    "scaled": lambda x: CONV(film(CONV(x))),
    "changed in place": lambda x: CONV(in_place(CONV(x))),
    "changed later": lambda x: CONV(changed_later(CONV(x))),
    "named": lambda x: CONV(F.silu(F.group_norm(input=CONV(x), num_groups=2))),
    "trained": nn.Sequential(nn.GroupNorm(2, 8), nn.SiLU(), nn.Conv2d(8, 8, 3, padding=1)),
}


def gradients(step: Callable[[Tensor], Tensor], *, lean: bool, order: int = 1) -> list[Tensor]:
    x = torch.randn(2, 8, 6, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
    weights = [p for p in getattr(step, "parameters", list)() if p.requires_grad]
    with Kept().step(lean=lean):
        y = step(x).square().sum()
    found = torch.autograd.grad(y, [x, *weights], create_graph=order == 2)
    if order == 2:
        length = torch.stack([g.square().sum() for g in found]).sum()
        found = torch.autograd.grad(length, [x, *weights])
    return [*found]


@pytest.mark.parametrize("name", STEPS)
def test_gradients_are_bit_equal(name: str) -> None:
    lean, whole = (gradients(STEPS[name], lean=lean) for lean in (True, False))
    assert all(map(torch.equal, lean, whole)) and lean[0].abs().max() > 0


@pytest.mark.parametrize("name", STEPS)
def test_second_derivatives_are_right(name: str) -> None:
    lean, whole = (gradients(STEPS[name], lean=lean, order=2) for lean in (True, False))
    torch.testing.assert_close(lean, whole)


def test_half_precision_by_autocast_is_bit_equal() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        lean, whole = (gradients(STEPS["scaled"], lean=lean) for lean in (True, False))
    assert torch.equal(*lean, *whole)


def test_of_norm_activation_and_convolution_one_map_is_kept() -> None:
    counts = []
    for lean in (False, True):
        kept, x = Kept(), torch.randn(1, 64, 32, 32, requires_grad=True)
        net = frozen(nn.GroupNorm(8, 64), nn.SiLU(), nn.Conv2d(64, 64, 1))
        with kept.step(lean=lean):
            net(x)
        counts.append(kept.last / x.nbytes)
    assert 3 < counts[0] < 3.1 and 1 < counts[1] < 1.1  # and the weights


def test_several_maps_are_not_held_to_spare_their_sum() -> None:
    counts = []
    for lean in (False, True):
        kept, x = Kept(), torch.randn(2, 8, 6, 6, requires_grad=True)
        with kept.step(lean=lean):
            F.silu(F.silu(x) + torch.randn(2, 8, 6, 6) + torch.randn(2, 8, 6, 6))
        counts.append(kept.last / x.nbytes)
    assert counts == [2, 2]


def test_a_small_part_that_changes_in_place_is_found() -> None:
    shift = torch.zeros(8, 1, 1)
    x = torch.ones(2, 8, 6, 6, requires_grad=True)
    with Kept().step(lean=True):
        y = F.silu(NORM(x) + shift).sum()
    shift.add_(1)
    with pytest.raises(LatentzooError, match="in place"):
        y.backward()
