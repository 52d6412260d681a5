r"""Where the chains as a whole are going.

What is slow need be neither phi, nor :math:`|z|^2`, nor along the main directions of the gradients. But chains that
have not arrived move together. With :math:`\bar z_A(t), \bar z_B(t)` the means of the even and of the odd chains that
live at step t of N,

.. math:: u_A \propto \bar z_A(5N/8) - \bar z_A(N/2), \qquad u_B \propto \bar z_B(5N/8) - \bar z_B(N/2)

are where each half went, of length one, and from 5N/8 on the record holds

.. math:: x_b = \langle z_b, u_{-b} \rangle

with the heading of the half that b is not in. At the posterior the halves know nothing of each other, so the mean of x
stays where it is up to chance, in any dimension; along its own heading a half would go back from where chance took it.
Before the posterior is reached, the mean goes on along x.

A run that follows another looks along the mean of the other's headings, from its half on (`directions.Sights`), and
nowhere if the other has none. Nor has a run headings in which a chain fails while they are taken.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.run.directions import Sights, columns, half
from latentzoo.run.rows import Rows

if TYPE_CHECKING:
    from latentzoo.run.chain import Frame

BEGAN, WAY, GOING = "heading.began", "heading.way", "heading.along"
"""What a state file calls where the halves were, the headings, and the chains along them."""
FEWEST = 2
"""How many living chains a half has, at least."""


class Heading:
    """Creates the record of a run along its headings.

    Arguments:
        length: How many steps the run will make.
        sights: Where a run looks that follows another; None finds that at five eighths.

    Attributes:
        way: Along what the even and the odd chains are looked at, (D, 2), once it is known.
    """

    def __init__(self, length: int, sights: Sights | None = None) -> None:
        given = None if sights is None else sights.heading
        self.way = None if given is None else columns(given[:, None].expand(-1, 2))
        self._half, self._found = half(length), (5 * length + 5) // 8
        self._finds = sights is None
        self._began: Float[Tensor, "D 2"] | None = None
        self._rows = Rows(self._found if self._finds else self._half)

    def append(self, frame: "Frame") -> None:
        """Records one step of all chains; finds the headings where they are due."""
        if self._finds and self.way is None and frame.step in (self._half, self._found):
            self._find(frame)
        if self.way is not None and frame.step >= self._rows.first:
            z, alive = frame.state.z, frame.failed < 0
            self.way = self.way.to(z)
            self._rows.put(frame.step, torch.where(alive, _along(z, self.way), torch.nan))

    def _find(self, frame: "Frame") -> None:
        """Takes where the halves are, and at five eighths where they went since."""
        mean = _means(frame.state.z, frame.failed < 0)
        if 0 < self._half == frame.step:
            self._began = mean
        if frame.step == self._found and self._began is not None and mean is not None:
            if not (frame.failed > self._half).any():
                self.way = columns(_length_one(mean - self._began).flip(1))
            self._began = None  # a latent may have millions of numbers

    def array(self, rows: int, chains: int) -> Float[np.ndarray, "T B"]:
        """The record of a run with so many rows and chains; NaN where nothing was known yet."""
        return self._rows.array(rows, chains)

    def tensors(self, rows: int) -> dict[str, Tensor]:
        """What a state file needs of the first rows of the run; see `restore`."""
        found = {BEGAN: self._began, WAY: self.way, GOING: self._rows.saved(rows)}
        return {key: x.contiguous() for key, x in found.items() if x is not None}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Takes the headings and the rows of a state file."""
        self._began = tensors.get(BEGAN)
        if WAY in tensors:
            self.way = columns(tensors[WAY])
        self._rows.restore(tensors.get(GOING))


def _means(z: Float[Tensor, "B D"], alive: Tensor) -> Float[Tensor, "D 2"] | None:
    """The means of the even and of the odd chains that live; None where a half has too few."""
    halves = [(z[first::2], alive[first::2]) for first in (0, 1)]
    if min(int(living.sum()) for _, living in halves) < FEWEST:
        return None
    return torch.stack([(x if on.all() else x[on]).mean(0) for x, on in halves], 1)


def _length_one(x: Float[Tensor, "D 2"]) -> Float[Tensor, "D 2"]:
    return x / x.norm(dim=0).clamp(min=torch.finfo(x.dtype).tiny)


def _along(z: Float[Tensor, "B D"], way: Float[Tensor, "D 2"]) -> Float[Tensor, "B"]:
    """Each chain along the column of its half, by itself: a product of matrices rounds by how many rows it has."""
    x = torch.empty_like(z[:, 0])
    for first, u in enumerate(way.T):
        x[first::2] = (z[first::2] * u).sum(1)
    return x
