r"""The network of EG3D: from styles to planes, from planes to a field, from the field to rays.

.. math:: P = S(w), \; w = m(z, c) \qquad (\sigma, c)(x) = f\left( \tfrac13 \sum_k P_k(\pi_k x) \right)
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.nn.mapping import Mapping
from latentzoo.nn.style import Synthesis
from latentzoo.nn.truncation import mean_styles, truncate
from latentzoo.nn.volume import composite, in_chunks, refine, stratify, visibility
from latentzoo.zoo.eg3d.enlarger import Enlarger


class Rendering(NamedTuple):
    """A rendered image: features (B, C, R, R) in [-1, 1] and depth (B, 1, R, R)."""

    feature: Tensor
    depth: Tensor


class EG3DNetwork(nn.Module):
    """Creates the network of EG3D.

    Arguments:
        mapping: From latents and labels to styles.
        synthesis: From styles to the three planes, one after the other.
        decoder: The two linear layers of the field: from the features of a point to its density
            and colour.
        enlarge: From the rendered features to the image.
        near: Where the rays begin.
        far: Where they end.
        box: The side of the cube that the planes span.
        samples: The number of depths of the first pass.
        importance: The number of depths of the second pass; 0 for none.
        white: Whether what is behind the scene is white.
        condition: The factor on the label in the mapping; 0 where the mapping does not see it.
        means: How many mean styles the file has, one for each layer or one for all; 0 for one that is a vector.
    """

    w_avg: Tensor

    def __init__(
        self,
        mapping: Mapping,
        synthesis: Synthesis,
        decoder: nn.ModuleList,
        enlarge: Enlarger,
        *,
        near: float,
        far: float,
        box: float,
        samples: int,
        importance: int,
        white: bool,
        condition: float,
        means: int = 0,
    ) -> None:
        super().__init__()
        self.mapping, self.synthesis = mapping, synthesis
        self.decoder, self.enlarge = decoder, enlarge
        self.near, self.far, self.box, self.white = near, far, box, white
        self.samples, self.importance, self.condition = samples, importance, condition
        self.register_buffer("w_avg", mean_styles(means, synthesis.styles, synthesis.w_dim))

    def styles(
        self,
        z: Float[Tensor, "B Z"],
        c: Float[Tensor, "B C"],
        truncation: float = 1.0,
        cutoff: int | None = None,
    ) -> Float[Tensor, "B L W"]:
        """The style of each layer of the backbone, for latents (B, Z) and labels (B, C)."""
        w = self.mapping(z, c * self.condition)
        return truncate(w, self.w_avg, truncation, self.synthesis.styles, cutoff)

    def planes(
        self, ws: Float[Tensor, "B L W"], noise: Sequence[Tensor] | None = None
    ) -> Float[Tensor, "B 3 C P P"]:
        """The features on the three planes, for styles (B, L, W)."""
        return self.synthesis(ws, noise=noise)[1].unflatten(1, (3, -1))

    def field(
        self, planes: Float[Tensor, "B 3 C P P"], points: Float[Tensor, "B N 3"]
    ) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N F"]]:
        """The raw density (B, N) and the colour (B, N, F) in [0, 1] at points (B, N, 3) of the world."""
        where = points[..., [[0, 1], [0, 2], [2, 0]]].transpose(1, 2) * (2 / self.box)
        found = F.grid_sample(
            planes.flatten(0, 1), where.flatten(0, 1)[:, None], align_corners=False
        )
        feature = found.squeeze(2).unflatten(0, (-1, 3)).mean(dim=1).mT
        hidden, out = self.decoder
        x = out(F.softplus(hidden(feature)))
        sigma, colour = x.split([1, x.shape[2] - 1], dim=2)
        return sigma.squeeze(2), colour.sigmoid() * 1.002 - 0.001

    def render(
        self,
        planes: Float[Tensor, "B 3 C P P"],
        origin: Float[Tensor, "B 3"],
        direction: Float[Tensor, "B N 3"],
        *,
        shift: float = 0.0,
        jitter: Float[Tensor, "B N S"] | None = None,
        levels: Float[Tensor, "B N M"] | None = None,
        exact: bool = True,
        chunk: int | None = None,
    ) -> Rendering:
        """Renders the rays of a square image.

        Arguments:
            planes: The planes, with shape (B, 3, C, P, P).
            origin: The place of the camera, with shape (B, 3).
            direction: The unit directions of the rays, with shape (B, N, 3).
            shift: What is added to the depths where the rays begin and end.
            jitter: The shift of each depth of the first pass, in units of their spacing; None for
                0.
            levels: The quantiles of the second pass; None for evenly spaced ones from 0 to 1.
            exact: Whether the depths of the second pass carry their gradient.
            chunk: How many rays are rendered at once.
        """
        near, far = (direction.new_tensor(end + shift) for end in (self.near, self.far))
        t = stratify(near, far, self.samples, jitter=0.0 if jitter is None else jitter)
        u = torch.linspace(0, 1, self.importance).to(t) if levels is None else levels
        t, u = (x.expand(*direction.shape[:2], -1) for x in (t, u))
        march = lambda *ray: self._march(planes, origin, exact, *ray)
        feature, depth = in_chunks(march, chunk, direction, t, u)
        side = math.isqrt(direction.shape[1])
        return Rendering(*(x.mT.unflatten(2, (side, side)) for x in (feature * 2 - 1, depth)))

    def _march(
        self,
        planes: Tensor,
        origin: Tensor,
        exact: bool,
        direction: Tensor,
        t: Tensor,
        u: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Renders rays: directions (B, n, 3), depths (B, n, S) and quantiles (B, n, M)."""

        def look(t: Tensor) -> tuple[Tensor, Tensor]:
            points = origin[:, None, None] + direction[:, :, None] * t[..., None]
            sigma, colour = self.field(planes, points.flatten(1, 2))
            return sigma.unflatten(1, t.shape[1:]), colour.unflatten(1, t.shape[1:])

        sigma, colour = look(t)
        if self.importance:
            seen = interval_weights(t, sigma if exact else sigma.detach())
            seen = F.max_pool1d(seen, 2, stride=1, padding=1)
            seen = F.avg_pool1d(seen, 2, stride=1) + 0.01
            finer = refine(middle(t)[..., :-1], seen[..., 1:-1], u)
            more_sigma, more_colour = look(finer)
            t, order = torch.cat([t, finer], dim=2).sort(dim=2)
            sigma = torch.cat([sigma, more_sigma], dim=2).gather(2, order)
            colour = torch.cat([colour, more_colour], dim=2)
            colour = colour.gather(2, order[..., None].expand_as(colour))
        weight = interval_weights(t, sigma)
        feature = composite(weight, middle(colour.mT).mT)
        total = weight.sum(dim=2, keepdim=True)
        depth = composite(weight, middle(t)[..., None]) / total
        return feature + (1 - total) if self.white else feature, depth.nan_to_num(nan=self.far)


def middle(x: Float[Tensor, "*B S"]) -> Float[Tensor, "*B S-1"]:
    """The means of neighbours along the last dimension."""
    return (x[..., 1:] + x[..., :-1]) / 2


def interval_weights(
    t: Float[Tensor, "B N S"], sigma: Float[Tensor, "B N S"]
) -> Float[Tensor, "B N S-1"]:
    """How much each interval between depths is seen, of density softplus(mean sigma - 1)."""
    return visibility(F.softplus(middle(sigma) - 1), t.diff(dim=2))
