r"""Whether the chains sit in groups that none of them leaves.

Chains that each stay in one mode look settled, and how many are in each is not theirs to decide. So each number that is
followed is averaged over time, :math:`m_b` for chain b, and the averages are split into k groups so that the part

.. math:: R_k^2 = 1 - \frac{\sum_{g} \sum_{b \in g} (m_b - \bar m_g)^2}{\sum_b (m_b - \bar m)^2}

of their variance that lies between groups is largest (Fisher's optimal partition). One slow mode spreads them too:
the best k groups of a Gaussian explain 0.64, 0.81 and 0.88 for k = 2, 3, 4, of a uniform law :math:`1 - 1/k^2`. Groups
are therefore believed only where they explain more than that, and where the gap between two is wider than the moves of
the chains on either side of it: a rare draw in a long tail moves as far as it is away, a chain in a mode does not.

References:
    | On grouping for maximum homogeneity (Fisher, 1958)
    | https://doi.org/10.1080/01621459.1958.10501479
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

FEWEST, CERTAIN = 4, 8
"""How many chains can be split into groups, and how many can be told from chains that only move slowly."""
MOST = 4
"""How many groups are looked for along one number."""
MOVES = 3.0
"""How wide the gap between two groups must be, in how far the chains of either move about their averages."""


def groups(draws: Sequence[Float[np.ndarray, "T B"]]) -> Int[np.ndarray, "B"]:
    """The group of each chain, from 0, by all numbers together.

    Arguments:
        draws: The numbers that are followed: T draws of B chains each.
    """
    labels = [split(x) for x in draws]
    if not labels:
        return np.zeros(0, int)
    return np.unique(np.stack(labels, axis=1), axis=0, return_inverse=True)[1].reshape(-1)


def split(x: Float[np.ndarray, "T B"]) -> Int[np.ndarray, "B"]:
    """The group of each chain by one number; all 0 where there is one group, or too few chains to tell."""
    chains = x.shape[1]
    one = np.zeros(chains, int)
    if chains < FEWEST or not np.isfinite(x).all():
        return one
    order = np.argsort(x.mean(0))
    m, moves = x.mean(0)[order], x.var(0)[order]
    total = float(((m - m.mean()) ** 2).sum())
    if total == 0:
        return one
    for k in range(2, min(MOST, max(chains // 4, 2)) + 1):
        borders, within = _partition(m, k)
        move = [math.sqrt(group.mean()) for group in np.split(moves, borders)]
        apart = all(
            m[b] - m[b - 1] > MOVES * max(pair)
            for b, pair in zip(borders, pairwise(move), strict=True)
        )
        if apart and 1 - within / total > _believed(k):
            label = np.zeros(chains, int)
            label[order] = np.searchsorted(borders, np.arange(chains), side="right")
            return label
    return one


def _believed(k: int) -> float:
    """The part of the variance that k groups must explain: four tenths of what a uniform law leaves may be left."""
    return 1 - 0.4 / k**2


def _partition(m: Float[np.ndarray, "B"], k: int) -> tuple[list[int], float]:
    """The borders of the best k groups of sorted numbers, and the sum of squares left within them."""
    n = len(m)
    first, second = (np.concatenate([[0.0], (m**p).cumsum()]) for p in (1, 2))
    i, j = np.arange(n + 1)[:, None], np.arange(n + 1)[None]
    count = np.maximum(j - i, 1)
    left = np.where(j > i, second[j] - second[i] - (first[j] - first[i]) ** 2 / count, np.inf)
    best, cuts = left[0], []
    for _ in range(k - 1):
        through = best[:, None] + left
        cuts.append(through.argmin(0))
        best = through.min(0)
    borders, end = [], n
    for cut in reversed(cuts):
        end = int(cut[end])
        borders.append(end)
    return borders[::-1], float(best[n])
