r"""A run followed along the directions in which its energy pulls most differently from chain to chain.

phi and :math:`|z|^2` can settle while the chains do not: two modes may share both, and one slow coordinate is lost
among a thousand. What the energy informs shows in its gradients. At the run's half, over the chains b that live,

.. math:: \frac{1}{B - 1} \sum_b (g_b - \bar g)(g_b - \bar g)^\top, \qquad g_b = \nabla \phi(z_b),

has the main eigenvectors :math:`v_1, v_2`, and from there on the record holds :math:`x_k = v_k^\top z` of every
chain, as a third and a fourth quantity to take split R-hat and effective sample sizes of. They stay what they were
at the half: directions that followed the chains would hide what the chains do. Nothing is drawn and nothing is
changed, so the samples are those of a run that nobody followed.

References:
    | Dimension-independent likelihood-informed MCMC (Cui, Law and Marzouk, 2016)
    | https://arxiv.org/abs/1411.3688
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.diagnosis.convergence import LONG
from latentzoo.kernels.lowrank import main_directions

if TYPE_CHECKING:
    from latentzoo.run.chain import Frame

COUNT = 2
"""How many directions are followed, at most."""
MOST = 64
"""How many chains' gradients they are found from, at most: more would cost and tell little."""


class Directions:
    """Creates the record of a run along its main directions; it stays empty where they cannot be told.

    That is so for kernels without gradients, for fewer than two living chains, and for runs whose second half is too
    short for time averages.

    Arguments:
        length: How many steps the run will make.

    Attributes:
        basis: The directions as orthonormal columns, (D, K), once the run's half is reached.
    """

    def __init__(self, length: int) -> None:
        self.basis: Float[Tensor, "D K"] | None = None
        self._half = (length + 1) // 2
        self._long = length + 1 - self._half >= LONG
        self._rows: list[np.ndarray] = []

    def append(self, frame: "Frame") -> None:
        """Records one step of all chains, (K, B), and finds the directions if it is the half's."""
        z, alive = frame.state.z, frame.failed < 0
        if self._long and frame.step == self._half:
            self.basis = _basis(frame.state.grad[alive][:MOST], like=z)
        if self.basis is not None:
            along = (z @ self.basis).T.float().cpu().numpy()
            self._rows[frame.step - self._half :] = [np.where(alive.cpu().numpy(), along, np.nan)]

    def array(self, rows: int, chains: int) -> Float[np.ndarray, "T K B"]:
        """The record of a run with so many rows and chains; NaN before the half."""
        if not self._rows:
            return np.empty((rows, 0, chains), np.float32)
        known = np.stack(self._rows)
        unknown = np.full((rows - len(known), *known.shape[1:]), np.nan, np.float32)
        return np.concatenate([unknown, known])

    def tensors(self, rows: int) -> dict[str, Tensor]:
        """What a state file needs of the first rows of the run; see `restore`."""
        known = self._rows[: max(rows - self._half, 0)]
        if self.basis is None or not known:
            return {}
        along = torch.from_numpy(np.stack(known))
        return {"directions.basis": self.basis, "directions.along": along}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Takes the directions and the rows of a state file."""
        self.basis = tensors.get("directions.basis")
        self._rows = [] if self.basis is None else list(tensors["directions.along"].cpu().numpy())


def _basis(grad: Float[Tensor, "B d"], like: Tensor) -> Float[Tensor, "D K"] | None:
    """The main directions of the gradients, or None where they do not differ or are not known."""
    if grad.numel() == 0:
        return None
    directions, variance = main_directions(grad.float().cpu(), COUNT)
    directions = directions[:, variance > 0]
    return directions.to(like) if directions.shape[1] else None
