"""The record of a run as it is judged: the chains that live, and which rows are of what kind."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from latentzoo.diagnosis.traced import Traced

ROWS = 16
"""How many rows of a trace a statement about it needs, its start among them."""


class Rows(NamedTuple):
    """The living chains' record, each (T, B) but `along`, (T, K, B), and which rows are of what kind, (T,).

    Attributes:
        phi: The energies.
        norm2: The squared norms.
        accept: The acceptance probabilities, NaN where nothing was tested.
        step_size: The step sizes.
        beta: The inverse temperatures.
        error: The energy errors.
        along: The chains along the main directions of the gradients.
        identity: Stein's identity.
        going: The chains along where the others were going.
        arrived: Which rows are at the posterior's temperature.
        half: Which of these are in the second half.
        tested: Which rows are of tested steps.
    """

    phi: Float[np.ndarray, "T B"]
    norm2: Float[np.ndarray, "T B"]
    accept: Float[np.ndarray, "T B"]
    step_size: Float[np.ndarray, "T B"]
    beta: Float[np.ndarray, "T B"]
    error: Float[np.ndarray, "T B"]
    along: Float[np.ndarray, "T K B"]
    identity: Float[np.ndarray, "T B"]
    going: Float[np.ndarray, "T B"]
    arrived: Bool[np.ndarray, "T"]
    half: Bool[np.ndarray, "T"]
    tested: Bool[np.ndarray, "T"]

    @classmethod
    def of(cls, trace: Traced, alive: Bool[np.ndarray, "B"]) -> "Rows":
        """The record of the chains that live."""
        columns = trace.array.astype(float)[:, :6, alive].transpose(1, 0, 2)
        accept, beta = columns[2], columns[4]
        after = np.arange(len(beta)) > 0
        arrived = after & (beta == 1).all(1) & (beta.shape[1] > 0)
        half = arrived & (np.arange(len(beta)) >= len(beta) // 2)
        along = trace.along.astype(float)[:, :, alive]
        identity, going = (x.astype(float)[:, alive] for x in (trace.identity, trace.going))
        tested = after & ~np.isnan(accept).any(1)
        known = along, identity, going, arrived, half, tested
        return cls._make([*columns, *known])

    @property
    def long(self) -> bool:
        """Whether there are enough rows, and from five eighths of the run on all are at the posterior's temperature."""
        return len(self.phi) >= ROWS and bool(self.arrived[5 * len(self.phi) // 8 :].all())

    @property
    def followed(self) -> list[Float[np.ndarray, "T B"]]:
        """The numbers that single chains are followed by: phi, |z|^2, and along the directions."""
        return [self.phi, self.norm2, *self.along.transpose(1, 0, 2)]

    def late(self, x: Float[np.ndarray, "T B"]) -> bool:
        """Whether x is known from five eighths of the run on."""
        return bool(np.isfinite(x[5 * len(self.phi) // 8 :]).all())
