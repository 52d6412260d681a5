"""What a diagnosis needs of a run: its trace and the chains that stopped. The diagnosis stands below the run."""

from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Traced(Protocol):
    """What a run wrote down, as far as it is judged; `latentzoo.run.trace.Trace` is one.

    Attributes:
        array: phi, the squared norm, acceptance, step size, temperature and error first, (T, N, B).
        along: Each chain along the main directions of the gradients, (T, K, B).
        identity: Stein's identity of each chain, (T, B).
        going: Each chain along where the others were going, (T, B).
    """

    @property
    def array(self) -> np.ndarray: ...

    @property
    def along(self) -> np.ndarray: ...

    @property
    def identity(self) -> np.ndarray: ...

    @property
    def going(self) -> np.ndarray: ...


@runtime_checkable
class Stopped(Protocol):
    """A chain that stopped: its place among the chains, the step, and the term that was not finite."""

    @property
    def chain(self) -> int: ...

    @property
    def step(self) -> int: ...

    @property
    def term(self) -> str: ...
