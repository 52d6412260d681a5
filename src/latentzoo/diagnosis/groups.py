r"""Whether the chains sit in groups that none of them leaves.

Chains that each stay in one mode look settled, and how many are in each is not theirs to decide. So the numbers that
are followed are averaged over time, and the chains are split where these averages are clearly apart: see
`kernels.groups`.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from latentzoo.kernels.groups import split

FEWEST, CERTAIN = 4, 8
"""How many chains can be split into groups, and how many can be told from chains that only move slowly."""


def groups(draws: Sequence[Float[np.ndarray, "T B"]]) -> Int[np.ndarray, "B"]:
    """The group of each chain, from 0, by all numbers together.

    Arguments:
        draws: The numbers that are followed: T draws of B chains each.
    """
    known = [x for x in draws if x.shape[1] >= FEWEST and np.isfinite(x).all()]
    if not known:
        return np.zeros(draws[0].shape[1] if draws else 0, int)
    mean, variance = (np.stack([f(x, axis=0) for x in known], axis=1) for f in (np.mean, np.var))
    return split(mean, variance)
