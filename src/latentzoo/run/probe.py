"""What can be seen of a potential before the first step."""

import warnings

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import EnergyError
from latentzoo.kernels.types import Potential


def probe(phi: Potential, z: Float[Tensor, "B D"]) -> tuple[str, ...]:
    """Evaluates one chain twice and names the terms that are random between calls.

    Returns:
        One sentence per finding; they are also warned about.

    Raises:
        EnergyError: If the potential's shape is wrong.
    """
    with torch.no_grad():
        one = phi.select(torch.zeros(1, dtype=torch.long))
        first, second = (one.evaluate(z[:1], gradient=False) for _ in range(2))
    if first.phi.shape != (1,):
        raise EnergyError(
            f"the potential returned shape {tuple(first.phi.shape)} for one latent; return (1,)"
        )
    same = lambda a, b: bool(torch.isclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True))
    pairs = (
        zip(phi.names, first.terms[0], second.terms[0], strict=True)
        if phi.names
        else [("phi", first.phi[0], second.phi[0])]
    )
    notes = tuple(
        f"the energy '{name}' is random: {a:.6g} and {b:.6g} for the same latent, so accept/reject steps are biased "
        "and replays differ; fix its draws once per run"
        for name, a, b in pairs
        if not same(a, b)
    )
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return notes
