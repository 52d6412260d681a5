r"""Volume rendering: a camera, its rays, depths along them, and what is seen through a density.

A ray :math:`r(t) = o + t d` through a field of density :math:`\sigma` and features :math:`c` shows

.. math:: C = \sum_i w_i \, c_i, \qquad w_i = T_i \, (1 - e^{-\sigma_i \delta_i}),
    \qquad T_i = e^{-\sum_{j < i} \sigma_j \delta_j}

where :math:`\delta_i` is the length of the i-th interval. What makes a density (softplus, relu, a
signed distance) and how the last interval ends is each family's own. Nothing here draws a number:
jitter and the levels of the importance sampling are arguments.

Users: EG3D, StyleSDF, StyleNeRF, GIRAFFE-HD, avatar-3d; `encode` StyleNeRF, GIRAFFE-HD.

References:
    | NeRF: Representing Scenes as Neural Radiance Fields for View Synthesis
    | (Mildenhall et al., 2020)
    | https://arxiv.org/abs/2003.08934
    |
    | Optical Models for Direct Volume Rendering (Max, 1995)
    | https://doi.org/10.1109/2945.468400
"""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def look_at(
    position: Float[Tensor, "B 3"],
    target: Sequence[float] = (0, 0, 0),
    up: Sequence[float] = (0, 1, 0),
) -> Float[Tensor, "B 3 4"]:
    """The pose of a camera that looks at a target: columns right, up, backward, position."""
    backward = F.normalize(position - position.new_tensor(target), dim=1)
    right = F.normalize(
        torch.cross(position.new_tensor(up).expand_as(backward), backward, dim=1), dim=1
    )
    return torch.stack([right, torch.cross(backward, right, dim=1), backward, position], dim=2)


def pixels(size: int, *, like: Tensor, corners: bool = False) -> Float[Tensor, "N 2"]:
    """The (x, y) of the N = size^2 pixels in [-1, 1], x to the right, y upwards, row by row from
    the top.

    Arguments:
        size: The number of pixels of a side.
        like: A tensor whose device and dtype are taken.
        corners: Whether the outer pixels' centres (rather than their edges) lie at -1 and 1.
    """
    end = 1.0 if corners else 1 - 1 / size
    x = torch.linspace(-end, end, size, device=like.device, dtype=like.dtype)
    return torch.stack([x.expand(size, size), -x[:, None].expand(size, size)], dim=2).flatten(0, 1)


def rays(
    pose: Float[Tensor, "B 3 4"], plane: Float[Tensor, "#B N 2"]
) -> tuple[Float[Tensor, "B 3"], Float[Tensor, "B N 3"]]:
    """The origin and the directions d = R (x, y, -1) of the rays through a plane at depth 1."""
    forward = torch.cat([plane, -torch.ones_like(plane[..., :1])], dim=2)
    return pose[..., 3], forward @ pose[..., :3].mT


def encode(x: Float[Tensor, "... C"], octaves: int) -> Float[Tensor, "... E"]:
    """The E = 2 C octaves numbers sin(2^i pi x), cos(2^i pi x), octave by octave, sines first."""
    scale = math.pi * 2.0 ** torch.arange(octaves, device=x.device, dtype=x.dtype)
    angle = x[..., None, :] * scale[:, None]
    return torch.stack([angle.sin(), angle.cos()], dim=-2).flatten(-3)


def stratify(
    near: Float[Tensor, "*#B"],
    far: Float[Tensor, "*#B"],
    n: int,
    *,
    ends: bool = True,
    jitter: Float[Tensor, "*#B #n"] | float = 0.0,
) -> Float[Tensor, "*#B n"]:
    """Evenly spaced depths near + (k + u_k) (far - near) / (n - 1) for k = 0 ... n - 1.

    Arguments:
        near: Where the depths begin, of any shape.
        far: Where they end.
        n: Their number.
        ends: Whether `far` is the last depth; otherwise it is the first that is left out, and n -
            1 reads n.
        jitter: The shifts u_k in [0, 1], in units of the spacing.
    """
    k = torch.arange(n, device=near.device, dtype=near.dtype)
    step = (far - near) / (n - 1 if ends else n)
    return near[..., None] + (k + jitter) * step[..., None]


def refine(
    edges: Float[Tensor, "... E"],
    weight: Float[Tensor, "... K"],
    u: Float[Tensor, "... M"],
    *,
    side: Literal["left", "right"] = "right",
    eps: float = 1e-5,
) -> Float[Tensor, "... M"]:
    """Depths at the levels u of the distribution that is proportional to `weight` between the
    edges: F^-1(u).

    The levels are those of stratified draws, or evenly spaced: then nothing is random. The depths
    carry the gradient of the weights; published networks were trained with detached weights.

    Arguments:
        edges: The E = K + 1 increasing edges of the bins.
        weight: The bins' non-negative weights.
        u: The levels in [0, 1].
        side: To which bin a level on an edge belongs.
        eps: What is added to the weights; in a bin with less than `eps` of the whole, F is taken
            to rise at the rate 1, as all published implementations do.
    """
    pdf = weight + eps
    cdf = F.pad((pdf / pdf.sum(dim=-1, keepdim=True)).cumsum(dim=-1), (1, 0))
    u = u.expand(*cdf.shape[:-1], u.shape[-1]).contiguous()
    above = torch.searchsorted(cdf.detach().contiguous(), u, side=side)
    low, high = (above - 1).clamp(min=0), above.clamp(max=weight.shape[-1])
    edges = edges.expand(cdf.shape)
    mass = cdf.gather(-1, high) - cdf.gather(-1, low)
    rate = (u - cdf.gather(-1, low)) / torch.where(mass < eps, 1.0, mass)
    return edges.gather(-1, low) + rate * (edges.gather(-1, high) - edges.gather(-1, low))


def visibility(
    density: Float[Tensor, "... S"], interval: Float[Tensor, "... S"]
) -> Float[Tensor, "... S"]:
    """The weights w_i = (1 - exp(-sigma_i delta_i)) exp(-sum_{j<i} sigma_j delta_j).

    The light that comes from behind everything is 1 - sum_i w_i.
    """
    depth = density * interval
    before = depth[..., :-1].cumsum(dim=-1)
    return -torch.expm1(-depth) * torch.exp(-F.pad(before, (1, 0)))


def composite(
    weight: Float[Tensor, "... S"], value: Float[Tensor, "... S C"]
) -> Float[Tensor, "... C"]:
    """The value seen along each ray, sum_i w_i c_i."""
    return (weight[..., None, :] @ value).squeeze(-2)


def in_chunks(
    render: Callable[..., tuple[Tensor, ...]], chunk: int | None, *rays: Tensor
) -> tuple[Tensor, ...]:
    """Renders so many rays at a time and computes them again in the backward pass, so that the
    chunk sets the memory.

    Arguments:
        render: A function of rays (B, n, ...) to tensors (B, n, ...), each ray by itself.
        chunk: How many rays, counted over the batch, are rendered at once; None renders all and
            keeps everything.
        rays: Tensors of shape (B, N, ...), split along their second dimension.
    """
    if chunk is None:
        return render(*rays)
    if torch.is_grad_enabled():
        whole = render
        render = lambda *part: checkpoint(
            whole, *part, use_reentrant=False, preserve_rng_state=False
        )
    n = max(chunk // len(rays[0]), 1)
    parts = [render(*part) for part in zip(*(ray.split(n, dim=1) for ray in rays), strict=True)]
    return (
        parts[0]
        if len(parts) == 1
        else tuple(torch.cat(p, dim=1) for p in zip(*parts, strict=True))
    )
