r"""Kernel Stein discrepancy: whether last states and their gradients belong together, without any truth.

With the score :math:`s(z) = -(z + \nabla \phi(z))` of the posterior p, every function f that does not grow too fast has
:math:`\mathbb{E}_p[\langle s, f \rangle + \mathrm{div} f] = 0`. The largest violation over the unit ball of a kernel k
is estimated without bias by the mean over pairs of chains of

.. math::
    u(z, z') = k \langle s, s' \rangle + \langle s, \nabla' k \rangle + \langle s', \nabla k \rangle
        + \mathrm{tr} \nabla \nabla'^\top k, \qquad k = \left(1 + |y - y'|^2 / \ell^2\right)^{-1/2}

in coordinates y that are scaled by the chains' standard deviations, one for each dimension, with :math:`\ell` the
median distance. At the posterior the mean is 0 up to chance, and how large chance makes it is told by the same sum with
random signs, :math:`\epsilon_b \epsilon_{b'} u(z_b, z_{b'})` (wild bootstrap); chains that descend from one start share
a sign.

It sees means that are wrong, and chains that lie too close. Chains that lie too far apart it sees badly where there are
many dimensions, since all pairs are then as far from each other: Stein's identity sees them (`run.directions`). It does
not see modes that no chain is in, nor shares of modes that lie far apart: score and draws agree within each of them.

References:
    | Beyond accuracy: evaluating posterior fidelity of diffusion inverse solvers (Qiu, Yang, Liu, Wang and Shen, 2026)
    | https://arxiv.org/abs/2602.04189
    | Measuring sample quality with kernels (Gorham and Mackey, 2017)
    | https://arxiv.org/abs/1703.01717
    | A kernel test of goodness of fit (Chwialkowski, Strathmann and Gretton, 2016)
    | https://arxiv.org/abs/1602.02964
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

FEWEST, MOST = 8, 512
"""Of how many chains it is taken, at least and at most: its cost grows with their square."""
SIGNS = 999
"""How many times signs are drawn."""
RARELY = 0.01
"""The least squared gradient of the median state, in the squared mean of the states, which it must balance."""
COLUMNS = 2**16
"""How many dimensions are summed at a time."""


class Discrepancy(NamedTuple):
    """The squared discrepancy per dimension, 0 on average at the posterior, and how often chance makes it as large."""

    value: float
    p: float


def ksd(
    z: Float[Tensor, "B D"], grad: Float[Tensor, "B D"], family: Tensor | None = None
) -> Discrepancy | None:
    """Measures the discrepancy of some states; None of fewer than 8, where they do not differ, or rarely feel phi.

    Behind a wall that few states touch, the gradients of a few draws are no sample of the wall's.

    Arguments:
        z: The states.
        grad: The gradients of phi there.
        family: The start that each chain descends from, (B,); None where each is its own.
    """
    z, grad = z[:MOST], grad[:MOST]
    chains, dim = z.shape
    felt = grad.double().square().sum(1).median()
    if chains < FEWEST or felt < RARELY * z.double().mean(0).square().sum():
        return None
    u = _pairs(z, grad)
    if u is None or not bool(u.isfinite().all()):
        return None
    pairs = chains * (chains - 1)
    start = torch.arange(chains) if family is None else family[:MOST]
    member, draw = start.unique(return_inverse=True)[1], torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (SIGNS, chains), generator=draw).double() * 2 - 1
    each = signs[:, member]
    chance = ((each @ u) * each).sum(1)
    total = u.sum()
    return Discrepancy(
        float(total) / pairs / dim, float(1 + (chance >= total).sum()) / (SIGNS + 1)
    )


def _pairs(z: Float[Tensor, "B D"], grad: Float[Tensor, "B D"]) -> Float[Tensor, "B B"] | None:
    """u of every pair of states, 0 on the diagonal."""
    (chains, dim), zero = z.shape, torch.zeros(len(z), len(z), dtype=torch.float64)
    yy, sy, ss, active = zero, zero, zero, 0
    for first in range(0, dim, COLUMNS):
        part = slice(first, first + COLUMNS)
        at, slope = z[:, part].double(), grad[:, part].double()
        width = at.std(0)
        y, s = (at - at.mean(0)) / width.clamp(min=1e-12), -(at + slope) * width
        active += int((width > 0).sum())
        yy, sy, ss = yy + y @ y.T, sy + s @ y.T, ss + s @ s.T
    norm = yy.diagonal()
    apart2 = (norm[:, None] + norm - 2 * yy).clamp(min=0)
    length2 = apart2[~torch.eye(chains, dtype=torch.bool)].median()
    if length2 == 0:
        return None
    k, own = (1 + apart2 / length2).rsqrt(), sy.diagonal()
    cross = own[:, None] + own - sy - sy.T
    trace = active * k**3 / length2 - 3 * apart2 * k**5 / length2**2
    return (k * ss + k**3 * cross / length2 + trace).fill_diagonal_(0)
