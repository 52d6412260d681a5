r"""Whether the chains sit in groups that none of them leaves.

Chains that each stay in one mode look settled, and how many are in each is not theirs to decide. So each number that is
followed is averaged over time, and the averages are split into groups where these are clear; see `kernels.groups`.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from latentzoo.kernels.groups import product, split

FEWEST, CERTAIN = 4, 8
"""How many chains can be split into groups, and how many can be told from chains that only move slowly."""


def groups(draws: Sequence[Float[np.ndarray, "T B"]]) -> Int[np.ndarray, "B"]:
    """The group of each chain, from 0, by all numbers together.

    Arguments:
        draws: The numbers that are followed: T draws of B chains each.
    """
    known = [x for x in draws if x.shape[1] >= FEWEST and np.isfinite(x).all()]
    labels = [split(x.mean(0), x.var(0)) for x in known]
    return product(labels or [np.zeros(x.shape[1], int) for x in draws[:1]])
