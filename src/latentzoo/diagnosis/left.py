r"""What the way to the posterior left behind: modes passed and lost, heat not gone, moves not finished.

*Lost*. On the ramp, chains at the inverse temperature :math:`\beta_t` are weighed towards the posterior by
:math:`w_b \propto e^{-(1 - \beta_t) \phi_b}`, draws of the prior among them. The part of that weight whose energies lie
below all that the last quarter of the run has seen is the part of the posterior that was there and is not among its
draws:

.. math:: \frac1T \sum_t \sum_b w_{tb} \; 1\left[\phi_{tb} < \min_{\text{last}} \phi - \tfrac12\right]

Chains that lag behind the temperature are too hot, and too hot a chain has no lower energies: a run that lost nothing
has zero here.

*Heat*. An untested step puts its shadow work W into the chains, and friction :math:`\gamma` takes it away. Steps that
err both ways (a curvature) put in next to nothing; those that always err upwards (a wall) hold the chains at a higher
temperature, however small their error is for a single step. In balance the excess is the power over :math:`\gamma`,
and tested steps let it decay as they turn the chains by the angle T, so that

.. math:: \frac{\overline{W}}{\gamma h} \; e^{-\gamma T}

nats are left at the end of the run, of all directions together. Where phi and :math:`|z|^2` feel them, both fall as the
tested steps let them go: between what comes before these and their second half, where :math:`e^{-\gamma t}` is
:math:`m` on average, by :math:`\Delta = x (1 - m)` of an excess x, so that

.. math:: \Delta \, \frac{e^{-\gamma T}}{1 - m}

is left of what is felt, with :math:`\Delta` as large as it may be by the differences of the chains.

*Unfinished*. Where steps are very short, nothing moves much in the tail, settled or not. But a mean that moved by
:math:`\Delta` between two windows before it, an angle :math:`\vartheta` apart, was still relaxing. Directions that phi
hardly informs are the slowest, and relax as :math:`e^{-\gamma \vartheta / 2}`, so that from the first window's middle,
an angle T before the end, up to

.. math:: \Delta \, \frac{e^{-\gamma T / 2}}{1 - e^{-\gamma \vartheta / 2}}

is left, in standard deviations of what moves.

References:
    | Annealed importance sampling (Neal, 2001)
    | https://arxiv.org/abs/physics/9803008
    | Using nonequilibrium fluctuation theorems to understand and correct errors in equilibrium and nonequilibrium
    | simulations of discrete Langevin dynamics (Sivak, Chodera and Crooks, 2013)
    | https://arxiv.org/abs/1107.2967
"""

import math
from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float

from latentzoo.diagnosis.settled import CHAINS, three_sigma, two_sigma
from latentzoo.kernels.adapt import step_error

DEEPER = 0.5
"""By how many nats an energy must lie below all others to be called lost."""
FEWEST = 4
"""From how many chains, weighed, it is told what was lost."""
TYPICAL = 4.0
"""How far the mean squared norm of draws of the prior may be from its own, in standard errors."""


def lost(
    phi: Float[np.ndarray, "T B"],
    beta: Float[np.ndarray, "T B"],
    norm2: Float[np.ndarray, "T B"],
    dim: int,
) -> float | None:
    """The part of the posterior that the chains passed and lost; None of fewer than 4, or not begun at the prior.

    Arguments:
        phi: The energies.
        beta: The inverse temperature that led to each row; what the first row has is not looked at.
        norm2: The squared norms.
        dim: The latent's dimension.
    """
    length, chains = phi.shape
    off = (norm2[0].mean() - dim) / math.sqrt(2 * dim / chains)
    if chains < FEWEST or abs(off) > TYPICAL or np.ptp(norm2[0]) == 0:
        return None
    hot = np.append([True], (beta[1:] < 1).all(1))
    least = phi[3 * length // 4 :].min() - DEEPER
    log_w = -(1 - np.where(np.arange(length) > 0, beta[:, 0], 0.0))[hot, None] * phi[hot]
    w = np.exp(log_w - log_w.max(1, keepdims=True))
    return float(((w * (phi[hot] < least)).sum(1) / w.sum(1)).mean())


def erring(
    work: Float[np.ndarray, "T B"], phi: Float[np.ndarray, "T B"], rows: Bool[np.ndarray, "T"]
) -> float | None:
    """How wrong the steps of the given rows are, see `step_error`; over the chains if they are enough, else over time.

    Arguments:
        work: The shadow work of each step.
        phi: The energies.
        rows: Which rows are of untested steps.
    """
    if not np.isfinite(work[rows]).any():
        return None
    axis = 1 if phi.shape[1] >= CHAINS else None
    spread = float(np.mean(phi[rows].std(axis)))
    relative = float(np.mean(work[rows].std(axis))) / spread if spread > 0 else math.inf
    return step_error(relative, float(np.exp(-work[rows].clip(min=0)).mean()))


def heat(
    work: Float[np.ndarray, "T B"],
    step_size: Float[np.ndarray, "T B"],
    kept: Bool[np.ndarray, "T B"],
    tested: Bool[np.ndarray, "T"],
    friction: float,
) -> float | None:
    """How many nats of the heat of untested steps are left at the end of a run; None where none was made.

    Arguments:
        work: The shadow work of each step.
        step_size: The step sizes, as angles.
        kept: Which steps were not undone.
        tested: Which rows are of tested steps.
        friction: The friction.
    """
    length = len(work)
    moved = (np.arange(length) >= 5 * length // 8)[:, None] & np.isfinite(work)
    heated = moved & ~tested[:, None] & kept
    if not heated.any():
        return None
    power = float(work[heated].mean() / step_size[heated].mean())
    turned = float(np.where(moved & tested[:, None], step_size, 0.0).sum(0).mean())
    return max(power, 0.0) / friction * math.exp(-friction * turned)


def felt(
    followed: Iterable[Float[np.ndarray, "T B"]],
    step_size: Float[np.ndarray, "T B"],
    tested: Bool[np.ndarray, "T"],
    friction: float,
) -> float | None:
    """How much of the heat may be felt at the end of a run, at 95 % confidence, in standard deviations.

    None where no steps are tested, or too few chains can tell.

    Arguments:
        followed: Numbers that heat would raise.
        step_size: The step sizes, as angles.
        tested: Which rows are of tested steps.
        friction: The friction.
    """
    length, chains = step_size.shape
    first, begin = 5 * length // 8, int(tested.argmax())
    if chains < CHAINS or begin <= first or length - begin < 2:
        return None
    late = (begin + length) // 2
    gone = np.exp(-friction * np.where(tested, step_size.mean(1), 0.0).cumsum())
    left = float(gone[-1] / (1 - gone[late:].mean()))
    most = 0.0
    for x in followed:
        fell = x[first:begin].mean(0) - x[late:].mean(0)
        error = float(fell.std(ddof=1)) / math.sqrt(chains)
        spread = float(np.median(x[begin:].std(1)))
        most = max(
            most, (float(fell.mean()) + two_sigma(chains) * error) * left / (spread or math.inf)
        )
    return most


def unfinished(
    followed: Iterable[Float[np.ndarray, "T B"]],
    step_size: Float[np.ndarray, "T B"],
    tested: Bool[np.ndarray, "T"],
    friction: float,
) -> float:
    """How much of a move before the tested tail may be left at the end of a run, in standard deviations.

    Arguments:
        followed: Numbers whose means over the chains should not move, of at least four chains; what is moved by
            chance alone has nothing left.
        step_size: The step sizes, as angles.
        tested: Which rows are of tested steps.
        friction: The friction.
    """
    length = len(tested)
    end = int(tested.argmax()) if tested.any() else length
    first = 5 * length // 8
    middle = (first + end) // 2
    if middle - first < 2:
        return 0.0
    angle = np.nan_to_num(step_size.mean(1))
    window, tail = float(angle[first:end].sum()) / 2, float(angle[end:].sum())
    left = math.exp(-friction * (1.5 * window + tail) / 2) / -math.expm1(-friction * window / 2)
    most = 0.0
    for x in followed:
        before, after = x[first:middle], x[middle:end]
        change, spread = after.mean(0) - before.mean(0), float(after.std())
        chance = three_sigma(len(change)) * float(change.std(ddof=1)) / math.sqrt(len(change))
        if abs(move := float(change.mean())) > chance and spread > 0:
            most = max(most, abs(move) / spread * left)
    return most
