r"""How many independent draws some chains are worth, and whether they agree.

For draws :math:`x_{tb}` of M chains, each split into halves of n draws, with W the mean variance
within and :math:`B/n` the variance between the halves' means,

.. math::
    \hat{R} = \sqrt{\frac{\tfrac{n-1}{n} W + \tfrac{1}{n} B}{W}}, \qquad
    \mathrm{ESS} = \frac{M n}{-1 + 2 \sum_k P_k}, \qquad P_k = \hat\rho_{2k} + \hat\rho_{2k+1}

where the sum runs over the initial positive pairs of autocorrelations, made monotone. Both are
computed on normal scores of ranks; for the tails on the distance to the median and on the
indicators of the 5 and 95 % quantiles.

References:
    | Rank-normalization, folding, and localization: an improved R-hat for assessing convergence of
    | MCMC (Vehtari, Gelman, Simpson, Carpenter and Bürkner, 2021)
    | https://arxiv.org/abs/1903.08008
    | Practical Markov chain Monte Carlo (Geyer, 1992)
    | https://doi.org/10.1214/ss/1177011137
"""

import math

import numpy as np
import torch
from jaxtyping import Float

Draws = Float[np.ndarray, "T B"]
LONG = 100
"""How many rows of a trace a statement about time averages needs."""


def rhat(x: Draws) -> float:
    """The larger of the bulk and the tail split R-hat of T draws of B chains; needs T >= 4."""
    halves = _split(np.asarray(x, float))
    folded = np.abs(halves - np.median(halves))
    return max(_ratio(normal_scores(halves)), _ratio(normal_scores(folded)))


def ess_bulk(x: Draws) -> float:
    """The effective sample size for the middle of the distribution; needs T >= 4."""
    return _ess(normal_scores(_split(np.asarray(x, float))))


def ess_tail(x: Draws) -> float:
    """The smaller effective sample size of the 5 and the 95 % quantile; needs T >= 4."""
    x = np.asarray(x, float)
    return min(_ess(_split((x <= np.quantile(x, q)).astype(float))) for q in (0.05, 0.95))


def _split(x: np.ndarray) -> np.ndarray:
    half = len(x) // 2
    return np.concatenate([x[:half], x[-half:]], axis=1)


def normal_scores(x: np.ndarray) -> np.ndarray:
    """The normal quantiles of the ranks, of the same shape; equal numbers share a rank."""
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    rank = (count.cumsum() - (count - 1) / 2)[place].reshape(x.shape)
    return torch.special.ndtri(torch.from_numpy((rank - 0.375) / (x.size + 0.25))).numpy()


def _ratio(x: np.ndarray) -> float:
    n = len(x)
    within, between = x.var(0, ddof=1).mean(), x.mean(0).var(ddof=1)
    return math.sqrt((n - 1) / n + between / within) if within > 0 else math.nan


def _ess(x: np.ndarray) -> float:
    n, chains = x.shape
    if np.ptp(x) < 1e-15:
        return float(x.size)
    centred = x - x.mean(0)
    spectrum = np.fft.rfft(centred, 2 * n, axis=0)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, 2 * n, axis=0)[:n].mean(1) / n
    within = covariance[0] * n / (n - 1)
    total = covariance[0] + (x.mean(0).var(ddof=1) if chains > 1 else 0.0)
    rho = 1 - (within - covariance) / total
    rho[0] = 1.0
    even, odd = rho[0 : 2 * (n // 2) : 2], rho[1 : 2 * (n // 2) : 2]
    pairs, last = even + odd, max((n - 3) // 2, 0)
    negative = np.flatnonzero(pairs[: last + 1] <= 0)
    last = int(negative[0]) if len(negative) else last
    end = even[last] if pairs[last] >= 0 else max(even[last], 0.0)
    tau = -1 + 2 * np.minimum.accumulate(pairs[:last]).sum() + end
    return float(x.size / max(tau, 1 / math.log10(x.size)))
