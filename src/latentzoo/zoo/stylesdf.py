r"""StyleSDF: a signed distance field, rendered small and enlarged by StyleGAN2.

A network of sines, styled by :math:`w_r`, gives the signed distance :math:`d`, a colour and
features at a point; each of its layers is

.. math:: y = \sin(\gamma(w_r) \, (W x + b) + \beta(w_r))

and the density is large inside the surface, within the width :math:`\alpha`,

.. math:: \sigma(x) = \frac1\alpha \, \mathrm{sigmoid} \left( -\frac{d(x)}{\alpha} \right)

The rendered features start a StyleGAN2 whose styles come from :math:`w_r` by a mapping of its own.
Both styles are drawn towards their means by the truncation :math:`\psi`, which thus acts on the
image twice. The means are in no file; they are taken over a fixed stream of latents.

References:
    | StyleSDF: High-Resolution 3D-Consistent Image and Geometry Generation (Or-El et al., 2022)
    | https://arxiv.org/abs/2112.11427
    |
    | Implicit Neural Representations with Periodic Activation Functions (Sitzmann et al., 2020)
    | https://arxiv.org/abs/2006.09661
"""

import math
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
from latentzoo.hub.dialects import rosinality
from latentzoo.hub.keys import Rule
from latentzoo.nn.mapping import Mapping
from latentzoo.nn.style import Synthesis, noise_blocks
from latentzoo.nn.truncation import MeanStyle, require
from latentzoo.nn.volume import composite, in_chunks, pixels, rays, stratify, visibility
from latentzoo.options import Count, Positive
from latentzoo.views.camera import Camera, Solid, Viewable


class Scene(NamedTuple):
    """What does not depend on the camera: the styles of the field and of the decoder, and the noise maps."""

    w: Tensor
    w_decoder: Tensor | None
    noise: list[Tensor] | None


class StyleSDF(Viewable, Solid):
    r"""Creates a StyleSDF generator.

    Its latent is the block `style`; with `noise="latent"` also `noise_0`, `noise_1`, ..., and with
    `camera="latent"` also `camera`: normal in azimuth and elevation, as in the training.

    Arguments:
        network: The network; without a decoder, the small rendered image is the image.
        camera: The camera, "latent", or None for the frontal one.
        truncation: The truncation :math:`\psi`; 1 for none.
        fov: The angle of view of the frontal camera, in degrees.
        reach: Rays go from the radius of the camera - `reach` to the radius + `reach`.
        spread: The standard deviations of azimuth and elevation, in degrees.
        noise: "fixed" for the file's maps, "latent" for maps that are part of the latent.
        chunk: How many rays are rendered at once, see `in_chunks`; None for all.

    Raises:
        SpecError: If an argument is out of range.
    """

    def __init__(
        self,
        network: "StyleSDFNetwork",
        *,
        camera: Camera | Record[str, Any] | str | None = None,
        truncation: float = 1.0,
        fov: Positive = 12.0,
        reach: Positive = 0.12,
        spread: Sequence[float] = (17.189, 8.594),
        noise: str = "fixed",
        chunk: Count | None = 4096,
    ) -> None:
        require(truncation=truncation)
        maps = noise_blocks(noise, network.decoder.layers if network.decoder else ())
        thumbnail = (network.resolution, network.resolution)
        size = network.decoder.size if network.decoder else thumbnail
        own = Camera(0.0, 0.0, fov, 1.0, (0.0, 0.0, 0.0))
        super().__init__(camera, own, size, style=(network.field.width,), **maps)
        self.network, self.truncation, self.extent = network, truncation, reach
        self.spread, self.chunk = spread, chunk
        self.mean, self.mean_decoder = (MeanStyle(network.field.width) for _ in range(2))

    def scene(self, blocks: Record[str, Tensor]) -> Scene:
        noise = [maps[:, None] for name, maps in blocks.items() if name.startswith("noise_")]
        means = (None, None) if self.truncation == 1 else self.means()
        return Scene(*self.network.styles(blocks["style"], self.truncation, *means), noise or None)

    def photograph(self, scene: Scene, camera: Camera) -> Float[Tensor, "B 3 H W"]:
        pose = camera.pose(scene.w).expand(len(scene.w), -1, -1)
        slope = scene.w.new_tensor(math.tan(math.radians(camera.fov or 0.0) / 2))
        near, far = (
            slope * 0 + (camera.radius or 0.0) + end for end in (-self.extent, self.extent)
        )
        seen = self.network.render(
            scene.w, pose, slope[None], near[None], far[None], chunk=self.chunk
        )
        if scene.w_decoder is None:
            return (seen.thumbnail + 1) / 2
        return (self.network.decode(scene.w_decoder, seen.feature, scene.noise) + 1) / 2

    def aim(self, u: Float[Tensor, "B 2"]) -> Camera:
        azimuth, elevation = (u * u.new_tensor(self.spread)).unbind(1)
        return Camera(azimuth, elevation)

    def solidity(self, scene: Scene, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N"]:
        ahead = torch.zeros_like(points) - points.new_tensor([0, 0, 1])
        scale = 1 / self.extent if self.network.unit else 1.0
        return -self.network.field(points * scale, ahead, scene.w)[1]

    def means(self) -> tuple[Tensor, Tensor | None]:
        """The mean styles of the field and of the decoder over a fixed stream of latents, taken once."""
        network, like = self.network, self.network.field.rgb.weight
        mean = self.mean(network.field_style, like=like)
        if (mapping := network.mapping) is None:
            return mean, None
        return mean, self.mean_decoder(lambda z: mapping(network.field_style(z)), like=like)


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
        field: "Field",
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


class Field(nn.Module):
    """Creates the field: sines of styled linear maps, and three heads.

    Arguments:
        width: The width of its layers, which is that of its style.
        depth: The number of layers before the heads.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.width = width
        inputs = [3] + [width] * (depth - 1)
        self.layers = nn.ModuleList(StyledSine(i, width, width) for i in inputs)
        self.view = StyledSine(width + 3, width, width)
        self.rgb = nn.Linear(width, 3)
        self.distance = nn.Linear(width, 1)

    def forward(
        self,
        points: Float[Tensor, "B N 3"],
        views: Float[Tensor, "B N 3"],
        w: Float[Tensor, "B W"],
    ) -> tuple[Float[Tensor, "B N 3"], Float[Tensor, "B N"], Float[Tensor, "B N W"]]:
        """The logits of the colour, the signed distance and the features at points seen from directions."""
        x = points
        for layer in self.layers:
            x = layer(x, w)
        distance = self.distance(x).squeeze(2)
        feature = self.view(torch.cat([x, views], dim=2), w)
        return self.rgb(feature), distance, feature


class StyledSine(nn.Module):
    """Creates the layer y = sin(gamma(w) (W x + b) + beta(w)).

    Arguments:
        inputs: The number of inputs.
        outputs: The number of outputs.
        w_dim: The number of style coordinates.
    """

    def __init__(self, inputs: int, outputs: int, w_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.gamma = nn.Linear(w_dim, outputs)
        self.beta = nn.Linear(w_dim, outputs)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        gamma, beta = 15 * self.gamma(w) + 30, 0.25 * self.beta(w)
        return torch.sin(gamma[:, None] * self.linear(x) + beta[:, None])


def build(
    *,
    widths: Sequence[Count] = (512, 256, 128, 64, 32),
    width: Count = 256,
    depth: Count = 8,
    w_dim: Count = 512,
    lr: Positive = 0.01,
    resolution: Count = 64,
    samples: Count = 24,
    even: bool = True,
    still: bool = True,
    unit: bool = True,
    opaque: bool = True,
    signed: bool = True,
    **options: Any,
) -> StyleSDF:
    """Builds a generator with random weights.

    Arguments:
        widths: The channels of the decoder from the rendered image's size up; empty for a field
            alone.
        width: The width of the field and of its style.
        depth: The number of layers of the field.
        w_dim: The size of the decoder's style.
        lr: The learning rate multiplier of the decoder's mapping.
        resolution: The side of the rendered image.
        samples: The number of depths along a ray.
        even: How the depths are spaced: see `StyleSDFNetwork`.
        still: Which direction the field sees: see `StyleSDFNetwork`.
        unit: Whether points are scaled so that depths go from -1 to 1.
        opaque: Whether the last sample takes all the light that is left.
        signed: Whether the field is a signed distance, or a raw density.
        options: The arguments of the map: see `StyleSDF`.
    """
    network = StyleSDFNetwork(
        Field(width, depth),
        Mapping(width, w_dim, layers=5, lr=lr) if widths else None,
        Synthesis(widths, w_dim, start=resolution, features=width) if widths else None,
        resolution=resolution,
        samples=samples,
        even=even,
        still=still,
        unit=unit,
        opaque=opaque,
        signed=signed,
    )
    return StyleSDF(network, **options)


def official(generator: StyleSDF) -> list[Rule]:
    """The names of the authors' files; their decoder is rosinality's, with a second bias that is not used."""
    field, ours = "renderer.network.", "network.field."
    layers = {"pts_linears.{i}": "layers.{i}", "views_linears": "view"}
    heads = {"rgb_linear": "rgb", "sigma_linear": "distance"}
    rules = [
        Rule("style.{i}.{t}", "network.style.{i}.{t}"),
        Rule("renderer.sigmoid_beta", "network.beta"),
        *(Rule(f"{field}{a}.{{t}}", f"{ours}{b}.linear.{{t}}") for a, b in layers.items()),
        *(Rule(f"{field}{a}.{{s}}.{{t}}", f"{ours}{b}.{{s}}.{{t}}") for a, b in layers.items()),
        *(Rule(f"{field}{a}.{{t}}", f"{ours}{b}.{{t}}") for a, b in heads.items()),
    ]
    decoder = generator.network.decoder
    if decoder is None:
        return rules
    return [
        *rules,
        *(Rule(f"decoder.style.{i + 1}.{{t}}", f"network.mapping.fc{i}.{{t}}") for i in range(5)),
        Rule("decoder.conv1.bias", None),
        Rule("decoder.convs.{i}.bias", None),
        *rosinality(decoder, "decoder.", "network.decoder."),
    ]


KEYS: dict[str, Callable[[Any], list[Rule]]] = {"official": official}


def read(options: Record[str, Any]) -> dict[str, Any]:
    """Translates the official groups of options into the arguments of `build`."""
    model, rendering, pose = (
        options["model_opt"],
        options["rendering_opt"],
        options.get("camera", {}),
    )
    start, width = model["renderer_spatial_output_dim"], rendering["width"]
    m = model["channel_multiplier"]
    table = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256 * m, 128: 128 * m, 256: 64 * m}
    table |= {512: 32 * m, 1024: 16 * m}
    table |= {int(side): channels for side, channels in model.get("channels", {}).items()}
    sides = [start << k for k in range((model["size"] // start).bit_length())]
    config = {
        "widths": [table[side] for side in sides] if options.get("full_pipeline", True) else [],
        "width": width,
        "depth": rendering["depth"],
        "w_dim": 2 * width,
        "lr": model.get("lr_mapping", 0.01),
        "resolution": start,
        "samples": rendering["N_samples"],
        "even": not rendering.get("no_offset_sampling", False),
        "still": rendering.get("static_viewdirs", False),
        "unit": not rendering.get("no_z_normalize", False),
        "opaque": rendering.get("force_background", False),
        "signed": not rendering.get("no_sdf", False),
    }
    if pose:
        config["spread"] = tuple(math.degrees(pose[name]) for name in ("azim", "elev"))
        config |= {"fov": 2.0 * pose["fov"], "reach": pose["dist_radius"]}
    return config


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the sizes from the shapes of a file; how it is rendered is in none, and taken as published."""
    shapes = checkpoint.shapes
    if "renderer.network.pts_linears.0.gamma.weight" not in shapes:
        return None
    field = (f"renderer.network.pts_linears.{i}.weight" for i in range(64))
    config = {
        "width": shapes["style.0.weight"][0],
        "depth": sum(name in shapes for name in field),
        "signed": "renderer.sigmoid_beta" in shapes,
    }
    assumed = options.defaults(build, *SCENE, why="as for FFHQ")
    if "decoder.conv1.conv.weight" not in shapes:
        return {"config": {**config, "widths": []}, "keys": "official", "assumed": assumed}
    convs = [f"decoder.convs.{2 * i + 1}.conv.weight" for i in range(16)]
    widths = [shapes[name][1] for name in ("decoder.conv1.conv.weight", *convs) if name in shapes]
    config |= {"widths": widths, "w_dim": shapes["decoder.style.1.weight"][0]}
    if "decoder.noises.noise_0" in shapes:
        config["resolution"] = shapes["decoder.noises.noise_0"][-1]
        del assumed["resolution"]
    return {"config": config, "keys": "official", "assumed": assumed}


SCENE = (
    "resolution",
    "samples",
    "fov",
    "reach",
    "spread",
    "even",
    "still",
    "unit",
    "opaque",
    "lr",
)
"""What no file tells."""
