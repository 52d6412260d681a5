"""What `peers.py` measures of a step of a sampler: what it cannot do without, and its operations of torch."""

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import latentzoo as lz
from latentzoo.kernels.types import Function
from loads import Turn, half_square

STEPS = 50


def needed(chains: int, dim: int) -> Turn:
    """What no sampler leaves out: for each step a gradient, and noise of one stream for each chain."""
    phi, rng, z = Function(half_square), lz.Rng(*range(chains)), torch.randn(chains, dim)

    def turn() -> None:
        for _ in range(STEPS):
            phi.evaluate(z)
            rng.normal(dim)

    return turn


class Counted(TorchDispatchMode):
    """Counts the operations of torch."""

    count = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def operations(steps: Turn) -> Turn:
    """How many operations of torch a step takes."""

    def turn() -> float:
        with Counted() as counted:
            steps()
        return counted.count / STEPS

    return turn
