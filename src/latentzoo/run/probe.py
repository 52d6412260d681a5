r"""What can be seen of a map and its energies before the first step: the laws of `laws`, measured on a few chains.

Up to three chains are evaluated a few times, as many at once as the run itself evaluates. What cannot be sampled is
an error; what can, but hardly as it is meant, is a note.
"""

import warnings
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.compiling import plainly
from latentzoo.diagnosis.laws import (
    kept,
    moved,
    out_of_range,
    precision,
    require_eval,
    require_images,
    require_numbers,
    unsteady,
)
from latentzoo.energies.base import Energy
from latentzoo.errors import EnergyError, SpecError
from latentzoo.generator import Generator, supported
from latentzoo.kernels.types import Potential
from latentzoo.posterior import Posterior


def probe(phi: Potential, z: Float[Tensor, "B D"]) -> tuple[str, ...]:
    """Evaluates up to three chains a few times and says what is wrong with the map and its energies.

    Arguments:
        phi: What will be sampled.
        z: Where its chains begin.

    Returns:
        One sentence per finding; they are also warned about.

    Raises:
        SpecError: If the generator makes no images of its size, or its chains are mixed by a layer
            in train mode.
        EnergyError: The same of an energy, or if it does not give one number per image.
    """
    chains, z = _rows(phi, z)
    with plainly():
        with torch.no_grad():
            posterior = isinstance(phi, Posterior)
            found = tuple(_networks(phi, chains, z) if posterior else _potential(phi, chains, z))
        notes = (*found, *_slope(phi, chains, z))
    for note in notes:
        warnings.warn(note, stacklevel=3)
    return notes


def _rows(phi: Potential, z: Tensor) -> tuple[Tensor, Tensor]:
    """Up to three chains and a latent for each: the first and the last, and mirror images where starts may agree."""
    last = len(z) - 1
    many = min(3, len(z), getattr(phi, "micro_batch", None) or 3)
    index = torch.tensor([[0], [0, last], [0, 0, last]][many - 1])
    sign = torch.tensor([[1], [1, -1], [1, -1, 1]][many - 1])
    return index, z.detach()[index] * sign[:, None].to(z)


def _networks(phi: Posterior, chains: Tensor, z: Tensor) -> Iterator[str]:
    generator = phi.generator
    require_eval("generator", generator, SpecError)
    before = kept(generator)
    look = lambda at: _images(generator.select(chains[at]), z[at])
    image = look(slice(None))
    yield from out_of_range(image)
    yield from unsteady("generator", look, image, precision(generator), generator.training)
    yield from moved("generator", generator, before)
    for name, (_, energy) in phi.terms.items():
        yield from _energy(f"energy '{name}'", energy, chains, image)


def _images(generator: Generator, z: Tensor) -> Tensor:
    """The images of `generator.image`, looked at before they are cast."""
    device, dtype = generator.place
    with supported(dtype):
        found = generator(z.to(device=device, dtype=dtype))
    return require_images(generator, found, len(z)).to(z.dtype)


def _energy(what: str, energy: Energy, chains: Tensor, image: Tensor) -> Iterator[str]:
    require_eval(what, energy, EnergyError)
    before = kept(energy)
    rate = lambda at: require_numbers(what, energy.select(chains[at]), image[at])
    yield from unsteady(what, rate, rate(slice(None)), precision(energy), energy.training)
    yield from moved(what, energy, before)


def _potential(phi: Potential, chains: Tensor, z: Tensor) -> Iterator[str]:
    rate = lambda at: phi.select(chains[at]).evaluate(z[at], gradient=False).phi
    whole = rate(slice(None))
    if whole.shape != z.shape[:1]:
        raise EnergyError(
            f"the potential returned shape {tuple(whole.shape)} for {len(z)} latents; return ({len(z)},)"
        )
    yield from unsteady("potential", rate, whole)


def _slope(phi: Potential, chains: Tensor, z: Tensor) -> Iterator[str]:
    try:
        if phi.select(chains[:1]).evaluate(z[:1]).grad.any():
            return
        here, there = (phi.select(chains).evaluate(x) for x in (z, -z))
    except EnergyError:  # without a gradient: kernels that need one refuse it, others take it
        return
    if (here.phi != there.phi).any() and not (here.grad.any() or there.grad.any()):
        yield (
            "the gradient of phi is zero although phi differs between latents (is something rounded, or cut off?), "
            "so kernels that follow it are not guided; take pcn or slice"
        )
