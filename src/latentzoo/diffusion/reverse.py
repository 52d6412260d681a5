r"""Reverse steps: from the level `t` to the level `s` with less noise.

A stochastic step is a Gaussian :math:`p(x_s \mid x_t) = \mathcal{N}(\mu, \sigma^2)` whose noise is
an argument,

.. math:: x_s = \mu(x_t) + \sigma \, \varepsilon_s
    \qquad \Longleftrightarrow \qquad \varepsilon_s = (x_s - \mu(x_t)) / \sigma

`push` reads it from left to right: generation, with the noise a block of the latent. `pull` reads
it from right to left: encoding. With :math:`\alpha_{t|s} = \alpha_t / \alpha_s` and
:math:`\sigma_{t|s}^2 = \sigma_t^2 - \alpha_{t|s}^2 \sigma_s^2`, every path (variance preserving,
exploding, straight) has the same formulas.

References:
    | Denoising Diffusion Probabilistic Models (Ho et al., 2020), https://arxiv.org/abs/2006.11239
    | Denoising Diffusion Implicit Models (Song et al., 2021), https://arxiv.org/abs/2010.02502
    | Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021)
    | https://arxiv.org/abs/2011.13456
    | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022)
    | https://arxiv.org/abs/2206.00364
    | DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Models (Lu et al., 2022)
    | https://arxiv.org/abs/2211.01095
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from latentzoo.diffusion.parametrisation import Estimate
from latentzoo.diffusion.schedule import Level


class Gaussian(NamedTuple):
    """The distribution of `x_s` given `x_t`.

    Attributes:
        mean: The mean, with the shape of `x_t`.
        std: The standard deviation: a number, or a tensor for networks that predict it.
    """

    mean: Float[Tensor, "B ..."]
    std: Float[Tensor, "B ..."] | float

    def push(self, eps: Float[Tensor, "..."] | None) -> Float[Tensor, "B ..."]:
        r"""The point :math:`\mu + \sigma \varepsilon`; without a noise, the mean."""
        return self.mean if eps is None else self.mean + self.std * eps

    def pull(self, x_s: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
        r"""The noise :math:`(x_s - \mu) / \sigma` that gives a point: the inverse of `push`."""
        return (x_s - self.mean) / self.std


def forward(x_0: Tensor, t: Level) -> Gaussian:
    r"""The forward process :math:`q(x_t \mid x_0) = \mathcal{N}(\alpha_t x_0, \sigma_t^2)`."""
    return Gaussian(t.alpha * x_0, t.sigma)


def posterior_std(t: Level, s: Level) -> float:
    r"""The deviation :math:`\sigma_s \sigma_{t|s} / \sigma_t` of :math:`q(x_s \mid x_t, x_0)`."""
    return s.sigma / t.sigma * math.sqrt(max(t.sigma**2 - (t.alpha / s.alpha * s.sigma) ** 2, 0.0))


def posterior(x_t: Tensor, x_0: Tensor, t: Level, s: Level) -> Gaussian:
    r"""The posterior of the forward process, the step of DDPM and DDGAN.

    .. math:: q(x_s \mid x_t, x_0) =
        \mathcal{N}\Bigl(\alpha_{t|s} \frac{\sigma_s^2}{\sigma_t^2} x_t
        + \alpha_s \frac{\sigma_{t|s}^2}{\sigma_t^2} x_0,
        \; \frac{\sigma_s^2 \sigma_{t|s}^2}{\sigma_t^2}\Bigr)
    """
    alpha_ts, ratio = t.alpha / s.alpha, (s.sigma / t.sigma) ** 2
    mean = alpha_ts * ratio * x_t + s.alpha * (1 - alpha_ts**2 * ratio) * x_0
    return Gaussian(mean, posterior_std(t, s))


def ddim(q: Estimate, t: Level, s: Level, *, eta: float = 0.0) -> Gaussian:
    r"""The step of DDIM: deterministic for :math:`\eta = 0`, that of DDPM for :math:`\eta = 1`.

    .. math:: x_s = \alpha_s x_0 + \sqrt{\sigma_s^2 - \tilde\sigma^2} \, \varepsilon
        + \tilde\sigma \varepsilon_s, \qquad \tilde\sigma = \eta \sigma_s \sigma_{t|s} / \sigma_t

    With :math:`\eta = 0` it is the Euler step of the probability flow, of a variance exploding
    path and of a rectified flow.

    Arguments:
        q: The estimate at `x_t`; where the picture was clipped, the caller decides whether the
            noise follows.
        t: The level of `x_t`.
        s: The level to go to; it may have more noise (inversion) where `eta` is 0.
        eta: How much of the step is fresh noise, in [0, 1].
    """
    std = eta * posterior_std(t, s) if eta > 0 else 0.0
    return Gaussian(s.alpha * q.x_0 + math.sqrt(max(s.sigma**2 - std**2, 0.0)) * q.eps, std)


def heun(x_t: Tensor, estimate: Callable[[Tensor, Level], Estimate], t: Level, s: Level) -> Tensor:
    r"""The second-order step of the probability flow: the trapezoidal rule along the path.

    .. math:: x_s = x_t + \tfrac12 (\alpha_s - \alpha_t) (x_0 + x_0')
        + \tfrac12 (\sigma_s - \sigma_t) (\varepsilon + \varepsilon')

    where the primed estimate is made at the end of the Euler step. It is the sampler of EDM on a
    variance exploding path and Heun's rule on a rectified flow. The step into the picture
    (`s.sigma == 0`) is Euler's.
    """
    q = estimate(x_t, t)
    x_s = ddim(q, t, s).mean
    if s.sigma == 0:
        return x_s
    p = estimate(x_s, s)
    d_alpha, d_sigma = (s.alpha - t.alpha) / 2, (s.sigma - t.sigma) / 2
    return x_t + d_alpha * (q.x_0 + p.x_0) + d_sigma * (q.eps + p.eps)


def multistep(
    x_t: Tensor, x_0: Tensor, last: Tensor | None, *, t: Level, s: Level, r: Level | None = None
) -> Tensor:
    r"""The second-order multistep step of DPM-Solver++ (2M).

    .. math:: x_s = \frac{\sigma_s}{\sigma_t} x_t
        + \Bigl(\alpha_s - \frac{\sigma_s}{\sigma_t} \alpha_t\Bigr) D, \qquad
        D = x_0 + \frac{\lambda_s - \lambda_t}{2 (\lambda_t - \lambda_r)} (x_0 - x_0')

    with the half log signal-to-noise ratio :math:`\lambda`.

    Arguments:
        x_t: The present point, (B, ...).
        x_0: The estimate of the picture at `x_t`.
        last: The estimate one step earlier; None makes a first-order step, which is DDIM's.
        t: The level of `x_t`.
        s: The level to go to; the step into the picture is of first order.
        r: The level where `last` was made.
    """
    direction = x_0
    if last is not None and r is not None and s.sigma > 0:
        direction = x_0 + (s.log_snr - t.log_snr) / (2 * (t.log_snr - r.log_snr)) * (x_0 - last)
    ratio = s.sigma / t.sigma
    return ratio * x_t + (s.alpha - ratio * t.alpha) * direction


def diffuse(x_t: Tensor, score: Tensor, t: Level, s: Level) -> Gaussian:
    r"""The reverse diffusion predictor of a variance exploding path (ScoreSDE).

    .. math:: x_s = x_t + (\sigma_t^2 - \sigma_s^2) \, \nabla \log p(x_t)
        + \sqrt{\sigma_t^2 - \sigma_s^2} \, \varepsilon_s
    """
    var = t.sigma**2 - s.sigma**2
    return Gaussian(x_t + var * score, math.sqrt(var))


def correct(x_t: Tensor, score: Tensor, noise: Tensor, *, snr: float) -> Tensor:
    r"""The Langevin corrector of ScoreSDE at one level.

    .. math:: x_t + h s + \sqrt{2 h} \, \varepsilon, \qquad h = 2 (r \|\varepsilon\| / \|s\|)^2

    The norms are those of each sample, so that a picture does not depend on its batch.
    """
    norm = lambda v: v.flatten(1).norm(dim=1).view(-1, *(1,) * (v.ndim - 1))
    h = 2 * (snr * norm(noise) / norm(score)) ** 2
    return x_t + h * score + (2 * h).sqrt() * noise
