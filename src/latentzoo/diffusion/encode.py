r"""Encoders: from a picture to the noise that gives it.

**DPM-Encoder.** A stochastic chain is run forward in time with fresh noise, and each noise of the
chain is read off from where the path went,

.. math:: x_T \sim q(x_T \mid x_0), \quad x_s \sim q(x_s \mid x_t, x_0), \qquad
    \varepsilon_s = (x_s - \mu_\theta(x_t)) / \sigma_s

so that the chain passes through the same states again, whatever the network. One picture has many
codes. A chain that ends in a step without noise ends in an estimate; its last state may be refined
until the estimate is the picture.

**Inversion.** A deterministic step :math:`x_s = F(x_t)` is undone by the iteration

.. math:: x_t \leftarrow x_t + (x_s - F(x_t)) / c

from :math:`x_t = x_s`, where `c` is the slope of F without its network. One iteration is the
inversion of DDIM; more of them, with Anderson's acceleration, make it exact.

References:
    | Unifying Diffusion Models' Latent Space, with Applications to CycleDiffusion and Guidance
    | (Wu and De la Torre, 2022), https://arxiv.org/abs/2210.05559
    |
    | Denoising Diffusion Implicit Models (Song et al., 2021), https://arxiv.org/abs/2010.02502
    | Anderson Acceleration for Fixed-Point Iterations (Walker and Ni, 2011)
    | https://doi.org/10.1137/10078356X
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from latentzoo.diffusion.parametrisation import from_x0
from latentzoo.diffusion.reverse import Gaussian, ddim, forward, posterior_std
from latentzoo.diffusion.sampler import DDIM, Chain, Consistency, Multistep, Pairs, Sampler, Single
from latentzoo.diffusion.schedule import Level
from latentzoo.errors import SpecError

MEMORY = 5
"""How many states the inversion of a step remembers."""

Step = Callable[[Tensor, Level, Level], Gaussian]
"""The model's distribution of `x_s` given `x_t`, with exactly the clips and guidance of the map."""


def find(
    x_0: Tensor, chain: Chain, sampler: Sampler, *, draw: Callable[[], Tensor], iterations: int
) -> tuple[Tensor, list[Tensor]]:
    """The start and the noises of a chain that lead to a picture, by the way that fits the sampler.

    The multistep sampler is inverted as DDIM, which solves the same equation.

    Arguments:
        x_0: The picture, (B, ...), in the range of the chain.
        chain: The network and the steps.
        sampler: What is done at each step.
        draw: Standard normal noise of the shape of `x_0`, for a stochastic chain.
        iterations: How often each step without noise is refined.

    Returns:
        The start (B, ...), unscaled, and the noise of each step that has one.

    Raises:
        SpecError: If the sampler has no encoder.
    """
    sampler = DDIM() if isinstance(sampler, Multistep) else sampler
    if not isinstance(sampler, Single):
        raise SpecError("the corrector of this sampler has no encoder; choose another sampler")
    if isinstance(sampler, Consistency) and len(chain.pairs) == 1:
        raise SpecError(
            "one step of a consistency model has no encoder: nothing of the picture tells the noise; take more steps"
        )
    step = lambda x_t, t, s: sampler.step(chain.denoise, x_t, t, s)
    if sampler.noises(chain.pairs) == 0:
        return invert(x_0, step, chain.pairs, iterations=iterations), []
    return stochastic(x_0, step, chain.pairs, draw=draw, eta=sampler.eta, iterations=iterations)


@torch.no_grad()
def stochastic(
    x_0: Tensor,
    step: Step,
    pairs: Pairs,
    *,
    draw: Callable[[], Tensor],
    eta: float = 1.0,
    iterations: int = 0,
) -> tuple[Tensor, list[Tensor]]:
    """The start and the noises of a stochastic chain that lead to a picture (DPM-Encoder).

    A last step with noise gives the picture itself. One without gives the network's estimate of it
    at the lowest level; where `iterations` are made, that level's state is moved to where the
    estimate is the picture.

    Arguments:
        x_0: The picture, (B, ...), in the range of the chain.
        step: The model.
        pairs: The steps of the chain.
        draw: Standard normal noise of the shape of `x_0`: called for the start, then for each
            state between the start and the picture.
        eta: How much of each state is fresh noise, in (0, 1]; that of the sampler.
        iterations: How often the state before a step without noise is refined; 0 as in the paper.

    Returns:
        The start (B, ...), unscaled, and the noise of each step that has one.
    """
    x_t = x_T = forward(x_0, pairs[0][0]).push(draw())
    noises: list[Tensor] = []
    for i, (t, s) in enumerate(pairs):
        if posterior_std(t, s) == 0:
            break
        if i == len(pairs) - 1:
            x_s = x_0
        else:
            x_s = ddim(from_x0(x_0, x_t, t), t, s, eta=eta).push(draw())
            if posterior_std(*pairs[i + 1]) == 0:
                x_s = undo(x_0, step, pairs[i + 1], guess=x_s, iterations=iterations)
        noises.append(step(x_t, t, s).pull(x_s))
        x_t = x_s
    return x_T, noises


@torch.no_grad()
def invert(x_0: Tensor, step: Step, pairs: Pairs, *, iterations: int = 20) -> Tensor:
    """The start of a deterministic chain that leads to a picture.

    Arguments:
        x_0: The picture, (B, ...), in the range of the chain.
        step: The model.
        pairs: The steps of the chain.
        iterations: How often each step is refined; each time is one call of the network.

    Returns:
        The start, (B, ...), unscaled.
    """
    x = x_0
    for pair in reversed(pairs):
        x = undo(x, step, pair, guess=x, iterations=iterations)
    return x


def undo(
    x_s: Tensor, step: Step, pair: tuple[Level, Level], *, guess: Tensor, iterations: int
) -> Tensor:
    """The state `x_t` that a step takes to `x_s`, both (B, ...).

    The iteration is accelerated over its last moves. Where it leaves a sample's residual larger
    than it was, the next one starts from the best state with half the stride, so that more
    iterations never do harm.
    """
    t, s = pair
    column = lambda v: v.view(-1, *(1,) * (guess.ndim - 1))
    stride = column(guess.new_full((len(guess),), t.alpha / s.alpha if t.alpha > 0 else 1.0))
    error = column(guess.new_full((len(guess),), torch.inf))
    x_t = best = guess
    least = torch.zeros_like(guess)
    moves: deque[tuple[Tensor, Tensor]] = deque(maxlen=MEMORY)
    for k in range(iterations):
        off = x_s - step(x_t, t, s).mean
        moves.append((x_t, off))
        size = column(off.flatten(1).norm(dim=1))
        better = size < error
        best, least = torch.where(better, x_t, best), torch.where(better, off, least)
        error, stride = torch.where(better, size, error), stride.where(better, stride / 2)
        plain = best + stride * least
        x_t = torch.where(better, accelerate(moves, stride), plain) if k > 0 else plain
    return x_t if iterations <= 1 else best


def accelerate(moves: Sequence[tuple[Tensor, Tensor]], stride: Tensor) -> Tensor:
    """Anderson's next state, from the last states and residuals, each (B, ...).

    Of the affine combinations of the states it takes the one with the smallest residual, and goes
    one stride along that.
    """
    # solved in at least float32: processors have no solver below, and the residuals nearly cancel
    narrow, wide = moves[-1][0].dtype, torch.promote_types(moves[-1][0].dtype, torch.float32)
    moves = [(x.to(wide), r.to(wide)) for x, r in moves]
    x, r = moves[-1]
    dx = torch.stack([b - a for (a, _), (b, _) in pairwise(moves)], 1).flatten(2)
    dr = torch.stack([b - a for (_, a), (_, b) in pairwise(moves)], 1).flatten(2)
    gram = dr @ dr.mT
    trace = gram.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    number = torch.finfo(x.dtype)  # parallel moves, or none at all, leave the matrix regular
    ridge = (max(number.eps, 1e-10) * trace).clamp_min(number.tiny)
    gram = gram + ridge * torch.eye(gram.shape[1], dtype=x.dtype, device=x.device)
    weight = torch.linalg.solve(gram, (dr @ r.flatten(1)[..., None]))
    back = lambda d: (weight * d).sum(1).view_as(x)
    return (x - back(dx) + stride * (r - back(dr))).to(narrow)
