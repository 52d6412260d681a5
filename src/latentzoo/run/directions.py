r"""A run followed along the directions in which its energy pulls most differently from chain to chain.

phi and :math:`|z|^2` can settle while the chains do not: two modes may share both, and one slow coordinate is lost
among a thousand. What the energy informs shows in its gradients. At the run's half, over the chains b that live,

.. math:: \frac{1}{B - 1} \sum_b (g_b - \bar g)(g_b - \bar g)^\top, \qquad g_b = \nabla \phi(z_b),

has the main eigenvectors :math:`v_1, v_2`, and from there on the record holds :math:`x_k = v_k^\top z` of every
chain, as a third and a fourth quantity to take split R-hat and effective sample sizes of. They stay what they were
at the half: directions that followed the chains would hide what the chains do.

The record also holds Stein's identity, which every posterior keeps whatever its shape, per dimension:

.. math:: s_b = \tfrac1d \, \langle z_b - \bar z_{-b}, \; z_b + \nabla \phi(z_b) \rangle, \qquad \mathbb{E} \, s_b = 1,

where :math:`\bar z_{-b}` is the mean of the other chains, so far as there are others. Nothing is drawn and nothing is
changed, so the samples are those of a run that nobody followed.

A run that follows another looks along the other's directions, about the mean of the other's chains (`Sights`). Then no
number of a chain depends on the chains beside it, and a run that is walked in parts is recorded as the whole.

References:
    | Dimension-independent likelihood-informed MCMC (Cui, Law and Marzouk, 2016)
    | https://arxiv.org/abs/1411.3688
    | Measuring sample quality with Stein's method (Gorham and Mackey, 2015)
    | https://arxiv.org/abs/1506.03039
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.kernels.lowrank import main_directions, width
from latentzoo.run.rows import Rows

if TYPE_CHECKING:
    from latentzoo.run.chain import Frame

BASIS, ALONG = "directions.basis", "directions.along"
"""What a state file calls the directions, and the chains along them with Stein's identity."""
COUNT = 2
"""How many directions are followed, at most."""
MOST = 64
"""How many chains' gradients they are found from, at most: more would cost and tell little."""


def half(length: int) -> int:
    """The step at the half of a run of so many steps, from which a run that follows another is looked at."""
    return (length + 1) // 2


class Sights(NamedTuple):
    """Where a run looks that follows another.

    Attributes:
        basis: The other's directions, (D, K).
        centre: The mean of its chains, (D,).
        heading: Where they were going, (D,); None where that is not known.
    """

    basis: Float[Tensor, "D K"]
    centre: Float[Tensor, "D"]
    heading: Float[Tensor, "D"] | None = None

    @classmethod
    def of(
        cls,
        basis: Float[Tensor, "D K"],
        z: Float[Tensor, "B D"],
        alive: Tensor,
        way: Float[Tensor, "D 2"] | None,
    ) -> "Sights":
        """Where a run has looked, on the CPU.

        Arguments:
            basis: Its directions.
            z: Its last states.
            alive: Which of its chains live, (B,).
            way: Its headings, see `heading`; None if it has none.
        """
        centre = torch.nan_to_num(z[alive].mean(0))
        return cls(basis.cpu(), centre.cpu(), None if way is None else way.mean(1).cpu())


class Directions:
    """Creates the record of a run along its main directions; it stays empty for kernels without gradients.

    One living chain, and gradients that do not differ, have no directions, but still have the identity.

    Arguments:
        length: How many steps the run will make.
        sights: Where the run looks; None finds that at its half.

    Attributes:
        basis: The directions as orthonormal columns, (D, K), once the run's half is reached.
    """

    def __init__(self, length: int, sights: Sights | None = None) -> None:
        self.basis: Float[Tensor, "D K"] | None = None
        self.sights = sights
        self._half = half(length)
        self._rows = Rows(self._half)

    def append(self, frame: "Frame") -> None:
        """Records one step of all chains, and finds the directions if it is the half's."""
        if self.basis is None and frame.step != self._half:
            return
        state, alive = frame.state, frame.failed < 0
        if 0 < self._half == frame.step and state.grad.shape[1] and alive.any():
            grad = state.grad if alive.all() else state.grad[alive]
            self.basis = columns(self._found(grad[:MOST], like=state.z))
        if self.basis is not None:
            centre = None if self.sights is None else self.sights.centre.to(state.z)
            identity = stein(state.z, state.grad, alive, centre)
            row = torch.cat([_along(state.z, self.basis), identity[None]])
            self._rows.put(frame.step, torch.where(alive, row, torch.nan))

    def _found(self, grad: Float[Tensor, "B D"], like: Tensor) -> Float[Tensor, "D K"]:
        return _basis(grad, like) if self.sights is None else self.sights.basis.to(like)

    def array(self, rows: int, chains: int) -> Float[np.ndarray, "T K B"]:
        """The record along the directions, of a run with so many rows and chains; NaN before the half."""
        return self._rows.array(rows, 1, chains)[:, :-1]

    def identity(self, rows: int, chains: int) -> Float[np.ndarray, "T B"]:
        """The record of Stein's identity; NaN before the half."""
        return self._rows.array(rows, 1, chains)[:, -1]

    def tensors(self, rows: int) -> dict[str, Tensor]:
        """What a state file needs of the first rows of the run; see `restore`."""
        along = self._rows.saved(rows)
        if self.basis is None or along is None:
            return {}
        return {BASIS: self.basis.contiguous(), ALONG: along}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Takes the directions and the rows of a state file."""
        basis = tensors.get(BASIS)
        self.basis = None if basis is None else columns(basis)
        self._rows.restore(tensors.get(ALONG))


def stein(
    z: Float[Tensor, "B D"],
    grad: Float[Tensor, "B D"],
    alive: Tensor,
    centre: Float[Tensor, "D"] | None = None,
) -> Float[Tensor, "B"]:
    """The identity's value for each chain, 1 on average at the posterior.

    Arguments:
        z: The latents.
        grad: The gradients of phi there.
        alive: Which chains live, (B,).
        centre: What it is taken about; None takes the mean of the other living chains.
    """
    parts = z.split(width(z), 1), grad.split(width(z), 1)
    centres = [None] * len(parts[0]) if centre is None else centre.split(width(z))
    found = [_stein(*part, alive) for part in zip(*parts, centres, strict=True)]
    return torch.stack(found).sum(0) / z.shape[1]


def _stein(z: Tensor, grad: Tensor, centre: Tensor | None, alive: Tensor) -> Float[Tensor, "B"]:
    """What some of the coordinates add to d times the identity's value."""
    if centre is not None:
        return (z - centre).mul_(z + grad).sum(1)
    count = int(alive.sum())
    others = count / (count - 1) if count > 1 else 1.0
    living = z if count == len(z) else z[alive]  # to choose among them is to copy them
    centre = living.mean(0) * others if count > 1 else torch.zeros_like(z[0])
    return (z * others).sub_(centre).mul_(z + grad).sum(1)


def columns(x: Float[Tensor, "D K"]) -> Float[Tensor, "D K"]:
    """The same matrix, each column in one piece: a latent is multiplied by it in half the time."""
    return x.T.contiguous().T


def _along(z: Float[Tensor, "B D"], basis: Float[Tensor, "D K"]) -> Float[Tensor, "K B"]:
    """The latents along the directions, each chain by itself: a product of matrices rounds by how many rows it has."""
    return (
        torch.stack([(z * direction).sum(1) for direction in basis.T])
        if basis.shape[1]
        else z.new_empty(0, len(z))
    )


def _basis(grad: Float[Tensor, "B D"], like: Tensor) -> Float[Tensor, "D K"]:
    """The main directions of the gradients; none where they do not differ, or not from chain to chain."""
    directions, variance = main_directions(grad.float().cpu(), COUNT)
    return directions[:, variance > 0].to(like)
