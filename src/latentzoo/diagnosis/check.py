r"""Is this generator a map? The laws, measured on one generator.

.. math::
    G(z) = G(z), \qquad G(z_{1:B})_b = G(z_b), \qquad
    \langle \nabla_z \langle G(z), y \rangle, v \rangle
        \approx \frac{1}{2 \epsilon} \langle G(z + \epsilon v) - G(z - \epsilon v), y \rangle
"""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from latentzoo.generator import Generator
from latentzoo.rng import Domain, Rng


@dataclass(frozen=True)
class Law:
    """One law on one generator: what was measured, what is allowed, and whether it holds."""

    name: str
    measured: float
    allowed: str
    holds: bool


@torch.enable_grad()
def check(generator: Generator, *, chains: int = 3, seed: int = 0) -> list[Law]:
    """Measures the laws that make a generator usable as a map.

    Arguments:
        generator: The generator, on any device; a float64 copy of it is made for the finite
            differences.
        chains: The batch on which it is tried.
        seed: The seed of the latents.
    """
    parameter = next(generator.parameters(), torch.empty(0))
    seeds = range(seed, seed + chains)
    rng = Rng(*seeds, domain=Domain.CHECK, device=parameter.device)
    z = rng.normal(generator.space.dim)
    with torch.no_grad():
        image, again, alone = generator(z), generator(z), generator(z[:1])
    return [
        _shape(generator, image),
        _law("finite", float((~image.isfinite()).sum()), 0.0),
        _law(
            "join(split(z)) == z",
            _distance(generator.space.join(**generator.space.split(z)), z),
            0.0,
        ),
        _law("repeatable: G(z) == G(z)", _distance(again, image), 0.0),
        _law(
            "independent of the batch",
            _distance(alone, image[:1]) / max(float(image.std()), 1e-12),
            1e-3,
        ),
        *_gradients(generator, z[:1], rng.select([0])),
    ]


def _shape(generator: Generator, image: Tensor) -> Law:
    wanted = (3, *generator.size)
    return Law(
        f"shape (B, {', '.join(map(str, wanted))})",
        image.shape[0],
        "B",
        tuple(image.shape[1:]) == wanted,
    )


def _gradients(generator: Generator, z: Tensor, rng: Rng) -> list[Law]:
    """The gradient of <G(z), y> against central differences along a random direction, in float64 where there is one."""
    exact = z.device.type != "mps"
    network = copy.deepcopy(generator).double() if exact else generator
    z = (z.double() if exact else z).requires_grad_()
    image = network(z)
    y = rng.normal(*image.shape[1:]).to(image)
    (gradient,) = torch.autograd.grad((image * y).sum(), z)
    v = rng.normal(z.shape[1]).to(z)
    epsilon = (1e-6 if exact else 1e-2) / float(v.norm()) * float(z.detach().norm())
    with torch.no_grad():
        difference = ((network(z + epsilon * v) - network(z - epsilon * v)) * y).sum() / (
            2 * epsilon
        )
    slope = (gradient * v).sum()
    error = float((difference - slope).abs() / slope.abs().clamp_min(1e-12))
    reach = [
        Law(f"gradient reaches '{name}'", float(block.norm()), "> 0", float(block.norm()) > 0)
        for name, block in generator.space.split(gradient).items()
    ]
    return [_law("gradient against finite differences", error, 1e-3 if exact else 0.1), *reach]


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def _law(name: str, measured: float, limit: float) -> Law:
    return Law(name, measured, f"<= {limit:g}", measured <= limit)
