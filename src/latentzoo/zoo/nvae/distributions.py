r"""The distributions of NVAE: the prior of a group, given the network's numbers, and that of the picture.

.. math:: z_g = \mu_g + \sigma_g \, \varepsilon_g, \qquad
    \mu = 5 \tanh(\tilde\mu / 5), \qquad \sigma = \exp(5 \tanh(\tilde\rho / 5)) + 0.01

.. math:: r = m_1, \qquad g = m_2 + c_1 r, \qquad b = m_3 + c_2 r + c_3 g
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Group = tuple[Tensor, Callable[[Tensor, Tensor, Tensor], Tensor]]


def clamped(mu: Tensor, rho: Tensor, eps: Tensor) -> Tensor:
    """The group's value under the model's prior, which cannot diverge."""
    return soft(mu) + (soft(rho).exp() + 0.01) * eps


def unclamped(mu: Tensor, rho: Tensor, eps: Tensor) -> Tensor:
    """The group's value under a prior as the network gives it."""
    return mu + rho.exp() * eps


def soft(x: Tensor) -> Tensor:
    """Keeps a number between -5 and 5."""
    return 5 * (x / 5).tanh()


def mean(parameters: Float[Tensor, "B C H W"]) -> Float[Tensor, "B c H W"]:
    """The mean image of the output's distribution, nominally in [-1, 1].

    Arguments:
        parameters: For K logistic components, with shape (B, 10 K, H, W), K logits and for each channel K means, log
            scales and coefficients; for one Gaussian, with shape (B, 6, H, W), 3 means and 3 log scales; for a pixel
            that is black or white, with shape (B, 1, H, W), the log odds of white.
    """
    if parameters.shape[1] == 1:
        return 2 * parameters.sigmoid() - 1
    if parameters.shape[1] == 6:
        return soft(parameters[:, :3])
    k = parameters.shape[1] // 10
    weight = parameters[:, :k].softmax(1)[:, None]
    m, _, c = parameters[:, k:].unflatten(1, (3, 3, k)).unbind(2)
    m, c = (weight * m).sum(2), (weight * c.tanh()).sum(2)
    r = m[:, 0]
    g = m[:, 1] + c[:, 0] * r.clamp(-1, 1)
    b = m[:, 2] + c[:, 1] * r.clamp(-1, 1) + c[:, 2] * g.clamp(-1, 1)
    return torch.stack([r, g, b], dim=1)
