"""The network of StyleSDF: the field is rendered, and a StyleGAN2 paints the image from what is seen."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.errors import SpecError
from latentzoo.nn.mapping import Mapping
from latentzoo.nn.style import Synthesis
from latentzoo.nn.volume import composite, in_chunks, pixels, rays, stratify, visibility
from latentzoo.zoo.stylesdf.field import Field


class Rendering(NamedTuple):
    """A rendered image of R x R pixels.

    Attributes:
        thumbnail: The colours in [-1, 1], with shape (B, 3, R, R).
        feature: The features, with shape (B, W, R, R).
        point: The mean point that is seen, with shape (B, 3, R, R).
        background: How much of the last sample is seen, with shape (B, 1, R, R).
        distance: The signed distance at each sample, with shape (B, R, R, S).
    """

    thumbnail: Tensor
    feature: Tensor
    point: Tensor
    background: Tensor
    distance: Tensor


class StyleSDFNetwork(nn.Module):
    """Creates the network of StyleSDF.

    Arguments:
        field: The signed distance field.
        mapping: From the style of the field to that of the decoder.
        decoder: From rendered features to the image; None, with `mapping`, for a field alone.
        resolution: The side of the rendered image.
        samples: The number of depths along a ray.
        even: Whether the depths are evenly spaced without the far end (and jittered together) or
            with both ends (and jittered apart).
        still: Whether the field sees the direction of a ray before the camera is turned, or after.
        unit: Whether points are scaled so that depths go from -1 to 1.
        opaque: Whether the last sample takes all the light that is left.
        signed: Whether the field is a signed distance, or a raw density.
    """

    def __init__(
        self,
        field: Field,
        mapping: Mapping | None,
        decoder: Synthesis | None,
        *,
        resolution: int,
        samples: int,
        even: bool,
        still: bool,
        unit: bool,
        opaque: bool,
        signed: bool,
    ) -> None:
        super().__init__()
        self.style = nn.ModuleList(nn.Linear(field.width, field.width) for _ in range(3))
        self.field, self.mapping, self.decoder = field, mapping, decoder
        self.beta = nn.Parameter(torch.full((1,), 0.1)) if signed else None
        self.resolution, self.samples = resolution, samples
        self.even, self.still, self.unit, self.opaque = even, still, unit, opaque

    def styles(
        self,
        z: Float[Tensor, "B W"],
        truncation: float = 1.0,
        mean: Tensor | None = None,
        mean_decoder: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The styles of the field (B, W) and of the decoder (B, V), drawn towards means where they are given."""
        w = self.field_style(z)
        w = w if mean is None else mean + truncation * (w - mean)
        if self.mapping is None:
            return w, None
        v = self.mapping(w)
        return w, v if mean_decoder is None else mean_decoder + truncation * (v - mean_decoder)

    def field_style(self, z: Float[Tensor, "B W"]) -> Float[Tensor, "B W"]:
        """The style of the field."""
        w = z
        for layer in self.style:
            w = F.leaky_relu(layer(w), 0.2)
        return w

    def render(
        self,
        w: Float[Tensor, "B W"],
        pose: Float[Tensor, "B 3 4"],
        slope: Float[Tensor, "#B"],
        near: Float[Tensor, "#B"],
        far: Float[Tensor, "#B"],
        *,
        jitter: Float[Tensor, "B N #S"] | None = None,
        chunk: int | None = None,
    ) -> Rendering:
        """Renders the field as a small image.

        Arguments:
            w: The styles, with shape (B, W).
            pose: The poses of the camera, with shape (B, 3, 4).
            slope: The tangent of half the angle of view, with shape (B,) or (1,).
            near: The depths where the rays begin, with shape (B,) or (1,).
            far: The depths where the rays end.
            jitter: The shifts in [0, 1] of the depths of each ray; None for depths at rest.
            chunk: How many rays are rendered at once.
        """
        plane = slope[:, None, None] * pixels(self.resolution, like=w)
        origin, direction = rays(pose, plane)
        ahead = torch.cat([plane, -torch.ones_like(plane[..., :1])], dim=2).expand_as(direction)
        view = F.normalize(ahead if self.still else direction, dim=2)
        t = self._depths(near[:, None], far[:, None], jitter).expand(*direction.shape[:2], -1)
        scale = (2 / (far - near) if self.unit else torch.ones_like(near))[:, None, None, None]
        march = lambda *ray: self._march(w, origin, scale, *ray)
        seen = in_chunks(march, chunk, direction, view, t)
        side = (self.resolution, self.resolution)
        rgb, feature, point, background, distance = (x.mT.unflatten(2, side) for x in seen)
        return Rendering(rgb, feature, point, background, distance.movedim(1, -1))

    def _depths(self, near: Tensor, far: Tensor, jitter: Tensor | None) -> Tensor:
        if self.even:
            shift = 0.0 if jitter is None else jitter
            return stratify(near, far, self.samples, ends=False, jitter=shift)
        t = stratify(near, far, self.samples)
        if jitter is None:
            return t
        middle = (t[..., 1:] + t[..., :-1]) / 2
        low = torch.cat([t[..., :1], middle], dim=-1)
        high = torch.cat([middle, t[..., -1:]], dim=-1)
        return low + (high - low) * jitter

    def _march(
        self, w: Tensor, origin: Tensor, scale: Tensor, direction: Tensor, view: Tensor, t: Tensor
    ) -> tuple[Tensor, ...]:
        """Renders rays: directions and views (B, n, 3), depths (B, n, S)."""
        points = origin[:, None, None] + direction[:, :, None] * t[..., None]
        views = view[:, :, None].expand_as(points)
        logits, distance, feature = (
            x.unflatten(1, t.shape[1:])
            for x in self.field((points * scale).flatten(1, 2), views.flatten(1, 2), w)
        )
        step = F.pad(t.diff(dim=2), (0, 1), value=1e10) * direction.norm(dim=2, keepdim=True)
        weight = visibility(self._density(distance), step)
        if self.opaque:
            rest = 1 - weight[..., :-1].sum(dim=2, keepdim=True)
            weight = torch.cat([weight[..., :-1], rest], dim=2)
        rgb, feature, point = (composite(weight, x) for x in (logits.sigmoid(), feature, points))
        return rgb * 2 - 1, feature, point, weight[..., -1:], distance

    def _density(self, distance: Tensor) -> Tensor:
        if self.beta is None:
            return F.softplus(distance)
        return torch.sigmoid(-distance / self.beta) / self.beta

    def decode(
        self, w: Float[Tensor, "B V"], feature: Tensor, noise: Sequence[Tensor] | None = None
    ) -> Float[Tensor, "B 3 H W"]:
        """The image in [-1, 1] from the decoder's style and rendered features.

        Raises:
            SpecError: If the network has no decoder.
        """
        if self.decoder is None:
            raise SpecError(
                "this StyleSDF network is a field alone; load a checkpoint with a decoder"
            )
        ws = w[:, None].expand(-1, self.decoder.styles, -1)
        return self.decoder(ws, feature, noise)[1]
