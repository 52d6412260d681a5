r"""Parametrisations: what the network's output says about the picture and the noise.

At :math:`x_t = \alpha_t x_0 + \sigma_t \varepsilon` a network may predict

    | "eps"     eps
    | "x0"      x_0
    | "v"       v = alpha_t eps - sigma_t x_0
    | "score"   grad log p(x_t) = -eps / sigma_t
    | "flow"    u = eps - x_0, the velocity of the straight path

Each is turned into an :class:`Estimate` of both, which always satisfies the equation above; the
reverse steps know estimates only.

References:
    | Progressive Distillation for Fast Sampling of Diffusion Models (Salimans and Ho, 2022)
    | https://arxiv.org/abs/2202.00512
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from latentzoo.diffusion.schedule import Level
from latentzoo.errors import UnknownName


class Estimate(NamedTuple):
    """What is thought to be mixed in `x_t`.

    Attributes:
        x_0: The picture, with the shape of `x_t`.
        eps: The noise, with the shape of `x_t`.
    """

    x_0: Float[Tensor, "B ..."]
    eps: Float[Tensor, "B ..."]


def from_eps(eps: Tensor, x_t: Tensor, t: Level) -> Estimate:
    r"""Reads a noise prediction: :math:`x_0 = (x_t - \sigma_t \varepsilon) / \alpha_t`."""
    return Estimate((x_t - t.sigma * eps) / t.alpha, eps)


def from_x0(x_0: Tensor, x_t: Tensor, t: Level) -> Estimate:
    r"""Reads a picture prediction: :math:`\varepsilon = (x_t - \alpha_t x_0) / \sigma_t`."""
    return Estimate(x_0, (x_t - t.alpha * x_0) / t.sigma)


def from_v(v: Tensor, x_t: Tensor, t: Level) -> Estimate:
    r"""Reads a velocity prediction: :math:`x_0 = \alpha_t x_t - \sigma_t v` where preserving."""
    norm = t.alpha**2 + t.sigma**2
    return Estimate((t.alpha * x_t - t.sigma * v) / norm, (t.sigma * x_t + t.alpha * v) / norm)


def from_score(score: Tensor, x_t: Tensor, t: Level) -> Estimate:
    r"""Reads a score prediction: :math:`\varepsilon = -\sigma_t s`."""
    return from_eps(-t.sigma * score, x_t, t)


def from_flow(u: Tensor, x_t: Tensor, t: Level) -> Estimate:
    r"""Reads a straight velocity: :math:`x_0 = (x_t - \sigma_t u) / (\alpha_t + \sigma_t)`."""
    norm = t.alpha + t.sigma
    return Estimate((x_t - t.sigma * u) / norm, (x_t + t.alpha * u) / norm)


ESTIMATES: Mapping[str, Callable[[Tensor, Tensor, Level], Estimate]] = {
    "eps": from_eps,
    "x0": from_x0,
    "v": from_v,
    "score": from_score,
    "flow": from_flow,
}
"""The estimate of each parametrisation, from its output, `x_t` and the level."""

OUTPUTS: Mapping[str, Callable[[Estimate, Level], Tensor]] = {
    "eps": lambda q, t: q.eps,
    "x0": lambda q, t: q.x_0,
    "v": lambda q, t: t.alpha * q.eps - t.sigma * q.x_0,
    "score": lambda q, t: -q.eps / t.sigma,
    "flow": lambda q, t: q.eps - q.x_0,
}
"""The output of each parametrisation that gives an estimate: the inverses of `ESTIMATES`."""


def estimate(kind: str, output: Tensor, x_t: Tensor, t: Level) -> Estimate:
    """Reads a network's output.

    Arguments:
        kind: The parametrisation, a key of `ESTIMATES`.
        output: What the network returned, with the shape of `x_t`.
        x_t: Where it was asked, with shape (B, ...).
        t: The level of `x_t`.

    Raises:
        UnknownName: If there is no such parametrisation.
    """
    if kind not in ESTIMATES:
        raise UnknownName("parametrisation", kind, ESTIMATES)
    return ESTIMATES[kind](output, x_t, t)


def convert(output: Tensor, x_t: Tensor, t: Level, *, source: str, target: str) -> Tensor:
    """Turns the output of one parametrisation into that of another.

    Raises:
        UnknownName: If a parametrisation has no such name.
    """
    if target not in OUTPUTS:
        raise UnknownName("parametrisation", target, OUTPUTS)
    return OUTPUTS[target](estimate(source, output, x_t, t), t)
