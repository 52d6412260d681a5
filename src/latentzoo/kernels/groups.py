r"""Groups of chains that none of them leaves: linked where they are near, believed only where they are far apart.

Chains that stay in one mode each have averages :math:`m_b` along some axes, with variances :math:`v_b` over time. Two
chains are near each other in the units of how far the wider of them moves,

.. math:: d_{bc}^2 = \sum_r \frac{(m_{br} - m_{cr})^2}{\max(v_{br}, v_{cr})}

and those that a row of near ones connects are one group (single linkage). One slow mode leaves gaps as well. With
:math:`c_g` the mean of a group and :math:`W_r` the variance of all chains about the means of their groups, two
groups are therefore believed only where they are

.. math:: D_{gh}^2 = \sum_r \frac{(c_{gr} - c_{hr})^2}{W_r} > 6^2

apart - the halves of a Gaussian are 2.6, the parts of a uniform law 3.5 - and where the gap between them, along
:math:`(c_g - c_h) / W`, is wider than the moves of the chains on either side of it: a rare draw in a long tail moves as
far as it is away, a chain in a mode does not. The nearest that are not believed are joined, until all are.

References:
    | Minimum spanning trees and single linkage cluster analysis (Gower and Ross, 1969)
    | https://doi.org/10.2307/2346439
    | The use of multiple measurements in taxonomic problems (Fisher, 1936)
    | https://doi.org/10.1111/j.1469-1809.1936.tb02137.x
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

MOVES = 3.0
"""How wide the gap between two groups must be, in how far the chains of either move about their averages."""
SPREADS = 6.0
"""How far apart their means must be, in how far the chains' averages lie from these."""
MOST = 16
"""How many groups can be told from chains that are each by themselves."""


def split(
    mean: Float[np.ndarray, "B R"], variance: Float[np.ndarray, "B R"]
) -> Int[np.ndarray, "B"]:
    """The group of each chain, from 0; all 0 where there is one group.

    Arguments:
        mean: Each chain's averages over time, along R axes.
        variance: Their variances over time.
    """
    chains = len(mean)
    label = _linked(mean, variance)
    while (count := label.max(initial=0) + 1) > 1:
        if count > min(MOST, chains // 2):
            return np.zeros(chains, int)
        doubtful = list(_doubtful(mean, variance, label))
        if not doubtful:
            break
        _, g, h = min(doubtful)
        label = np.where(label == h, g, label - (label > h))
    return label


def _linked(
    mean: Float[np.ndarray, "B R"], variance: Float[np.ndarray, "B R"]
) -> Int[np.ndarray, "B"]:
    """The groups by single linkage."""
    chains = len(mean)
    if chains < 2 or not (np.isfinite(mean).all() and np.isfinite(variance).all()):
        return np.zeros(chains, int)
    squared = np.zeros((chains, chains))
    for m, v in zip(mean.T, variance.T, strict=True):
        apart = np.subtract.outer(m, m) ** 2
        wide = np.maximum.outer(v, v)
        squared += np.divide(apart, wide, out=np.where(apart > 0, 1e12, 0.0), where=wide > 0)
    near, label = squared <= MOVES**2, np.arange(chains)
    # Each takes the least label among those near it, until none is lower: a library for this is no part of the core.
    while ((least := np.where(near, label, chains).min(1)) < label).any():
        label = least
    return np.unique(label, return_inverse=True)[1]


def _doubtful(
    mean: Float[np.ndarray, "B R"],
    variance: Float[np.ndarray, "B R"],
    label: Int[np.ndarray, "B"],
) -> Iterator[tuple[float, int, int]]:
    """How far apart two groups are, D, and which they are, of each two that are not believed."""
    inside = [label == g for g in range(label.max() + 1)]
    centre = np.stack([mean[mine].mean(0) for mine in inside])
    spread = ((mean - centre[label]) ** 2).sum(0) / (len(mean) - len(inside))
    for g, h in combinations(range(len(inside)), 2):
        line = centre[h] - centre[g]
        axis = line / np.maximum(spread, np.finfo(float).tiny)
        far = float(np.sqrt(line @ axis))
        along, moves = mean @ axis, variance @ axis**2
        gap = along[inside[h]].min() - along[inside[g]].max()
        widest = max(moves[inside[g]].mean(), moves[inside[h]].mean())
        fewest = min(inside[g].sum(), inside[h].sum())
        enough = far > SPREADS * np.sqrt(1 + 1 / fewest)
        if not (enough and gap > MOVES * np.sqrt(widest)):
            yield far, g, h
