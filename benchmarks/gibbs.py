r"""Exact draws of the posterior of a Levy process, by Gibbs sampling of scale mixtures.

With :math:`u_i | v_i \sim \mathcal{N}(0, v_i)`, :math:`V = \mathrm{diag}(v)` and :math:`H = A` after the running sum,
the increments given the variances are Gaussian, and are drawn in covariance form, which no small v upsets:

.. math:: u = u_0 + V H^\top (H V H^\top + s^2 I)^{-1} (y - H u_0 - s n), \qquad u_0 \sim \mathcal{N}(0, V)

The variances given the increments are independent and of known laws (`processes.Increment.scales`). Where increments
may be exactly zero, :math:`u_i = b_i w_i`, the indicators b are drawn one after the other with w integrated out: with
:math:`C` the covariance of y without increment i, :math:`r = h_i^\top C^{-1} h_i` and :math:`q = h_i^\top C^{-1} y`,

.. math:: \log \frac{P(b_i = 1)}{P(b_i = 0)} = \log \frac{p}{1 - p} - \tfrac12 \log(1 + v_i r)
    + \frac{v_i q^2}{2 (1 + v_i r)}

References:
    | Partially collapsed Gibbs samplers (van Dyk and Park, 2008)
    | A statistical framework to investigate the optimality of signal-reconstruction methods (Bohra et al., 2023)
    | https://arxiv.org/abs/2203.09920
"""

import math

import torch
from torch import Tensor

from processes import Problem


def gibbs(
    problem: Problem, *, chains: int, sweeps: int, burn: int, every: int = 1, seed: int = 0
) -> Tensor:
    """Draws increments of every measurement's posterior.

    Arguments:
        problem: The measurements, N of them.
        chains: How many chains each has.
        sweeps: How many sweeps follow the first ones.
        burn: How many sweeps are thrown away.
        every: Every which sweep is kept.
        seed: The seed.

    Returns:
        The increments, (N, chains, sweeps / every, L).
    """
    law, draw = problem.increment, torch.Generator().manual_seed(seed)
    y = problem.y.repeat_interleave(chains, 0)
    v = law.prior_scales(y.new_empty(len(y), problem.seen.shape[1]), draw)
    b = torch.ones_like(v, dtype=torch.bool)
    kept = []
    for sweep in range(-burn, sweeps):
        if law.share < 1:
            b = indicators(problem, y, v, b, draw)
        u = increments(problem, y, v * b, draw)
        v = law.scales(u, draw)
        v = v if law.share == 1 else torch.where(b, v, law.prior_scales(v, draw))
        if sweep >= 0 and sweep % every == 0:
            kept.append(u)
    return torch.stack(kept, 1).unflatten(0, (-1, chains))


def increments(problem: Problem, y: Tensor, v: Tensor, draw: torch.Generator) -> Tensor:
    """Draws the increments given their variances; exactly zero where these are."""
    h, s = problem.seen, problem.noise
    normal = lambda like: torch.randn(like.shape, dtype=like.dtype, generator=draw)
    before = v.sqrt() * normal(v)
    rest = y - before @ h.T - s * normal(y)
    root = torch.linalg.cholesky(covariance(problem, v))
    return before + v * (torch.cholesky_solve(rest[..., None], root)[..., 0] @ h)


def covariance(problem: Problem, v: Tensor) -> Tensor:
    """The covariance of what is measured given the variances, (..., M, M)."""
    h = problem.seen
    return (h * v[..., None, :]) @ h.T + problem.noise**2 * torch.eye(len(h), dtype=h.dtype)


def indicators(problem: Problem, y: Tensor, v: Tensor, b: Tensor, draw: torch.Generator) -> Tensor:
    """Draws which increments are not zero, one after the other, given the variances they have then."""
    h, p, b = problem.seen, problem.increment.share, b.clone()
    root = torch.linalg.cholesky(covariance(problem, v * b))
    m = h.T @ torch.cholesky_solve(h.expand(len(y), -1, -1), root)
    q = torch.cholesky_solve(y[..., None], root)[..., 0] @ h
    level = torch.rand(b.shape, dtype=v.dtype, generator=draw).logit()
    for i in torch.randperm(b.shape[1], generator=draw).tolist():
        row, vi, was = m[:, i].clone(), v[:, i], b[:, i].clone()
        # without increment i, from the numbers with or without it
        less = 1 - torch.where(was, vi, 0.0) * row[:, i]
        r, qi = row[:, i] / less, q[:, i] / less
        gain = vi * qi.square() / (1 + vi * r) - (vi * r).log1p()
        now = level[:, i] < math.log(p / (1 - p)) + gain / 2
        change = (now.double() - was.double()) * vi
        moved = change.nonzero().flatten()  # mostly few
        row, part = row[moved], (change / (1 + change * row[:, i]))[moved, None]
        q[moved] -= part * row * q[moved, i : i + 1]
        m[moved] -= (part * row)[:, :, None] * row[:, None, :]
        b[:, i] = now
    return b
