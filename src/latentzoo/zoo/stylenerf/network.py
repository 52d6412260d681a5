r"""The network of StyleNeRF: both fields are rendered, the foreground over the background, and enlarged.

.. math:: C = \sum_i w_i \, c_i + \left( 1 - \sum_i w_i \right) C_b
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.nn.mapping import Mapping
from latentzoo.nn.truncation import mean_styles, truncate
from latentzoo.nn.volume import composite, in_chunks, pixels, rays, refine, stratify, visibility
from latentzoo.zoo.stylenerf.field import PlainField, StyledField, outside
from latentzoo.zoo.stylenerf.levels import Level


class StyleNeRFNetwork(nn.Module):
    """Creates the network of StyleNeRF.

    Arguments:
        mapping: From the latent to the style.
        fg_field: The field of the foreground.
        bg_field: The field of the background; None for none.
        levels: The blocks that enlarge the image, in order.
        resolution: The side of the rendered image.
        samples: The number of depths along a ray in each pass.
        samples_bg: The number of inverse distances of the background.
        nearest: The largest inverse distance of the background.
        twice: Whether there is a second pass.
        means: How many mean styles the file has, one for each layer or one for all; 0 for one that is a vector.

    Attributes:
        alpha: How much of the levels is there, from 0 for the rendered image to 1; -1 stands for
            all, too.
    """

    alpha: Tensor
    w_avg: Tensor

    def __init__(
        self,
        mapping: Mapping,
        fg_field: StyledField,
        bg_field: PlainField | None,
        levels: Sequence[Level],
        *,
        resolution: int,
        samples: int,
        samples_bg: int,
        nearest: float,
        twice: bool,
        means: int = 0,
    ) -> None:
        super().__init__()
        self.mapping, self.fg_field, self.bg_field = mapping, fg_field, bg_field
        self.levels = nn.ModuleList(levels)
        self.resolution, self.size = resolution, resolution << len(levels)
        self.samples, self.samples_bg = samples, samples_bg
        self.nearest, self.twice = nearest, twice
        self.register_buffer("alpha", torch.tensor(1.0))
        styles = fg_field.styles + 2 * len(self.levels) + 1
        self.register_buffer("w_avg", mean_styles(means, styles, fg_field.w_dim))

    def styles(self, z: Float[Tensor, "B Z"], truncation: float = 1.0) -> Float[Tensor, "B L W"]:
        """The style of each layer: those of the foreground's field, then those of the levels."""
        layers = self.fg_field.styles + 2 * len(self.levels) + 1
        return truncate(self.mapping(z), self.w_avg, truncation, layers)

    def render(
        self,
        ws: Float[Tensor, "B L W"],
        z_bg: Float[Tensor, "B Z"] | None,
        pose: Float[Tensor, "B 3 4"],
        slope: float | Float[Tensor, "B 1 1"],
        near: float,
        far: float,
        *,
        exact: bool = True,
        chunk: int | None = None,
    ) -> tuple[Float[Tensor, "B 3 r r"], Float[Tensor, "B C r r"]]:
        """Renders colours and features.

        Arguments:
            ws: The styles, with shape (B, L, W).
            z_bg: The latent of the background, with shape (B, Z).
            pose: The poses of the camera in a world whose z axis points upwards, with shape (B, 3,
                4).
            slope: The tangent of half the angle of view.
            near: Where the rays begin.
            far: Where they end.
            exact: Whether the depths of the second pass carry their gradient.
            chunk: How many rays are rendered at once.
        """
        plane = slope * pixels(self.resolution, like=pose)
        origin, direction = rays(pose, plane if plane.ndim == 3 else plane[None])
        march = lambda ray: (self._march(ws, z_bg, origin, ray, near, far, exact),)
        (seen,) = in_chunks(march, chunk, direction)
        rgb, feature = seen.mT.unflatten(2, (self.resolution, self.resolution)).split(
            [3, seen.shape[2] - 3], dim=1
        )
        return rgb, feature

    def _march(
        self,
        ws: Tensor,
        z_bg: Tensor | None,
        origin: Tensor,
        ray: Tensor,
        near: float,
        far: float,
        exact: bool,
    ) -> Tensor:
        """Renders rays (B, n, 3) to colours and features (B, n, 3 + C)."""
        length = ray.norm(dim=2, keepdim=True)

        def look(t: Tensor) -> tuple[Tensor, Tensor]:
            points = origin[:, None, None] + ray[:, :, None] * t[..., None]
            sigma, value = self.fg_field(points.flatten(1, 2), ws)
            return sigma.unflatten(1, t.shape[1:]), value.unflatten(1, t.shape[1:])

        def weigh(t: Tensor, sigma: Tensor) -> Tensor:
            weight = visibility(sigma.relu(), F.pad(t.diff(dim=2) * length, (0, 1)))
            return weight if self.bg_field is not None else opaque(weight)

        n = 20 if self.alpha == -1 else self.samples
        ends = ray.new_tensor([near, far])
        t = stratify(ends[0], ends[1], n).expand(*ray.shape[:2], -1)
        sigma, value = look(t)
        weight = weigh(t, sigma)
        if self.twice:
            middle = (t[..., 1:] + t[..., :-1]) / 2
            levels = torch.linspace(0, 1, n).to(t)
            seen = weight[..., 1:-1] if exact else weight[..., 1:-1].detach()
            finer = refine(middle, seen, levels, side="left")
            more_sigma, more_value = look(finer)
            t, order = torch.cat([t, finer], dim=2).sort(dim=2)
            sigma = torch.cat([sigma, more_sigma], dim=2).gather(2, order)
            value = torch.cat([value, more_value], dim=2)
            value = value.gather(2, order[..., None].expand_as(value))
            weight = weigh(t, sigma)
        seen = composite(weight, value)
        if self.bg_field is None or z_bg is None:
            return seen
        inverse = self.nearest * torch.linspace(1, 0, self.samples_bg).to(ray)
        points = outside(origin, ray, inverse)
        sigma, value = self.bg_field(points.flatten(1, 2), z_bg)
        sigma, value = (x.unflatten(1, points.shape[1:3]) for x in (sigma, value))
        step = F.pad(-inverse.diff(), (0, 1)).expand_as(sigma)
        behind = composite(opaque(visibility(sigma.relu(), step)), value)
        return seen + (1 - weight.sum(dim=2, keepdim=True)) * behind

    @property
    def reached(self) -> float:
        """How many levels are there; the last one may be there in part."""
        alpha = self.alpha.item()
        return len(self.levels) * (1.0 if alpha < 0 else alpha)

    def enlarge(
        self,
        ws: Float[Tensor, "B L W"],
        rgb: Float[Tensor, "B 3 r r"],
        x: Float[Tensor, "B C r r"],
    ) -> Float[Tensor, "B 3 R R"]:
        """Enlarges rendered colours and features to the image in [-1, 1]."""
        reached = self.reached
        styles = ws[:, self.fg_field.styles :].unbind(1)
        before = rgb
        for i, level in enumerate(self.levels[: math.ceil(reached)]):
            before = rgb
            x, rgb = level(x, rgb, styles[2 * i : 2 * i + 3])
        part = reached % 1
        if part == 0:
            return rgb
        smooth = F.interpolate(before, scale_factor=2, mode="bilinear")
        return smooth + part * (rgb - smooth)


def opaque(weight: Float[Tensor, "... S"]) -> Float[Tensor, "... S"]:
    """Gives the last sample all the light that is left."""
    return torch.cat([weight[..., :-1], 1 - weight[..., :-1].sum(dim=-1, keepdim=True)], dim=-1)
