r"""Where chains begin: the best of some draws of the prior, by chance.

A chain that starts where nothing it is guided towards is in sight spends its budget on the way, and may never
arrive. Forward passes are cheap, so each chain draws J latents from its own stream and picks one,

.. math:: z_j \sim \mathcal{N}(0, I), \qquad P(j) = \frac{e^{-b \phi(z_j)}}{\sum_k e^{-b \phi(z_k)}}

at the inverse temperature :math:`b \le 1` at which the J draws are worth a third of their number,
:math:`(\sum_j P(j)^2)^{-1} = J / 3`: about a draw of the posterior that is tempered so far. Chains do not see each
other: chain = seed.

References:
    | Using the SIR algorithm to simulate posterior distributions (Rubin, 1988)
    | Bayesian Statistics 3, pages 395-402
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latentzoo.kernels.types import Kernel, Potential
from latentzoo.posterior import Posterior
from latentzoo.rng import Rng

TRIES = 8
"""Of how many draws a chain of a long run picks."""
PART = 0.1
"""The part of the budget that they may cost at most, a draw a third of a gradient."""
WORTH = 1 / 3
"""What the draws are worth at the temperature of the choice, as a part of their number."""


def affordable(steps: int) -> int:
    """Of how many draws each chain picks when a run has a budget of `steps` gradients: all, or one."""
    return TRIES if PART * steps >= TRIES / 3 else 1


def usual_tries(
    asked: int | None, phi: Potential, kernel: Kernel, steps: int, *, given: bool
) -> int:
    """Says of how many draws each chain picks its start.

    What was asked for is taken. Else chains of a kernel that anneals, guided by networks, pick of
    as many as they can afford; all others take one. A given start leaves nothing to pick.

    Arguments:
        asked: What was asked for; None for what is usual.
        phi: What is sampled.
        kernel: The kernel.
        steps: The budget in gradients.
        given: Whether the start is given.
    """
    if given:
        return 1
    usual = affordable(steps) if isinstance(phi, Posterior) and kernel.anneals else 1
    return usual if asked is None else asked


def choose(phi: Potential, rng: Rng, dim: int, tries: int) -> Int[Tensor, "B 13"]:
    """Says where in its stream each chain's start is drawn: thirteen numbers, and not the latent.

    Arguments:
        phi: The potential.
        rng: One noise stream per chain; it stands after all draws then.
        dim: The latent's dimension.
        tries: Of how many draws each chain picks; 1 is the prior, and evaluates nothing.
    """
    if tries == 1:
        place = rng.state()
        rng.normal(dim)
        return place
    before, values = [], []
    for _ in range(tries):
        before.append(rng.state())
        values.append(phi.evaluate(rng.normal(dim), gradient=False).phi)
    chosen = pick(torch.stack(values, dim=1), rng.uniform())
    return torch.stack(before)[chosen, torch.arange(len(rng))]


def pick(phi: Float[Tensor, "B J"], u: Float[Tensor, "B"]) -> Int[Tensor, "B"]:
    """Picks a draw of each chain by uniform numbers; a draw that is not finite is never picked if another is."""
    phi, J = phi.cpu().double(), phi.shape[1]
    bad = ~phi.isfinite() & phi.isfinite().any(1, keepdim=True)
    phi = phi.nan_to_num().masked_fill(bad, 0.0)
    phi = phi - phi.masked_fill(bad, math.inf).min(1, keepdim=True).values
    weights = lambda b: (-b * phi).masked_fill(bad, -math.inf).softmax(1)
    low, high = torch.zeros_like(phi[:, :1]), torch.ones_like(phi[:, :1])
    b = high
    for _ in range(60):
        enough = weights(b).square().sum(1, keepdim=True) <= 1 / (WORTH * J)
        low, high = b.where(enough, low), high.where(enough, b)
        b = (low + high) / 2
    level = weights(low).cumsum(1)
    return (level <= u.cpu().double()[:, None]).sum(1).clamp(max=J - 1)
