"""What the gradients of the last states tell: their spread, the steepest curvature, and whether a run walks blind."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from latentzoo.diagnosis.ksd import ksd
from latentzoo.diagnosis.nats import bounds
from latentzoo.diagnosis.settled import CHAINS
from latentzoo.kernels.types import Population

KSD = ("ksd", "ksd_p")
NATS = ("nats_least", "nats_least_error", "nats_most", "nats_most_error")
DIFFERS = 1e-3
"""The least difference of energies that a kernel could feel, in nats."""


def gradients(
    state: Any, keep: Tensor, phi: Float[np.ndarray, "T B"], population: Population | None
) -> dict[str, Any]:
    """What the gradients of the last states tell, of the living chains.

    Arguments:
        state: The kernel's last state, or None.
        keep: Which chains live.
        phi: Their energies.
        population: What is known of their origin, where they were drawn from each other.
    """
    if state is None or state.grad.shape[1] == 0 or len(keep) < 2:
        names = ("identity_score", "curvature", "pointing", *KSD, *NATS)
        return dict.fromkeys(names) | {"blind": False}
    z, grad = state.z.cpu()[keep], state.grad.cpu()[keep]
    family = None if population is None else population.ancestor.cpu()[keep]
    return {
        **dict(zip(KSD, ksd(z, grad, family) or (None,) * len(KSD), strict=True)),
        **dict(zip(NATS, bounds(z, grad) or (None,) * len(NATS), strict=True)),
        "identity_score": _identity_score(z, grad),
        "curvature": _curvature(grad),
        "pointing": pointing(grad),
        "blind": not bool(grad.any()) and (bool(np.ptp(phi[-1:]) > DIFFERS) or _stairs(phi)),
    }


def _stairs(phi: Float[np.ndarray, "T B"]) -> bool:
    """Whether energies of the last quarter stand on two steps or more, each shared by chains to the last bit."""
    last = phi[3 * len(phi) // 4 :]
    levels = [np.unique(chain) for chain in last.T]
    level, chains = np.unique(np.concatenate(levels), return_counts=True)
    shared = level[chains > 1]
    return shared.size > 1 and bool(np.ptp(shared) > DIFFERS)


def _identity_score(z: Tensor, grad: Tensor) -> float:
    chains, dim = z.shape
    others = (z.double() - z.double().mean(0)) * chains / (chains - 1)
    value = (others * (z + grad)).sum(1) - dim
    return float(value.mean() / (value.std() / math.sqrt(chains) + 1e-12))


def _curvature(grad: Tensor) -> float:
    """The curvature from the gradients' covariance C, as tr C^2 / tr C: never far above the truth.

    The gradient's variance in a direction of curvature kappa is c = kappa^2 / (1 + kappa).
    """
    x = (grad - grad.mean(0)).double()
    gram, n = x @ x.T, len(x)
    across = float((gram.square().sum() - gram.diagonal().square().sum()) / (n * (n - 1)))
    c = across / (float(gram.diagonal().mean()) + 1e-30)
    return (c + math.sqrt(c * c + 4 * c)) / 2


def pointing(grad: Float[Tensor, "B D"]) -> float | None:
    """In how many directions the gradients of different chains point, 1 / mean cos^2 of two of them, D at most.

    Arguments:
        grad: The gradients, (B, D); those that are zero are left out, and fewer than four others tell nothing: None.
    """
    length = grad.double().norm(dim=1, keepdim=True)
    g = (grad.double() / length)[length[:, 0] > 0]
    if (n := len(g)) < CHAINS:
        return None
    cos2 = (g @ g.T).square()
    mean = float(cos2.sum() - cos2.diagonal().sum()) / (n * (n - 1))
    return 1 / max(mean, 1 / grad.shape[1])
