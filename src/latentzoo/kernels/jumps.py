r"""Jumps between groups of chains: a map from each group's place to every other's, and a test.

Chains that follow gradients stay in the mode they came to. Where they sit in G groups, each with mean
:math:`c_g` and standard deviations :math:`s_g` along a few axes :math:`A^\top z = x`, a jump carries a
chain of group i, the group it is most likely in, to another, j, drawn uniformly, and leaves what is
across the axes:

.. math:: x' = c_j + \frac{s_j}{s_i} (x - c_i), \qquad z' = z + A (x' - x), \qquad
    r = \phi(z) - \phi(z') + \frac{|x|^2 - |x'|^2}{2} + \sum_k \log \frac{s_{jk}}{s_{ik}}

It is taken with Barker's probability :math:`1 / (1 + e^{-r})` if the most likely group of :math:`x'` is j, so that the
way back is the same jump. That leaves the posterior exactly invariant, whatever the groups are; how
often it is taken depends on them. Barker's rule chooses between the two places and forgets where the
chain was, so the chains of a run can choose together, as in systematic resampling: with a number U that they
share, and :math:`\varphi` the golden ratio, chain c ends in the group of lower number if

.. math:: (U + c \, \varphi) \bmod 1 < P(\text{lower})

which is uniform for each chain, and spread evenly over them. So the shares of modes are not
as noisy as those of chains that choose alone.

The axes are the main directions of the chains' gradients, gathered over a while by a block power iteration that
weighs all times t alike (history PCA): with :math:`C_t` the covariance of the gradients over the chains,

.. math:: A_t \Lambda_t = \operatorname{orth}\left(\tfrac{t - 1}{t} A_{t-1} \Lambda_{t-1} + \tfrac1t C_t A_{t-1}\right)

since one time's gradients are too noisy for the axes to hold all of the way from one mode to another, and a jump leaves
behind what they miss. Then each chain's mean and mean square along them are followed for a while, which is all that
groups and maps are made of: see `groups.split`.

References:
    | History PCA: a new algorithm for streaming PCA (Yang, Hsieh and Wang, 2018)
    | https://arxiv.org/abs/1802.05447
    | Monte Carlo calculations of the radial distribution functions for a proton-electron plasma (Barker, 1965)
    | https://doi.org/10.1071/PH650119
    | Mode jumping proposals in MCMC (Tjelmeland and Hegstad, 2001)
    | https://doi.org/10.1111/1467-9469.00232
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from latentzoo.kernels.groups import split
from latentzoo.kernels.lowrank import main_directions
from latentzoo.rng import Domain, Rng, below_one

AXES = 4
"""Along how many axes chains are grouped, at most."""
FEWEST = 2
"""How many chains a group has at least."""
GOLDEN = (5**0.5 - 1) / 2
"""By what part of the circle a chain's choice is shifted from its neighbour's."""
NARROWEST = 1e-3
"""The least standard deviation of a group along an axis."""


@dataclass(frozen=True)
class Maps:
    """What a jump needs to know.

    Attributes:
        axes: Orthonormal columns A, (D, R).
        centre: The mean of each group along them, (G, R).
        scale: Its standard deviations, (G, R).
    """

    axes: Float[Tensor, "D R"]
    centre: Float[Tensor, "G R"]
    scale: Float[Tensor, "G R"]

    def group(self, x: Float[Tensor, "B R"]) -> Int64[Tensor, "B"]:
        """The most likely group of coordinates along the axes."""
        apart = ((x[:, None] - self.centre) / self.scale).square().sum(2)
        return (apart + 2 * self.scale.log().sum(1)).argmin(1)

    def jump(
        self, z: Float[Tensor, "B D"], u: Float[Tensor, "B"]
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B"], Tensor]:
        """Where latents jump to, the part of r that is not phi's, and whether it is down to a group of lower number.

        The second is -inf where there is no way back.

        Arguments:
            z: The latents.
            u: Uniform numbers in [0, 1) that choose the groups to jump to.
        """
        x, others = z @ self.axes, len(self.centre) - 1
        here = self.group(x)
        there = (here + 1 + (u * others).long().clamp(max=others - 1)) % (others + 1)
        factor = self.scale[there] / self.scale[here]
        new = self.centre[there] + factor * (x - self.centre[here])
        log_ratio = (x.square() - new.square()).sum(1) / 2 + factor.log().sum(1)
        back = self.group(new) == there
        return z + (new - x) @ self.axes.T, log_ratio.masked_fill(~back, -torch.inf), there < here


def shared_uniform(rng: Rng, index: int) -> Float[Tensor, "B"]:
    """The uniform numbers in [0, 1) by which the chains of a run choose together.

    Arguments:
        rng: The chains' streams, of which only the seeds are used: run s has the chains 2^32 s + c.
        index: Which of the run's numbers; each is used once.
    """
    runs = (seed >> 32 for seed in rng.seeds)
    common = Rng(*runs, domain=Domain.JUMP, index=index).uniform().double()
    shift = torch.tensor([GOLDEN * (seed % 2**32) % 1 for seed in rng.seeds], dtype=torch.float64)
    return below_one(((common + shift) % 1).to(rng.device, rng.dtype))


class Followed(NamedTuple):
    """The axes, what the chains did along them, and the groups, as a kernel carries them.

    Attributes:
        axis: One axis for each of the first chains, as long as the variance of the gradients along it, (B, 1, D);
            (B, 0, D) where there are none.
        holds: Which axis a chain holds, from 1, or 0, (B,).
        steps: How long the chains were followed, (B,).
        mean: Each chain's mean along the axes, (B, R).
        square: Its mean square, (B, R).
        centre: The groups' means, the same for each chain, (B, G, R).
        scale: Their standard deviations, (B, G, R).
    """

    axis: Tensor
    holds: Tensor
    steps: Tensor
    mean: Tensor
    square: Tensor
    centre: Tensor
    scale: Tensor

    @classmethod
    def nothing(cls, like: Float[Tensor, "B D"]) -> "Followed":
        """No axes."""
        chains, dim = like.shape
        none = torch.zeros(chains, dtype=torch.long, device=like.device)
        line, groups = like.new_zeros(chains, 0), like.new_zeros(chains, 0, 0)
        return cls(like.new_zeros(chains, 0, dim), none, none, line, line, groups, groups)

    @classmethod
    def begin(cls, grad: Float[Tensor, "B D"]) -> "Followed":
        """The axes in which gradients of at least 8 chains differ most; none where they do not."""
        nothing, chains = cls.nothing(grad), len(grad)
        found, variance = main_directions(grad, AXES)
        found = found[:, variance > 0]
        if (rank := found.shape[1]) == 0:
            return nothing
        axis = grad.new_zeros(chains, 1, grad.shape[1])
        axis[:rank, 0] = (found * variance[variance > 0]).T
        index = torch.arange(1, chains + 1, device=grad.device)
        zero, groups = grad.new_zeros(chains, rank), grad.new_zeros(chains, 0, rank)
        holds = torch.where(index <= rank, index, 0)
        return cls(axis, holds, nothing.steps, zero, zero, groups, groups)

    @property
    def axes(self) -> Float[Tensor, "D R"] | None:
        """The axes, if there are any and no chain that held one has failed."""
        if (holders := self._holders) is None:
            return None
        return torch.nn.functional.normalize(self.axis[holders, 0], dim=1).T

    @property
    def _holders(self) -> Tensor | None:
        """The chains that hold the axes."""
        rank, order = self.mean.shape[1], self.holds.argsort()
        if rank == 0 or int((self.holds > 0).sum()) < rank:
            return None
        return order[-rank:]

    @property
    def maps(self) -> Maps | None:
        """The maps, if there are groups and all axes."""
        axes = self.axes
        if axes is None or self.centre.shape[1] < 2:
            return None
        return Maps(axes, self.centre[0], self.scale[0])

    def turn(self, grad: Float[Tensor, "B D"], t: int) -> "Followed":
        """Turns the axes to where gradients differ most, over the t-th time, from 2."""
        holders, axes = self._holders, self.axes
        if holders is None or axes is None:
            return self
        y = grad @ axes
        now = (
            grad.T @ (y - y.mean(0)) / len(grad)
        )  # the covariance times the axes, without a centred copy
        q, r = torch.linalg.qr((t - 1) / t * self.axis[holders, 0].T + now / t)
        axis = self.axis.index_copy(0, holders, (q * r.diagonal()).T[:, None])
        return self._replace(axis=axis)

    def add(self, z: Float[Tensor, "B D"]) -> "Followed":
        """Follows the chains for one step more."""
        if (axes := self.axes) is None:
            return self
        x, steps = z @ axes, self.steps + 1
        rate = 1 / steps[:, None]
        mean = self.mean + rate * (x - self.mean)
        square = self.square + rate * (x.square() - self.square)
        return self._replace(steps=steps, mean=mean, square=square)

    def grouped(self) -> "Followed":
        """Finds the groups; nothing is kept where there is but one."""
        variance = (self.square - self.mean.square()).clamp(min=0)
        found = split(self.mean.cpu().double().numpy(), variance.cpu().double().numpy())
        label = torch.from_numpy(found).to(self.mean.device)
        parts = [label == g for g in label.unique()]
        parts = [part for part in parts if int(part.sum()) >= FEWEST]
        if len(parts) < 2:
            return Followed.nothing(self.axis.flatten(1)[:, : self.axis.shape[2]])
        centre = torch.stack([self.mean[part].mean(0) for part in parts])
        square = torch.stack([self.square[part].mean(0) for part in parts])
        scale = (square - centre.square()).clamp(min=NARROWEST**2).sqrt()
        copies = lambda x: x.expand(len(label), -1, -1).clone()
        return self._replace(centre=copies(centre), scale=copies(scale))
