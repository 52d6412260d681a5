"""Generators and energies with one fault each, and sound ones beside them; the key says what is wrong."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from latentzoo.energies.base import Energy, Function
from latentzoo.generator import Generator
from latentzoo.space import Space


class Map(Generator):
    """A small network to 8 x 8 pixels; the hidden layer and the end can be exchanged."""

    def __init__(
        self,
        hidden: nn.Module | None = None,
        end: Callable[[Tensor], Any] = torch.sigmoid,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.space, self.size, self.channels = Space(style=(12,), rest=(4,)), (8, 8), channels
        self.first, self.last = nn.Linear(16, 32), nn.Linear(32, channels * 64)
        self.hidden, self.end = hidden or nn.Identity(), end
        generator = torch.Generator().manual_seed(0)
        for weight in self.parameters():
            if weight.ndim == 2:
                weight.data.normal_(0, weight.shape[1] ** -0.5, generator=generator)
        self.eval()

    def forward(self, z: Tensor) -> Any:
        hidden = self.hidden(self.first(z).relu())
        return self.end(self.last(hidden).unflatten(1, (self.channels, *self.size)))


class Layer(nn.Module):
    """A layer that is a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class ByPlace(nn.Module):
    """Noise that is the same in every call, and another for every row of a batch."""

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
        return x + 0.5 * noise


class Counting(nn.Module):
    """A layer that is another one at every call."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * (1 + 0.1 * self.calls)


class Remembering(nn.Module):
    """A layer that counts its calls in a buffer, and does nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return x


class Ungraded(Map):
    """No gradient passes through."""

    @torch.no_grad()
    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z)


class Ignoring(Map):
    """One of its blocks does nothing."""

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(self.space.join(**(self.space.split(z) | {"rest": z[:, :4] * 0})))


class Spaceless(Generator):
    """It does not say what its latent is."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.size = nn.Linear(16, 192), (8, 8)

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z).unflatten(1, (3, 8, 8))


def lying() -> Map:
    """It says another size than it has."""
    generator = Map()
    generator.forward = lambda z: Map.forward(generator, z)[:, :, ::2, ::2]
    return generator


def noisy(x: Tensor) -> Tensor:
    return x + 0.3 * torch.randn_like(x)


def overshot(x: Tensor) -> Tensor:
    """In [0, 1], but for one pixel, as those of a GAN may be."""
    bright = torch.ones(3, 8, 8)
    bright[0, 0, 0] = 4
    return x.sigmoid() * bright


GOOD: dict[str, Callable[[], Generator]] = {
    "plain": Map,
    "train mode without layers that care": lambda: Map().train(),
    "batch norm in eval mode": lambda: Map(nn.BatchNorm1d(32)).eval(),
    "dropout in eval mode": lambda: Map(nn.Dropout(0.5)).eval(),
    "group norm in train mode": lambda: Map(nn.GroupNorm(4, 32)).train(),
    "single pixels overshoot": lambda: Map(end=overshot),
    "float64": lambda: Map().double(),
    "clamped softly": lambda: Map(end=lambda x: 0.5 + x.tanh() / 2),
}

# what is wrong: (the generator, what the probe raises or notes, the law that `check` finds broken)
BAD: dict[str, tuple[Callable[[], Generator], str, str]] = {
    "one channel": (lambda: Map(channels=1), r"shape \(3, 1, 8, 8\).*expand\(-1, 3", "shape"),
    "channels last": (
        lambda: Map(end=lambda x: x.sigmoid().permute(0, 2, 3, 1)),
        r"permute\(0, 3, 1, 2\)",
        "shape",
    ),
    "another size": (lying, r"set self.size = \(4, 4\)", "shape"),
    "flat": (lambda: Map(end=lambda x: x.sigmoid().flatten(1)), r"return \(3, 3, 8, 8\)", "shape"),
    "a dict": (lambda: Map(end=lambda x: {"image": x}), "returned a dict; return", "shape"),
    "bytes": (lambda: Map(end=lambda x: (x.sigmoid() * 255).byte()), "returned uint8", "shape"),
    "in [-1, 1]": (lambda: Map(end=lambda x: (4 * x).tanh()), r"looks like \[-1, 1\]", "range"),
    "0 to 255": (lambda: Map(end=lambda x: 255 * x.sigmoid()), "looks like bytes", "range"),
    "unbounded": (lambda: Map(end=lambda x: 16 * x), "images run from .* scale them", "range"),
    "random": (lambda: Map(Layer(noisy)), "generator is random", "repeatable"),
    "another at every call": (lambda: Map(Counting()), "generator is random", "repeatable"),
    "dropout in train mode": (
        lambda: Map(nn.Dropout(0.5)).train(),
        r"generator is random.*call .eval\(\)",
        "repeatable",
    ),
    "noise by place": (lambda: Map(ByPlace()), "row alone another value", "batch"),
    "mixed by the batch": (lambda: Map(Layer(lambda x: x - x.mean(0))), "row alone", "batch"),
    "batch norm in train mode": (
        lambda: Map(nn.BatchNorm1d(32)).train(),
        r"train mode: its BatchNorm1d 'hidden'.*call .eval\(\)",
        "eval mode",
    ),
    "a buffer that moves": (lambda: Map(Remembering()), "changes its 'hidden.seen'", "nothing"),
}

# only a network's gradient is broken: the probe may have nothing to say, because pcn and slice take it
FLAT: dict[str, tuple[Callable[[], Generator], str]] = {
    "no gradient": (Ungraded, "gradient"),
    "detached": (lambda: Map(Layer(lambda x: x.detach())), "gradient"),
    "rounded": (lambda: Map(end=lambda x: (255 * x.sigmoid()).round() / 255), "gradient"),
    "a block ignored": (Ignoring, "reaches 'rest'"),
}


def dark(x: Tensor) -> Tensor:
    return x.square().mean((1, 2, 3))


class Normed(Energy):
    """An energy with a batch norm, which nobody has put in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, image: Tensor) -> Tensor:
        return dark(self.norm(image))


class Listing(Energy):
    """An energy that returns no tensor."""

    def forward(self, image):
        return dark(image).tolist()


class Dropped(Energy):
    """An energy with a dropout in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, image: Tensor) -> Tensor:
        return dark(self.drop(image))


class Learning(Energy):
    """An energy that keeps a mean of what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, image: Tensor) -> Tensor:
        self.mean += image.detach().mean()
        return dark(image)


GOOD_ENERGIES: dict[str, Callable[[], Energy]] = {
    "plain": lambda: Function(dark),
    "in float64": lambda: Function(lambda x: dark(x.double())),
    "in half": lambda: Function(lambda x: dark(x).half()),
    "batch norm in eval mode": lambda: Normed().eval(),
    "constant": lambda: Function(lambda x: 0 * dark(x) + 1),
    "large": lambda: Function(lambda x: 1e6 * dark(x) + 1e6),
    "without a gradient": lambda: Function(lambda x: dark(x.detach())),
}

BAD_ENERGIES: dict[str, tuple[Callable[[], Energy], str]] = {
    "one for all": (lambda: Function(lambda x: x.mean()), r"'odd' returned shape \(\) for 3"),
    "a column": (lambda: Function(lambda x: dark(x)[:, None]), r"'odd' returned shape \(3, 1\)"),
    "one per channel": (lambda: Function(lambda x: x.mean((0, 2, 3))), r"returned shape \(3,\)"),
    "a list": (Listing, "'odd' returned list"),
    "random": (lambda: Function(lambda x: dark(x) + 0.1 * torch.rand(len(x))), "'odd' is random"),
    "dropout in train mode": (Dropped, r"'odd' is random.*call .eval\(\)"),
    "mixes the batch": (
        lambda: Function(lambda x: (dark(x) - dark(x).mean()).square()),
        "'odd' gives a row alone another value",
    ),
    "ranks the batch": (
        lambda: Function(lambda x: dark(x) * torch.arange(1, len(x) + 1)),
        "'odd' gives a row alone another value",
    ),
    "batch norm in train mode": (Normed, r"'odd' is in train mode: its BatchNorm2d 'norm'"),
    "learns": (Learning, "'odd' changes its 'mean'"),
    "rounded": (lambda: Function(lambda x: (20 * x).round().mean((1, 2, 3))), "gradient of phi"),
}
