"""Networks that look at a picture and say what is in it.

`Tower` is smooth everywhere (SiLU, group normalisation, no maximum), because energies are differentiated through it.
`Judge` is built otherwise on purpose (ReLU, batch normalisation, maximum pooling): it only counts, and what fools
the one should not fool the other.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.builtin.networks.blocks import Down, Residual


class Tower(nn.Module):
    """Creates a smooth image tower: pictures `(B, 3, 64, 64)` in [0, 1] to features `(B, out)`.

    Arguments:
        out: The number of features put out.
        widths: The number of features on the grids 16x16, 8x8 and 4x4.
        depths: The number of residual blocks on each.
    """

    def __init__(
        self,
        out: int,
        widths: Sequence[int] = (48, 96, 128),
        depths: Sequence[int] = (1, 2, 2),
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.PixelUnshuffle(2), Down(12, widths[0])]
        layers.append(nn.Conv2d(widths[0], widths[0], 3, padding=1))
        for level, width in enumerate(widths):
            if level:
                layers.append(Down(widths[level - 1], width))
            layers += [Residual(width) for _ in range(depths[level])]
        layers += [nn.GroupNorm(8, widths[-1]), nn.SiLU(), nn.Flatten()]
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(widths[-1] * 16, out)

    def trunk(self, image: Float[Tensor, "B 3 64 64"]) -> Float[Tensor, "B M"]:
        """What the last layer sees."""
        return self.layers(2 * image - 1)

    def forward(self, image: Float[Tensor, "B 3 64 64"]) -> Float[Tensor, "B N"]:
        """The features of pictures."""
        return self.out(self.trunk(image))


class Heads(nn.Module):
    """Creates one linear classifier per attribute.

    Arguments:
        features: The number of features put in.
        sizes: The number of values of each attribute.
    """

    def __init__(self, features: int, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.sizes = dict(sizes)
        self.linear = nn.Linear(features, sum(sizes.values()))

    def forward(self, features: Float[Tensor, "B N"]) -> dict[str, Float[Tensor, "B K"]]:
        """The log-probabilities of the values of each attribute."""
        logits = self.linear(features).split(list(self.sizes.values()), dim=1)
        return {n: x.log_softmax(dim=1) for n, x in zip(self.sizes, logits, strict=True)}


class Guide(nn.Module):
    """Creates the attribute classifier whose gradient guides.

    Arguments:
        sizes: The number of values of each attribute.
        features: The number of features in between.
    """

    def __init__(self, sizes: Mapping[str, int], features: int = 256) -> None:
        super().__init__()
        self.tower = Tower(features)
        self.heads = Heads(features, sizes)

    def features(self, image: Float[Tensor, "B 3 64 64"]) -> Float[Tensor, "B N"]:
        """The features of pictures."""
        return F.silu(self.tower(image))

    def forward(self, image: Float[Tensor, "B 3 64 64"]) -> dict[str, Float[Tensor, "B K"]]:
        """The log-probabilities of the values of each attribute."""
        return self.heads(self.features(image))


class Judge(nn.Module):
    """Creates the held-out attribute classifier.

    Arguments:
        sizes: The number of values of each attribute.
        widths: The number of features at 32x32, 16x16, 8x8 and 4x4.
        features: The number of features in between.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        widths: Sequence[int] = (32, 64, 128, 192),
        features: int = 192,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width_in, width in zip((3, *widths), widths, strict=False):
            stride = 2 if width_in == 3 else 1
            layers += [
                nn.Conv2d(width_in, width, 5 if stride == 2 else 3, stride, padding=stride),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.Conv2d(width, width, 3, padding=1, groups=1 if stride == 1 else 8),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            if width != widths[-1]:
                layers.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.bottleneck = nn.Linear(widths[-1] * 16, features)
        self.heads = Heads(features, sizes)

    def features(self, image: Float[Tensor, "B 3 64 64"]) -> Float[Tensor, "B N"]:
        """The features in which distances between populations are measured."""
        return torch.relu(self.bottleneck(self.layers(image - 0.5)))

    def forward(self, image: Float[Tensor, "B 3 64 64"]) -> dict[str, Float[Tensor, "B K"]]:
        """The log-probabilities of the values of each attribute."""
        return self.heads(self.features(image))
