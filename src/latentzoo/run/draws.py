"""Draws along the chains, as ArviZ takes them: (chain, draw, dim), with what the trace knows of each."""

from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import MissingExtra, SpecError
from latentzoo.run.trace import Trace


def inference_data(
    draws: Float[Tensor, "B K D"] | None, steps: tuple[int, ...], trace: Trace
) -> Any:
    """Makes ArviZ's container of draws: `z` with its phi, acceptance and energies.

    Arguments:
        draws: The states kept along the chains.
        steps: The steps at which they were kept.
        trace: The record of the run.

    Raises:
        SpecError: If no draws were kept.
        MissingExtra: If ArviZ is not installed.
    """
    if draws is None or not steps:
        raise SpecError("no draws were kept along the chains; sample with keep=10, say")
    try:
        import arviz
    except ImportError:
        raise MissingExtra("arviz", "arviz", "to_inference_data") from None
    rows = trace.array[np.array(steps)].transpose(1, 2, 0)
    groups = {
        "posterior": {"z": draws.numpy()},
        "sample_stats": dict(zip(trace.columns, rows, strict=True)),
    }
    if int(arviz.__version__.split(".")[0]) >= 1:  # one dictionary of groups since ArviZ 1
        return arviz.from_dict(groups)
    return arviz.from_dict(**groups)
