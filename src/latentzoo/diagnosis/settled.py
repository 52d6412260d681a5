r"""Whether the means of a run still move, and how far apart its chains are.

Both parts that are compared lie in the certified tail: where steps begin to be tested, a small bias of the untested
ones goes, and that is no drift.

Chains that turn by a small angle move little, settled or not. With friction :math:`\gamma` the energy relaxes as
:math:`e^{-\gamma \vartheta}`, so that of a mean that moved by :math:`\Delta` between two windows, an angle
:math:`\vartheta` apart, up to

.. math:: \Delta \, \frac{e^{-3 \gamma \vartheta / 2}}{1 - e^{-\gamma \vartheta}}

is left at the end, half a window later. That takes all for a move that chance may have made, which is the more the
less the chains turned.
"""

import math

import numpy as np
from jaxtyping import Float

from latentzoo.diagnosis.convergence import LONG, ess_bulk

CHAINS = 4
"""How many chains a statement about their mean needs."""
MATTERS = 0.25
"""The least move of a mean that matters, in standard deviations of a draw."""
CROSSES = 4.0
"""How far a chain's energy goes that crosses from one part of the posterior to another, in how far chains move else."""


def moving(x: Float[np.ndarray, "T B"]) -> bool | None:
    """Whether the mean of x over the chains still moves, in a run of T rows; None where too few can tell."""
    length, chains = x.shape
    if chains < CHAINS:
        if length < LONG:
            return None
        before, after = x[5 * length // 8 : 3 * length // 4], x[7 * length // 8 :]
        effective = min(ess_bulk(before), ess_bulk(after))
        error = math.hypot(before.std(), after.std()) / math.sqrt(effective)
        return bool(abs(after.mean() - before.mean()) > 3 * error)
    before, after = _windows(x)
    change = after.mean(0) - before.mean(0)
    limit = three_sigma(chains) * float(change.std(ddof=1)) / math.sqrt(chains)
    return abs(float(change.mean())) > max(limit, MATTERS * float(after.std()))


def unsettled(phi: Float[np.ndarray, "T B"], spread: float) -> float | None:
    """By how much the mean of phi may still move, at 95 % confidence, in its spread; None where nothing moves."""
    before, after = _windows(phi)
    change = after.mean(0) - before.mean(0)
    error = float(change.std(ddof=1)) / math.sqrt(len(change))
    most = abs(float(change.mean())) + two_sigma(len(change)) * error
    return most / spread if spread > 0 else None


def ahead(step_size: Float[np.ndarray, "T B"], friction: float) -> float:
    """How much of a move between the windows may be left at the end, in that move, of chains with a friction.

    Arguments:
        step_size: The step sizes, as angles.
        friction: The friction.
    """
    turned = sum(float(np.nan_to_num(x.mean(1)).sum()) for x in _windows(step_size)) / 2
    left = -math.expm1(-friction * turned)
    return math.exp(-1.5 * friction * turned) / left if left > 0 else math.inf


def _windows(x: Float[np.ndarray, "T B"]) -> tuple[np.ndarray, np.ndarray]:
    n = len(x)
    return x[13 * n // 16 : 29 * n // 32], x[29 * n // 32 :]


def crossed(phi: Float[np.ndarray, "T B"]) -> tuple[int, int]:
    r"""How many chains fell into another part of the posterior, and how many rose out of one.

    A chain crosses where its mean energy of the last sixteenth of the run differs from that of the first sixteenth of
    the certified tail by far more than chains move within these. At the posterior a chain that is reversible falls as
    often as it rises, so that of n crossings :math:`|n_- - n_+| \le 2.5 \sqrt n` but for chance, however few chains
    cross and however little their mean moves by it.
    """
    n = len(phi)
    begin, end = phi[12 * n // 16 : 13 * n // 16], phi[15 * n // 16 :]
    moves = math.sqrt(float(np.median(begin.var(0) + end.var(0))) / 2)
    change, far = end.mean(0) - begin.mean(0), max(CROSSES * moves, 1.0)
    return int((change < -far).sum()), int((change > far).sum())


def lopsided(fell: int, rose: int) -> float:
    """By how much more chains fell than rose, or rose than fell, in standard errors."""
    return abs(fell - rose) / math.sqrt(max(fell + rose, 1))


def apart(phi: Float[np.ndarray, "T B"]) -> float:
    """The spread of the chains' mean energies, in the spread of a chain's energy over time."""
    within = math.sqrt(float(phi.var(0, ddof=1).mean()))
    between = float(phi.mean(0).std(ddof=1))
    return between / within if within > 0 else math.inf if between > 0 else 0.0


def three_sigma(chains: int) -> float:
    """The quantile of Student's t that is as rare as three standard deviations."""
    nu = max(chains - 1, 1)
    return 3 + 7.5 / nu + 17.25 / nu**2


def two_sigma(chains: int) -> float:
    """The 97.5 % quantile of Student's t of the mean of some chains, by Cornish and Fisher's expansion."""
    nu, x = max(chains - 1, 1), 1.96
    return x + (x**3 + x) / (4 * nu) + (5 * x**5 + 16 * x**3 + 3 * x) / (96 * nu**2)
