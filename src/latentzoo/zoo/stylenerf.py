r"""StyleNeRF: a small radiance field of features before a background at infinity, enlarged by 1 x
1 convolutions.

The foreground's field is a network of modulated linear maps on an encoded point, styled by
:math:`w = m(z)`; the background's sees points :math:`(p, 1/r)` outside of the unit sphere, where
:math:`p` is a direction and :math:`r` the distance, and a latent :math:`z_b` of its own. Along a
ray,

.. math:: C = \sum_i w_i \, c_i + \left( 1 - \sum_i w_i \right) C_b

first at even depths, then also at the quantiles of what those saw. Unlike in the training, these
carry their gradient, so that it is that of the map. The rendered colours and features are enlarged
level by level by a StyleGAN2 whose convolutions are 1 x 1, with an up-sampling that mixes
neighbours, so that the image stays consistent when the camera moves. Only the foreground and the
enlarging are styled.

References:
    | StyleNeRF: A Style-based 3D-Aware Generator for High-resolution Image Synthesis (Gu et al., 2022)
    | https://arxiv.org/abs/2110.08985
    |
    | NeRF++: Analyzing and Improving Neural Radiance Fields (Zhang et al., 2020)
    | https://arxiv.org/abs/2010.07492
"""

import math
import re
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Record
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo import options
from latentzoo.errors import SpecError
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.dialects import binomial
from latentzoo.hub.keys import Rule
from latentzoo.nn.fir import blur, upsample
from latentzoo.nn.mapping import Linear, Mapping, activate
from latentzoo.nn.style import ToRGB, modulated_conv2d
from latentzoo.nn.truncation import as_rows, mean_styles, require, rows, truncate
from latentzoo.nn.volume import (
    composite,
    encode,
    in_chunks,
    pixels,
    rays,
    refine,
    stratify,
    visibility,
)
from latentzoo.options import Count, Natural, Positive
from latentzoo.views.camera import Camera, Viewable, upright

CLAMP = 256.0
"""Where the features of the enlarging layers are cut off on both sides."""


class Scene(NamedTuple):
    """What does not depend on the camera: the style of each layer (B, L, W) and the background's latent (B, Z)."""

    ws: Tensor
    z_bg: Tensor | None


class StyleNeRF(Viewable):
    r"""Creates a StyleNeRF generator.

    Its latent has the blocks `style` and, if there is a background, `background`; with
    `camera="latent"` also `camera`: normal in azimuth and elevation, as in the training, or
    uniform where that was.

    Arguments:
        network: The network.
        camera: The camera, "latent", or None for the middle of the training's.
        truncation: The truncation :math:`\psi`; 1 for none.
        fov: The angle of view in degrees.
        radius: The distance of the camera in the training.
        depths: Where rays begin and end for a camera at that distance.
        azimuths: The azimuth in degrees one standard deviation (uniform: one end) below and above
            the middle.
        elevations: The same for the elevation.
        normal: Whether the poses of the training are normal or uniform.
        chunk: How many rays are rendered at once, see `in_chunks`; None for all.

    Raises:
        SpecError: If an argument is out of range.
    """

    middle: Tensor
    spread: Tensor

    def __init__(
        self,
        network: "StyleNeRFNetwork",
        *,
        camera: Camera | Record[str, Any] | str | None = None,
        truncation: float = 1.0,
        fov: Positive = 12.0,
        radius: float = 1.0,
        depths: Sequence[float] = (0.88, 1.12),
        azimuths: Sequence[float] = (-17.189, 17.189),
        elevations: Sequence[float] = (-8.881, 8.881),
        normal: bool = True,
        chunk: Count | None = 4096,
    ) -> None:
        require(truncation=truncation)
        own = Camera(sum(azimuths) / 2, sum(elevations) / 2, fov, radius, (0.0, 0.0, 0.0))
        blocks = {} if network.bg_field is None else {"background": (network.bg_field.z_dim,)}
        size = (network.size, network.size)
        super().__init__(camera, own, size, style=(network.mapping.z_dim,), **blocks)
        self.network, self.truncation, self.chunk = network, truncation, chunk
        self.radius, self.depths, self.normal = radius, depths, normal
        ends = torch.tensor([azimuths, elevations])
        self.register_buffer("middle", ends.mean(dim=1), persistent=False)
        self.register_buffer("spread", ends.diff(dim=1)[:, 0] / 2, persistent=False)
        self.register_load_state_dict_post_hook(lambda module, _: module.measure())

    def measure(self) -> None:
        """Sets the size to that of the levels that the training of the file had reached."""
        if not self.network.alpha.is_meta:
            side = self.network.resolution << math.ceil(self.network.reached)
            self.size = (side, side)

    def scene(self, blocks: Record[str, Tensor]) -> Scene:
        return Scene(
            self.network.styles(blocks["style"], self.truncation), blocks.get("background")
        )

    def photograph(self, scene: Scene, camera: Camera) -> Float[Tensor, "B 3 H W"]:
        pose = upright(camera.pose(scene.ws)).expand(len(scene.ws), -1, -1)
        slope = math.tan(math.radians(camera.fov or 0.0) / 2)
        near, far = ((camera.radius or 0.0) - self.radius + end for end in self.depths)
        seen = self.network.render(*scene, pose, slope, near, far, chunk=self.chunk)
        return (self.network.enlarge(scene.ws, *seen) + 1) / 2

    def aim(self, u: Float[Tensor, "B 2"]) -> Camera:
        u = u if self.normal else torch.erf(u / math.sqrt(2))
        azimuth, elevation = (self.middle + self.spread * u).unbind(1)
        return Camera(azimuth, elevation)


def outside(
    origin: Float[Tensor, "B 3"], direction: Float[Tensor, "B N 3"], inverse: Float[Tensor, "S"]
) -> Float[Tensor, "B N S 4"]:
    """The points of rays at inverse distances from the origin, beyond the unit sphere: (direction,
    1/r).

    The ray meets the sphere at a point that is then turned towards the ray's infinity, about the
    axis through the origin that is perpendicular to the ray, by asin(m) - asin(m / r) with m the
    ray's distance from the origin.

    Arguments:
        origin: Where the rays begin, on or in the unit sphere, with shape (B, 3).
        direction: Their directions, with shape (B, N, 3).
        inverse: The inverse distances 1/r in [0, 1], with shape (S,).
    """
    o = origin[:, None]
    squared = direction.square().sum(dim=2, keepdim=True)
    middle = o - direction * (o * direction).sum(dim=2, keepdim=True) / squared
    m = middle.norm(dim=2, keepdim=True)
    hit = middle + direction * ((1 - m.square()) / squared).sqrt()
    axis = F.normalize(torch.cross(o.expand_as(hit), hit, dim=2), dim=2)[:, :, None]
    angle = (m.asin() - (m * inverse).asin())[..., None]
    hit = hit[:, :, None]
    across = torch.cross(axis, hit, dim=3)
    along = axis * (axis * hit).sum(dim=3, keepdim=True) * (1 - angle.cos())
    turned = F.normalize(hit * angle.cos() + across * angle.sin() + along, dim=3)
    return torch.cat([turned, inverse[:, None].expand(*turned.shape[:3], 1)], dim=3)


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
        fg_field: "StyledField",
        bg_field: "PlainField | None",
        levels: Sequence["Level"],
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


class StyledField(nn.Module):
    """Creates the field of the foreground: modulated linear maps.

    Arguments:
        hidden: The width.
        layers: The number of layers before the heads.
        w_dim: The number of style coordinates.
        outputs: The number of features.
        octaves: The number of octaves of an encoded point.
    """

    def __init__(self, hidden: int, layers: int, w_dim: int, outputs: int, octaves: int) -> None:
        super().__init__()
        self.octaves, self.styles, self.w_dim = octaves, layers + 2, w_dim
        self.fc_in = StyledLinear(6 * octaves, hidden, w_dim)
        self.blocks = nn.ModuleList(StyledLinear(hidden, hidden, w_dim) for _ in range(layers - 1))
        self.sigma_out = StyledLinear(hidden, 1, w_dim, head=True)
        self.feat_out = StyledLinear(hidden, outputs, w_dim, head=True)
        self.to_rgb = Linear(outputs, 3)

    def forward(
        self, points: Float[Tensor, "B N 3"], ws: Float[Tensor, "B L W"]
    ) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N F"]]:
        """The raw density, and colours and features, at points."""
        *inner, sigma, feature = ws[:, : self.styles].unbind(1)
        x = encode(points, self.octaves)
        for layer, w in zip([self.fc_in, *self.blocks], inner, strict=True):
            x = layer(x, w)
        value = self.feat_out(x, feature)
        return self.sigma_out(x, sigma).squeeze(2), torch.cat([self.to_rgb(value), value], dim=2)


class StyledLinear(nn.Module):
    """Creates a modulated linear map with bias; a head is neither demodulated nor activated.

    Arguments:
        inputs: The number of inputs.
        outputs: The number of outputs.
        w_dim: The number of style coordinates.
        head: Whether this is a head.
    """

    def __init__(self, inputs: int, outputs: int, w_dim: int, *, head: bool = False) -> None:
        super().__init__()
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.head = head

    def forward(
        self, x: Float[Tensor, "B N I"], w: Float[Tensor, "B W"]
    ) -> Float[Tensor, "B N O"]:
        style = self.affine(w) / (math.sqrt(x.shape[2]) if self.head else 1)
        kernel = self.weight * style[:, None]
        if not self.head:
            kernel = kernel * torch.rsqrt(kernel.square().sum(dim=2, keepdim=True) + 1e-8)
        x = x @ kernel.mT + self.bias
        return x if self.head else activate(x)


class PlainField(nn.Module):
    """Creates the field of the background: linear maps with ReLU on a point and a latent.

    Arguments:
        hidden: The width.
        layers: The number of layers before the heads.
        z_dim: The size of the latent.
        outputs: The number of features.
        octaves: The number of octaves of an encoded point.
    """

    def __init__(self, hidden: int, layers: int, z_dim: int, outputs: int, octaves: int) -> None:
        super().__init__()
        self.octaves, self.z_dim = octaves, z_dim
        self.fc_in = nn.Linear(8 * octaves + z_dim, hidden)
        self.blocks = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers - 1))
        self.sigma_out = nn.Linear(hidden, 1)
        self.feat_out = nn.Linear(hidden, outputs)
        self.to_rgb = Linear(outputs, 3)

    def forward(
        self, points: Float[Tensor, "B N 4"], z: Float[Tensor, "B Z"]
    ) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N F"]]:
        """The raw density, and colours and features, at points."""
        p = encode(points, self.octaves)
        x = torch.cat([p, z[:, None].expand(-1, p.shape[1], -1)], dim=2)
        for layer in (self.fc_in, *self.blocks):
            x = layer(x).relu()
        value = self.feat_out(x)
        return self.sigma_out(x).squeeze(2), torch.cat([self.to_rgb(value), value], dim=2)


class Level(nn.Module):
    """Creates the layers that double the sides.

    Arguments:
        inputs: The number of input channels.
        outputs: The number of output channels.
        w_dim: The number of style coordinates.
        scaled: Whether the layers divide their input by a recorded magnitude.
    """

    def __init__(self, inputs: int, outputs: int, w_dim: int, *, scaled: bool) -> None:
        super().__init__()
        self.conv0 = PointLayer(inputs, outputs, w_dim, up=True, scaled=scaled)
        self.conv1 = PointLayer(outputs, outputs, w_dim, scaled=scaled)
        self.torgb = ToRGB(outputs, 3, w_dim, clamp=CLAMP)

    def forward(self, x: Tensor, rgb: Tensor, ws: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        x = self.conv1(self.conv0(x, ws[0]), ws[1])
        return x, upsample(rgb) + self.torgb(x, ws[2])


class PointLayer(nn.Module):
    """Creates a modulated 1 x 1 convolution, with bias and leaky ReLU.

    Arguments:
        inputs: The number of input channels.
        outputs: The number of output channels.
        w_dim: The number of style coordinates.
        up: Whether the sides are doubled.
        scaled: Whether the input is divided by the root of its recorded mean square `w_avg`.
    """

    w_avg: Tensor | None

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, *, up: bool = False, scaled: bool
    ) -> None:
        super().__init__()
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("w_avg", torch.ones(()) if scaled else None)
        self.doubling = Doubling(outputs) if up else None

    def forward(self, x: Float[Tensor, "B I h w"], w: Float[Tensor, "B W"]) -> Tensor:
        x = x if self.w_avg is None else x * self.w_avg.rsqrt()
        x = modulated_conv2d(x, self.weight, self.affine(w))
        x = x if self.doubling is None else self.doubling(x)
        return activate(x + self.bias[:, None, None], clamp=CLAMP)


class Doubling(nn.Module):
    """Creates the up-sampling that repeats pixels, adds what it makes of them and of the means of
    two neighbours at each corner, and filters.

    Arguments:
        channels: The number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = Linear(2 * channels, channels // 4)
        self.widen = Linear(channels // 4, channels)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C 2*h 2*w"]:
        repeated = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        around = F.pad(x, (1, 1, 1, 1))
        up, down = around[:, :, :-2, 1:-1], around[:, :, 2:, 1:-1]
        left, right = around[:, :, 1:-1, :-2], around[:, :, 1:-1, 2:]
        corners = torch.stack([left + up, up + right, left + down, right + down], dim=2) / 2
        means = F.pixel_shuffle(corners.flatten(1, 2), 2)
        y = torch.cat([repeated, means], dim=1).movedim(1, -1)
        return blur(repeated + self.widen(activate(self.squeeze(y))).movedim(-1, 1))


def build(
    *,
    widths: Sequence[Count] = (512, 256, 128),
    z_dim: Count = 512,
    z_dim_bg: Count = 32,
    w_dim: Count = 512,
    layers: Count = 8,
    hidden: Count = 128,
    field_layers: Count = 8,
    hidden_bg: Count = 64,
    field_layers_bg: Count = 4,
    features: Count = 256,
    octaves: Count = 10,
    octaves_bg: Count = 10,
    resolution: Count = 32,
    samples: Count = 14,
    samples_bg: Natural = 4,
    nearest: float = 0.5,
    twice: bool = True,
    means: Natural = 0,
    background: bool = True,
    scaled: bool = True,
    **options: Any,
) -> StyleNeRF:
    """Builds a generator with random weights.

    Arguments:
        widths: The channels at each side that the image has while it is enlarged.
        z_dim: The size of the latent.
        z_dim_bg: The size of the background's latent.
        w_dim: The size of the style.
        layers: The number of layers of the mapping.
        hidden: The width of the foreground's field.
        field_layers: The number of its layers.
        hidden_bg: The width of the background's field.
        field_layers_bg: The number of its layers.
        features: The number of rendered features.
        octaves: The number of octaves of an encoded point of the foreground.
        octaves_bg: The number of octaves of an encoded point of the background.
        resolution: The side of the rendered image.
        samples: The number of depths along a ray in each pass.
        samples_bg: The number of inverse distances of the background.
        nearest: The largest inverse distance of the background.
        twice: Whether there is a second pass.
        means: How many mean styles the file has, one for each layer or one for all; 0 for one that is a vector.
        background: Whether there is a background.
        scaled: Whether the enlarging layers divide their input by a recorded magnitude.
        options: The arguments of the map: see `StyleNeRF`.
    """
    inputs = [features, *widths[:-1]]
    network = StyleNeRFNetwork(
        Mapping(z_dim, w_dim, layers=layers),
        StyledField(hidden, field_layers, w_dim, features, octaves),
        PlainField(hidden_bg, field_layers_bg, z_dim_bg, features, octaves_bg)
        if background
        else None,
        [Level(i, o, w_dim, scaled=scaled) for i, o in zip(inputs, widths, strict=True)],
        resolution=resolution,
        samples=samples,
        samples_bg=samples_bg,
        nearest=nearest,
        twice=twice,
        means=means,
    )
    return StyleNeRF(network, **options)


def official(generator: StyleNeRF) -> list[Rule]:
    """The names of the authors' files."""
    network, flat = generator.network, "o i 1 1 -> o i"
    fg, bg = (f"synthesis.{name}." for name in ("fg_nerf", "bg_nerf"))
    rules = [
        Rule("{x*}.resample_filter", None, known=binomial),
        Rule("mapping.w_avg", "network.w_avg", as_rows(network.w_avg)),
        Rule("mapping.{x*}", "network.mapping.{x*}"),
        Rule("synthesis.alpha", "network.alpha"),
        Rule(f"{fg}{{x*}}.affine.{{t}}", "network.fg_field.{x*}.affine.{t}"),
        Rule(f"{fg}{{x*}}.weight", "network.fg_field.{x*}.weight", flat),
        Rule(f"{fg}{{x*}}.bias", "network.fg_field.{x*}.bias"),
        Rule(f"{bg}to_rgb.weight", "network.bg_field.to_rgb.weight", flat),
        Rule(f"{bg}{{x*}}", "network.bg_field.{x*}"),
    ]
    for i in range(len(network.levels)):
        theirs, ours = f"synthesis.b{network.resolution << (i + 1)}.", f"network.levels.{i}."
        for k, layer in enumerate(("squeeze", "widen")):
            adapter, doubling = f"{theirs}conv0.adapter.{k}.", f"{ours}conv0.doubling.{layer}."
            rules.append(Rule(f"{adapter}weight", f"{doubling}weight", flat))
            rules.append(Rule(f"{adapter}bias", f"{doubling}bias"))
        rules.append(Rule(f"{theirs}{{x*}}", f"{ours}{{x*}}"))
    return rules


KEYS: dict[str, Callable[[Any], list[Rule]]] = {"official": official}


def read(arguments: Record[str, Any]) -> dict[str, Any]:
    """Translates the arguments of the official constructor into those of `build`.

    Raises:
        SpecError: If an option is one that no published file uses.
    """
    synthesis = arguments["synthesis_kwargs"]
    groups = ("camera_kwargs", "renderer_kwargs", "upsampler_kwargs")
    camera, renderer, upsampler = (synthesis.get(group) or synthesis for group in groups)
    fg, bg = (synthesis.get(f"{name}ground_kwargs", {}) for name in ("fore", "back"))
    known = {
        "upsample_mode": (synthesis.get("upsample_mode"), "nn_cat"),
        "use_noise": (synthesis.get("use_noise", False), False),
        "kernel_size": (synthesis.get("kernel_size", 1), 1),
        "ray_align_corner": (camera.get("ray_align_corner", True), False),
        "depth_transform": (camera.get("depth_transform"), None),
        "dists_normalized": (camera.get("dists_normalized", False), False),
        "angular_camera": (camera.get("angular_camera", False), True),
    }
    for name, (value, expected) in known.items():
        if value != expected:
            raise SpecError(
                f"a StyleNeRF with {name} = {value} is not known; only {expected} is, as published"
            )
    start = synthesis["resolution_vol"]
    base, most = int(32768 * upsampler["channel_base"]), upsampler["channel_max"]
    count = (arguments["img_resolution"] // start).bit_length() - 1
    heights = camera["range_v"]
    return {
        "widths": [min(base // (start << (k + 1)), most) for k in range(count)],
        "z_dim": arguments["z_dim"],
        "z_dim_bg": synthesis.get("z_dim_bg", 0),
        "w_dim": arguments["w_dim"],
        "layers": arguments.get("mapping_kwargs", {}).get("num_layers", 8),
        "hidden": fg.get("hidden_size", 128),
        "field_layers": fg.get("n_blocks", 8),
        "hidden_bg": bg.get("hidden_size", 128),
        "field_layers_bg": bg.get("n_blocks", 8),
        "features": synthesis["rgb_out_dim"],
        "octaves": fg.get("n_freq_posenc", 10),
        "octaves_bg": bg.get("n_freq_posenc", 10),
        "resolution": start,
        "samples": renderer["n_ray_samples"],
        "samples_bg": renderer["n_bg_samples"],
        "nearest": camera.get("bg_start", 1.0),
        "twice": renderer.get("hierarchical", True),
        "background": not renderer.get("no_background", False),
        "scaled": synthesis.get("magnitude_ema_beta", -1) > 0,
        "fov": float(camera["fov"]),
        "radius": sum(camera["range_radius"]) / 2,
        "depths": tuple(camera["depth_range"]),
        "azimuths": tuple(math.degrees(u) for u in camera["range_u"]),
        "elevations": tuple(90 - math.degrees(v) for v in reversed(heights)),
        "normal": camera.get("gaussian_camera", False),
    }


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the sizes from the tensors, the scene from the file's constructor arguments; without them it is FFHQ's."""
    tensors = checkpoint.tensors
    if "synthesis.fg_nerf.fc_in.affine.weight" not in tensors:
        return None
    arguments = checkpoint.records.get("modules", {}).get("", {}).get("_init_kwargs")
    config = sizes(checkpoint.shapes)
    if arguments is not None:
        return {"config": read(arguments) | config, "keys": "official"}
    assumed = options.defaults(build, *SCENE, why="as for FFHQ")
    if config["background"]:  # whose point and latent go into one layer
        octaves = config["octaves"]
        inputs = tensors["synthesis.bg_nerf.fc_in.weight"].shape[1]
        config |= {"octaves_bg": octaves, "z_dim_bg": inputs - 8 * octaves}
        assumed["octaves_bg"] = f"{octaves}, as the foreground has"
        assumed["z_dim_bg"] = f"{config['z_dim_bg']}, which such octaves leave"
    return {"config": config, "keys": "official", "assumed": assumed}


def sizes(shapes: Record[str, tuple[int, ...]]) -> dict[str, Any]:
    """What the shapes of the tensors tell."""
    count = lambda start: sum(n.startswith(start) and n.endswith(".weight") for n in shapes)
    fg, bg = "synthesis.fg_nerf.", "synthesis.bg_nerf."
    levels = {int(m[1]): n for n in shapes if (m := LEVEL.fullmatch(n))}
    hidden, inputs = shapes[f"{fg}fc_in.weight"][:2]
    found = {
        "widths": [shapes[levels[side]][0] for side in sorted(levels)],
        "z_dim": shapes["mapping.fc0.weight"][1],
        "w_dim": shapes["mapping.w_avg"][-1],
        "means": rows(shapes["mapping.w_avg"]),
        "layers": count("mapping.fc"),
        "hidden": hidden,
        "field_layers": 1 + sum(bool(BLOCK.fullmatch(n)) for n in shapes),
        "features": shapes[f"{fg}feat_out.weight"][0],
        "octaves": inputs // 6,
        "background": f"{bg}fc_in.weight" in shapes,
        "scaled": any(name.endswith("conv1.w_avg") for name in shapes),
    }
    if levels:
        found["resolution"] = min(levels) // 2
    if found["background"]:
        found["hidden_bg"] = shapes[f"{bg}fc_in.weight"][0]
        found["field_layers_bg"] = 1 + count(f"{bg}blocks.")
    return found


LEVEL = re.compile(r"synthesis\.b(\d+)\.conv1\.weight")
BLOCK = re.compile(r"synthesis\.fg_nerf\.blocks\.\d+\.weight")
SCENE = (
    *("samples", "samples_bg", "nearest", "twice", "fov", "radius", "depths"),
    *("azimuths", "elevations", "normal"),
)
"""What only a file's constructor arguments tell."""
