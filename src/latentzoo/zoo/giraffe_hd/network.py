r"""The network of GIRAFFE-HD: two rendered maps of features, two painters, and a refiner with its mask.

.. math:: (\sigma, c)(p) = f_o\left( R (p - t) / s, \, w_o \right), \qquad
    x = m \, \tanh(x_o + r) + (1 - m) \, \tanh(x_b)
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.nn.mapping import Mapping
from latentzoo.nn.style import Synthesis, SynthesisLayer
from latentzoo.nn.volume import composite, in_chunks, pixels, rays, stratify, visibility
from latentzoo.zoo.giraffe_hd.field import Field
from latentzoo.zoo.giraffe_hd.refiner import Refiner


class Codes(NamedTuple):
    """The four parts of the latent, or their styles, each of shape (B, Z)."""

    shape: Tensor
    appearance: Tensor
    background_shape: Tensor
    background_appearance: Tensor


class Box(NamedTuple):
    """Where the object is: scale (B, 3), place (B, 3) and rotation (B, 3, 3)."""

    scale: Tensor
    place: Tensor
    rotation: Tensor


class Painting(NamedTuple):
    """An image in (-1, 1) and its layers: object and background, the object before it is refined, residual, mask."""

    image: Tensor
    object: Tensor
    background: Tensor
    raw: Tensor
    residual: Tensor
    mask: Tensor


class GiraffeHDNetwork(nn.Module):
    """Creates the network of GIRAFFE-HD.

    Arguments:
        mappings: From codes to styles, for the object and the background.
        fg_field: The field of the object.
        bg_field: The field of the background.
        fg_renderer: From the object's features to its image, and to its mask if it has four
            channels.
        bg_renderer: From the background's features to its image.
        refine_renderer: From the painted object's features to what is added to it, and to the mask
            if the renderer has none.
        resolution: The side of the rendered maps.
        samples: The number of depths along a ray.
        styled: Whether the fields take styles, or the codes themselves.
        appearance: Whether the features of the fields depend on the appearance, or on the shape.
        views: Whether they depend on the direction from which a point is seen.
        follow: Whether the background follows the height of the object.
    """

    def __init__(
        self,
        mappings: Sequence[Mapping],
        fg_field: Field,
        bg_field: Field,
        fg_renderer: Synthesis,
        bg_renderer: Synthesis,
        refine_renderer: Refiner,
        *,
        resolution: int = 16,
        samples: int = 64,
        styled: bool = True,
        appearance: bool = False,
        views: bool = False,
        follow: bool = False,
    ) -> None:
        super().__init__()
        self.mappings = nn.ModuleList(mappings)
        self.fg_field, self.bg_field = fg_field, bg_field
        self.fg_renderer, self.bg_renderer = fg_renderer, bg_renderer
        self.refine_renderer = refine_renderer
        self.sizes = tuple(m.z_dim for m in mappings for _ in range(2))
        self.resolution, self.samples, self.styled = resolution, samples, styled
        self.appearance, self.views, self.follow = appearance, views, follow

    @property
    def layers(self) -> list[SynthesisLayer]:
        """The layers that take a noise map: of the object's painter, the background's, and the refiner."""
        painters = [*self.fg_renderer.layers, *self.bg_renderer.layers]
        last = (m for m in self.refine_renderer.layers if isinstance(m, SynthesisLayer))
        return [*painters, *last]

    def styles(self, codes: Codes) -> Codes:
        """The styles of the four codes."""
        of_object, of_background = self.mappings
        return Codes(*(of_object(z) for z in codes[:2]), *(of_background(z) for z in codes[2:]))

    def render(
        self,
        codes: Codes,
        styles: Codes,
        pose: Float[Tensor, "B 3 4"],
        slope: float,
        box: Box,
        *,
        chunk: int | None = None,
    ) -> tuple[Float[Tensor, "B C r r"], Float[Tensor, "B C r r"]]:
        """Renders the features of the object and of the background.

        Arguments:
            codes: The latent's parts.
            styles: Their styles.
            pose: The poses of the camera in a world whose z axis points upwards, with shape (B, 3,
                4).
            slope: The tangent of half the angle of view.
            box: Where the object is.
            chunk: How many rays are rendered at once.
        """
        z = styles if self.styled else codes
        shade = z[1::2] if self.appearance else z[::2]
        plane = slope * pixels(self.resolution, like=pose, corners=True)
        origin, direction = rays(pose, plane[None])
        ends = pose.new_tensor([0.5, 6.0])
        t = stratify(ends[0], ends[1], self.samples)
        ground = box.place * box.place.new_tensor([0, 0, float(self.follow)])

        def march(ray: Tensor) -> tuple[Tensor, Tensor]:
            points = (origin[:, None, None] + ray[:, :, None] * t[:, None]).flatten(1, 2)
            ways = ray[:, :, None].expand(-1, -1, len(t), -1).flatten(1, 2)
            inside = lambda x: x @ box.rotation.mT / box.scale[:, None]
            points_in = inside(points - box.place[:, None])
            near, near_feature = self.fg_field(points_in, inside(ways), z[0], shade[0])
            near = torch.where((points_in.abs() <= 1.1).all(dim=2), near, 0)
            behind, behind_feature = self.bg_field(points - ground[:, None], ways, z[2], shade[1])
            return see(ray, near, near_feature), see(ray, behind, behind_feature)

        def see(ray: Tensor, density: Tensor, feature: Tensor) -> Tensor:
            step = F.pad(t.diff(), (0, 1), value=1e10) * ray.norm(dim=2, keepdim=True)
            density, feature = (x.unflatten(1, step.shape[1:]) for x in (density, feature))
            return composite(visibility(density.relu(), step), feature)

        seen = in_chunks(march, chunk, direction)
        near, behind = (x.mT.unflatten(2, (self.resolution, self.resolution)) for x in seen)
        return near, behind

    def paint(
        self,
        near: Float[Tensor, "B C r r"],
        behind: Float[Tensor, "B C r r"],
        styles: Codes,
        inject: int,
        noise: Sequence[Tensor] | None = None,
    ) -> Painting:
        """Paints rendered features; the first `inject` layers of the object are styled by its shape."""
        layers = self.fg_renderer.styles
        first, last = min(inject, layers), max(layers - inject, 0)
        ws = torch.stack([styles.shape] * first + [styles.appearance] * last, dim=1)
        v = styles.background_appearance
        ends = (len(self.fg_renderer.layers), len(self.layers) - len(self.refine_renderer.layers))
        cuts = (
            (None, None, None)
            if noise is None
            else (noise[: ends[0]], noise[ends[0] : ends[1]], noise[ends[1] :])
        )
        x, raw = self.fg_renderer(ws, near, cuts[0])
        vs = v[:, None].expand(-1, self.bg_renderer.styles, -1)
        background = self.bg_renderer(vs, behind, cuts[1])[1].tanh()
        residual = self.refine_renderer(x, v, cuts[2])
        logit = raw[:, 3:] if raw.shape[1] == 4 else residual[:, 3:]
        raw, residual, mask = raw[:, :3], residual[:, :3], logit.sigmoid()
        object = (raw + residual).tanh()
        image = object * mask + background * (1 - mask)
        return Painting(image, object, background, raw, residual, mask)
