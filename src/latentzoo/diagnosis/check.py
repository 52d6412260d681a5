r"""Is this generator a map? The laws, measured on one generator.

.. math::
    G(z) = G(z), \qquad G(z_{1:B})_b = G(z_b), \qquad G(z) \in [0, 1]^{3 \times H \times W}, \qquad
    \langle \nabla_z \langle G(z), y \rangle, v \rangle
        \approx \frac{1}{2 \epsilon} \langle G(z + \epsilon v) - G(z - \epsilon v), y \rangle

All is measured on a copy, so the generator stays as it was. A law that cannot be measured is broken, and says why.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from latentzoo.diagnosis.laws import (
    OVERSHOOT,
    SHARE,
    apart,
    kept,
    moved,
    out_of_range,
    precision,
    require_eval,
    require_images,
    span,
)
from latentzoo.errors import LatentzooError, SpecError
from latentzoo.generator import Generator
from latentzoo.rng import Domain, Rng


@dataclass(frozen=True)
class Law:
    """One law on one generator.

    Attributes:
        name: The law.
        measured: How far the generator is from it; NaN if that could not be measured.
        allowed: What is allowed, in words.
        holds: Whether the law holds.
        why: What was found where it does not hold, and the cure.
    """

    name: str
    measured: float
    allowed: str
    holds: bool
    why: str = ""


@dataclass(frozen=True)
class Report:
    """The laws on one generator, as they were measured.

    Attributes:
        laws: The laws, in the order of their measurement.
    """

    laws: tuple[Law, ...]

    @property
    def holds(self) -> bool:
        """Whether all laws hold."""
        return all(law.holds for law in self.laws)

    @property
    def breaches(self) -> tuple[Law, ...]:
        """The laws that do not hold."""
        return tuple(law for law in self.laws if not law.holds)

    def __str__(self) -> str:
        width = max(len(law.name) for law in self.laws)
        return "\n".join(
            f"{'ok    ' if law.holds else 'BREACH'}  {law.name:{width}}  {law.measured:<8.3g}  {law.allowed}"
            + (f"\n        {law.why}" if law.why else "")
            for law in self.laws
        )


def check(generator: Generator, *, chains: int = 3, seed: int = 0) -> Report:
    """Measures the laws that make a generator usable as a map.

    Nothing is raised for a law that is broken, whatever the generator does. The generator is left
    as it is: a copy is measured, in float64 for the finite differences.

    Arguments:
        generator: The generator, on any device and of any number type.
        chains: The batch on which it is tried, at least 2.
        seed: The seed of the latents.

    Raises:
        SpecError: If `chains` is less than 2.
    """
    if chains < 2:
        raise SpecError(f"chains is {chains}; a row is compared with a batch, so give at least 2")
    with torch.enable_grad():
        return Report(tuple(_laws(generator, chains, seed)))


def _laws(given: Generator, chains: int, seed: int) -> Iterator[Law]:
    try:
        space, size, G = given.space, given.size, copy.deepcopy(given)
    except Exception as error:
        yield _broken("says its space and size, and can be copied", error)
        return
    weight = next((w for w in G.parameters() if w.is_floating_point()), torch.empty(0))
    seeds = range(seed, seed + chains)
    rng = Rng(*seeds, domain=Domain.CHECK, device=weight.device, dtype=weight.dtype)
    z, before = rng.normal(space.dim), kept(G)
    yield _measured("eval mode", lambda: _eval(G))
    shape = _measured(f"shape (B, 3, {', '.join(map(str, size))})", lambda: _shape(G, z))
    yield shape
    if not shape.holds:
        return
    with torch.no_grad():
        image = G(z)
        yield _within("finite", float((~image.isfinite()).sum()), 0)
        yield _range(image)
        joined = space.join(**space.split(z))
        yield _within("join(split(z)) == z", apart(joined, z), 0)
        yield _measured("repeatable: G(z) == G(z)", lambda: (apart(G(z), image), 0))
        yield _measured("independent of the batch", lambda: _rows(G, z, image))
    changes = list(moved("generator", G, before))
    yield Law("keeps nothing between calls", len(changes), "0", not changes, "".join(changes))
    yield from _slopes(G, z[:1], rng.select([0]))


def _eval(G: Generator) -> tuple[float, float]:
    require_eval("generator", G, SpecError)
    return 0, 0


def _shape(G: Generator, z: Tensor) -> tuple[float, float]:
    with torch.no_grad():
        require_images(G, G(z), len(z))
    return 0, 0


def _range(image: Tensor) -> Law:
    low, high = span(image)
    words = "".join(out_of_range(image))
    over = max(-low, high - 1, 0.0)
    return Law("range: nominally [0, 1]", over, f"<= {OVERSHOOT:g} outside", not words, words)


def _rows(G: Generator, z: Tensor, image: Tensor) -> tuple[float, float]:
    """The first and the last row, alone against in the batch, as a part of the images' deviation."""
    ends = (0, len(z) - 1)
    far = max(apart(G(z[row : row + 1])[0], image[row]) for row in ends)
    return far / max(float(image.float().std()), 1e-12), max(SHARE, 32 * precision(G))


def _slopes(G: Generator, z: Tensor, rng: Rng) -> Iterator[Law]:
    """The gradient of <G(z), y>: against central differences, in float64 where there is one, and block by block."""
    name = "gradient against finite differences"
    exact = z.device.type != "mps"
    try:
        network, z = (G.double(), z.double()) if exact else (G, z)
        z = z.requires_grad_()
        image = network(z)
        y = rng.normal(*image.shape[1:]).to(image)
        gradient = _gradient((image * y).sum(), z)
    except Exception as error:
        yield _broken(name, error)
        return
    yield _measured(name, lambda: _difference(network, z.detach(), y, gradient, rng, exact))
    for block, part in network.space.split(gradient).items():
        reach = float(part.norm())
        yield Law(f"gradient reaches '{block}'", reach, "> 0", reach > 0)


def _gradient(value: Tensor, z: Tensor) -> Tensor:
    if value.requires_grad:
        (gradient,) = torch.autograd.grad(value, z, allow_unused=True)
        if gradient is not None:
            return gradient
    raise SpecError(
        "no gradient passes from the image to z; is something detached, or under no_grad?"
    )


@torch.no_grad()
def _difference(
    G: Generator, z: Tensor, y: Tensor, gradient: Tensor, rng: Rng, exact: bool
) -> tuple[float, float]:
    v = rng.normal(z.shape[1]).to(z)
    epsilon = (1e-6 if exact else 1e-2) / float(v.norm()) * float(z.norm())
    there = ((G(z + epsilon * v) - G(z - epsilon * v)) * y).sum() / (2 * epsilon)
    slope = (gradient * v).sum()
    error = float((there - slope).abs() / slope.abs().clamp_min(1e-12))
    return error, 1e-3 if exact else 0.1


def _measured(name: str, measure: Callable[[], tuple[float, float]]) -> Law:
    """The law of a measurement and its limit; one that cannot be made is a breach."""
    try:
        return _within(name, *measure())
    except Exception as error:
        return _broken(name, error)


def _within(name: str, measured: float, limit: float) -> Law:
    return Law(name, measured, f"<= {limit:g}", measured <= limit)


def _broken(name: str, error: Exception) -> Law:
    said = str(error).strip().split("\n")[0]
    why = said if isinstance(error, LatentzooError) else f"{type(error).__name__}: {said}"
    return Law(name, math.nan, "can be measured", False, why)
