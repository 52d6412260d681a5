r"""What can be said of a set of pictures by their features, exactly, and how sure it is.

.. math::
    \text{Frechet:} \quad & |m - m'|^2 + \operatorname{tr} \bigl( C + C' - 2 (C C')^{1/2} \bigr) \\
    \text{kernel:} \quad & \overline{k(x_i, x_j)}_{i \ne j} + \overline{k(y_i, y_j)}_{i \ne j}
        - 2\, \overline{k(x_i, y_j)}, \qquad k(x, y) = (x^\top y / F + 1)^3 \\
    \text{diversity:} \quad & \overline{d(x_i, x_j)}_{i \ne j}

The kernel distance is unbiased at any number of pictures; the Frechet distance of few is too large. Intervals are those
of the bootstrap: pictures are drawn again with replacement, and a picture is never paired with itself.

References:
    | GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel et al., 2017)
    | https://arxiv.org/abs/1706.08500
    | Demystifying MMD GANs (Binkowski et al., 2018), https://arxiv.org/abs/1801.01401
    | Exposing flaws of generative model evaluation metrics and their unfair treatment of diffusion models
    | (Stein et al., 2023), https://arxiv.org/abs/2306.04675
    | Bootstrap Methods: Another Look at the Jackknife (Efron, 1979), https://doi.org/10.1214/aos/1176344552
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import SpecError
from latentzoo.rng import Domain, Rng

DRAWS = 1000
NAN = float("nan")


class Estimate(NamedTuple):
    """A number, and the interval in which it lies in 95 of 100 cases; NaN where that is not known."""

    value: float
    low: float = NAN
    high: float = NAN

    def __str__(self) -> str:
        interval = "" if self.low != self.low else f" ({self.low:.4g} to {self.high:.4g})"
        return f"{self.value:.4g}{interval}"


def mean(values: Float[Tensor, "N"], *, seed: int = 0) -> Estimate:
    """The mean of numbers, one per picture."""
    times = _times(len(values), seed)
    return _estimate(values.double().mean(), times @ values.double() / len(values))


def diversity(distance: Float[Tensor, "N N"], *, seed: int = 0) -> Estimate:
    """The mean distance of two different pictures.

    Raises:
        SpecError: If there is one picture only.
    """
    _several(distance)
    ones, times = torch.ones(1, len(distance)).double(), _times(len(distance), seed)
    return _estimate(_pairs(distance, ones), _pairs(distance, times))


def frechet(x: Float[Tensor, "N F"], y: Float[Tensor, "M F"]) -> float:
    """The Frechet distance of two sets of features, as if both were Gaussian.

    Raises:
        SpecError: If a set has one picture only.
    """
    roots, gap = [], x.double().mean(0) - y.double().mean(0)
    for features in (x, y):
        _several(features)
        centred = features.double() - features.double().mean(0)
        roots.append(torch.linalg.qr(centred, mode="r").R / (len(features) - 1) ** 0.5)
    overlap = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()  # tr (C C')^(1/2)
    return float(gap.square().sum() + sum(r.square().sum() for r in roots) - 2 * overlap)


def kernel(x: Float[Tensor, "N F"], y: Float[Tensor, "M F"], *, seed: int = 0) -> Estimate:
    """The squared kernel distance of two sets of features, unbiased; it may be below 0 where they are alike.

    Raises:
        SpecError: If a set has one picture only.
    """
    _several(x)
    _several(y)
    own, other, between = (_cubic(a, b) for a, b in ((x, x), (y, y), (x, y)))

    def distance(times: Tensor, others: Tensor) -> Tensor:
        cross = ((times @ between) * others).sum(1) / (times.sum(1) * others.sum(1))
        return _pairs(own, times) + _pairs(other, others) - 2 * cross

    ones = [torch.ones(1, len(part)).double() for part in (x, y)]
    return _estimate(distance(*ones), distance(_times(len(x), seed), _times(len(y), seed + 1)))


def euclidean(x: Float[Tensor, "N F"]) -> Float[Tensor, "N N"]:
    """The distances of features to each other."""
    return torch.cdist(x.double(), x.double())


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    return (x.double() @ y.double().T / x.shape[1] + 1) ** 3


def _pairs(value: Tensor, times: Tensor) -> Tensor:
    """The mean over pairs of different pictures, each taken so many times, (R, N) to (R,)."""
    apart = value.double() - value.double().diagonal().diag()
    count = times.sum(1) ** 2 - times.square().sum(1)
    return ((times @ apart) * times).sum(1) / count


def _times(count: int, seed: int) -> Tensor:
    """How often each picture is drawn, (R, N), `count` of them with replacement."""
    u = Rng(seed, domain=Domain.BOOTSTRAP).uniform(DRAWS, count)[0].double()
    index = (u * count).long()
    return (
        torch.zeros(DRAWS, count).double().scatter_add_(1, index, torch.ones_like(index).double())
    )


def _estimate(value: Tensor, drawn: Tensor) -> Estimate:
    drawn = drawn[drawn.isfinite()]
    edges = (
        torch.quantile(drawn, torch.tensor([0.025, 0.975]).double()) if len(drawn) else [NAN] * 2
    )
    return Estimate(float(value), float(edges[0]), float(edges[1]))


def _several(values: Tensor) -> None:
    if len(values) < 2:
        raise SpecError("a set of one picture has no spread; give at least two")
