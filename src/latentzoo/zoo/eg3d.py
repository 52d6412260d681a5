r"""EG3D: images of a scene whose features lie on three planes.

A StyleGAN2 backbone, conditioned on a camera :math:`c`, makes the planes; a small network
:math:`f` turns the mean of the features found at a point's three projections into a density and a
colour of many channels,

.. math:: P = S(w), \; w = m(z, c) \qquad (\sigma, c)(x) = f\left( \tfrac13 \sum_k P_k(\pi_k x) \right)

which are rendered along the rays of a small image: first at even depths, then at the quantiles of
what those saw. Two more blocks of StyleGAN2, styled by the last :math:`w`, enlarge it. The
conditioning camera is fixed to the frontal one, so that the scene stays the same when it is looked
at from elsewhere.

The projections are, as in the published code and weights, :math:`(x, y), (x, z), (z, x)`: the plane of
y and z is not there. Unlike in the training, the depths of the second pass carry their gradient, so that
it is that of the map.

References:
    | Efficient Geometry-aware 3D Generative Adversarial Networks (Chan et al., 2022)
    | https://arxiv.org/abs/2112.07945
"""

import math
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Record
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo import options
from latentzoo.errors import UnknownName
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.dialects import binomial, nvidia
from latentzoo.hub.keys import Rule
from latentzoo.nn.fir import upsample
from latentzoo.nn.mapping import Linear, Mapping
from latentzoo.nn.style import Synthesis, SynthesisLayer, ToRGB, noise_blocks
from latentzoo.nn.truncation import as_rows, mean_styles, require, rows, truncate
from latentzoo.nn.volume import composite, in_chunks, pixels, rays, refine, stratify, visibility
from latentzoo.options import Count, Natural, Positive
from latentzoo.views.camera import Camera, Solid, Viewable

ELEVATION = math.degrees(math.asin(0.4 / math.pi))
"""The authors' "pitch" of pi/2 - 0.2: v stands for the polar angle arccos(1 - 2 v / pi)."""


class Scene(NamedTuple):
    """What does not depend on the camera: the planes (B, 3, C, P, P) and the last style (B, W)."""

    planes: Tensor
    w: Tensor


class EG3D(Viewable, Solid):
    r"""Creates an EG3D generator.

    Its latent is the block `style`; with `noise="latent"` also `noise_0`, `noise_1`, ..., and with
    `camera="latent"` also `camera`: uniform in azimuth and in the height of the camera over a
    range around the authors' camera, since the poses of the training are those of its images and
    have no formula.

    Arguments:
        network: The network.
        own: The authors' camera, complete.
        camera: The rendering camera, "latent", or None for the authors'.
        truncation: The truncation :math:`\psi`; 1 for none.
        resolution: The side of the rendered image, before it is enlarged.
        reach: Half the range of a latent camera's azimuth and elevation, in degrees.
        noise: "fixed" for the file's maps, "latent" for maps that are part of the latent.
        chunk: How many rays are rendered at once, see `in_chunks`; None for all.

    Raises:
        SpecError: If an argument is out of range.
    """

    def __init__(
        self,
        network: "EG3DNetwork",
        *,
        own: Camera,
        camera: Camera | Record[str, Any] | str | None = None,
        truncation: float = 1.0,
        resolution: Count = 128,
        reach: Sequence[float] = (23.0, 11.5),
        noise: str = "fixed",
        chunk: Count | None = 4096,
    ) -> None:
        require(truncation=truncation)
        side = network.enlarge.size
        maps = noise_blocks(noise, network.synthesis.layers)
        super().__init__(camera, own, (side, side), style=(network.mapping.z_dim,), **maps)
        self.network, self.truncation, self.resolution = network, truncation, resolution
        self.reach, self.chunk, self.extent = reach, chunk, network.box / 2
        self.radius = own.radius or 0.0
        self.front = replace(own, azimuth=0.0, elevation=0.0)

    def scene(self, blocks: Record[str, Tensor]) -> Scene:
        z = blocks["style"]
        c = label(self.front, z).expand(len(z), -1)
        ws = self.network.styles(z, c, self.truncation)
        noise = [maps[:, None] for name, maps in blocks.items() if name.startswith("noise_")]
        return Scene(self.network.planes(ws, noise or None), ws[:, -1])

    def photograph(self, scene: Scene, camera: Camera) -> Float[Tensor, "B 3 H W"]:
        origin, direction = view(label(camera, scene.w).expand(len(scene.w), -1), self.resolution)
        shift = (camera.radius or 0.0) - self.radius
        seen = self.network.render(scene.planes, origin, direction, shift=shift, chunk=self.chunk)
        return (self.network.enlarge(seen.feature, scene.w) + 1) / 2

    def aim(self, u: Float[Tensor, "B 2"]) -> Camera:
        azimuth, height = torch.erf(u / math.sqrt(2)).unbind(1)
        height = (height * math.sin(math.radians(self.reach[1]))).asin().rad2deg()
        return Camera(
            azimuth=self.camera.azimuth + self.reach[0] * azimuth,
            elevation=self.camera.elevation + height,
        )

    def solidity(self, scene: Scene, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N"]:
        return self.network.field(scene.planes, points)[0] - 10


def label(camera: Camera, like: Tensor) -> Float[Tensor, "B 25"]:
    """What EG3D is conditioned on: the 4 x 4 pose, camera to world, then the 3 x 3 intrinsics, row
    by row.

    Its camera's axes are right, down, forward; lengths on the image are in units of its side.
    """
    pose = camera.pose(like) * like.new_tensor([1, -1, -1, 1])
    last = like.new_tensor([0, 0, 0, 1]).expand(len(pose), -1)
    focal = 0.5 / math.tan(math.radians(camera.fov or 0.0) / 2)
    intrinsics = like.new_tensor([focal, 0, 0.5, 0, focal, 0.5, 0, 0, 1]).expand(len(pose), -1)
    return torch.cat([pose.flatten(1), last, intrinsics], dim=1)


def view(
    c: Float[Tensor, "B 25"], size: int
) -> tuple[Float[Tensor, "B 3"], Float[Tensor, "B N 3"]]:
    """The origin and the unit directions of the rays of a label, row by row from the top left."""
    pose = c[:, :12].unflatten(1, (3, 4)) * c.new_tensor([1, -1, -1, 1])
    fx, skew, cx, _, fy, cy = c[:, 16:22, None].unbind(1)
    u, v = ((pixels(size, like=c) * c.new_tensor([1, -1]) + 1) / 2).unbind(1)
    y = (v - cy) / fy
    x = (u - cx - skew * y) / fx
    origin, direction = rays(pose, torch.stack([x, -y], dim=2))
    return origin, F.normalize(direction, dim=2)


def diagonal(fov: float) -> float:
    """The angle of view that belongs to the authors' "fov", both in degrees, with their rounded constants."""
    focal = 1 / (math.tan(fov * 3.14159 / 360) * 1.414)
    return math.degrees(2 * math.atan(0.5 / focal))


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
        enlarge: "Enlarger",
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


class Enlarger(nn.Module):
    """Creates the two blocks that enlarge a rendered image; the first three features are its
    colours.

    Arguments:
        features: The number of features of the rendered image.
        w_dim: The number of style coordinates.
        widths: The channels of the two blocks.
        start: The side to which the rendered image is brought first.
        up: Whether the first block doubles the sides too; the second one does.
        always: Whether larger images are brought to `start` too, or smaller ones only.
        antialias: Whether this is done without aliasing.
        clamp: Where the result of each layer is cut off on both sides, if it is.
    """

    def __init__(
        self,
        features: int,
        w_dim: int,
        widths: Sequence[Count],
        *,
        start: int,
        up: bool,
        always: bool,
        antialias: bool,
        clamp: float | None,
    ) -> None:
        super().__init__()
        self.start, self.always, self.antialias = start, always, antialias
        first = start * 2 if up else start
        self.size = 2 * first
        self.block0 = EnlargerBlock(features, widths[0], w_dim, first, up=up, clamp=clamp)
        self.block1 = EnlargerBlock(widths[0], widths[1], w_dim, 2 * first, up=True, clamp=clamp)

    def forward(
        self, x: Float[Tensor, "B F r r"], w: Float[Tensor, "B W"]
    ) -> Float[Tensor, "B 3 R R"]:
        """Maps features in [-1, 1] and a style to an image in [-1, 1]."""
        rgb, side = x[:, :3], x.shape[-1]
        if side < self.start or (side > self.start and self.always):
            fit = lambda x: F.interpolate(
                x, (self.start, self.start), mode="bilinear", antialias=self.antialias
            )
            x, rgb = fit(x), fit(rgb)
        return self.block1(*self.block0(x, rgb, w), w)[1]


class EnlargerBlock(nn.Module):
    """Creates a block of StyleGAN2 without noise, all of it styled by one w.

    Arguments:
        inputs: The number of input channels.
        outputs: The number of output channels.
        w_dim: The number of style coordinates.
        size: The side of the output.
        up: Whether the sides are doubled.
        clamp: Where the result of each layer is cut off on both sides, if it is.
    """

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, size: int, *, up: bool, clamp: float | None
    ) -> None:
        super().__init__()
        self.up = up
        sides = (size, size)
        self.conv0 = SynthesisLayer(inputs, outputs, w_dim, sides, up=up, clamp=clamp)
        self.conv1 = SynthesisLayer(outputs, outputs, w_dim, sides, clamp=clamp)
        self.torgb = ToRGB(outputs, 3, w_dim, clamp=clamp)

    def forward(self, x: Tensor, rgb: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv1(self.conv0(x, w, 0.0), w, 0.0)
        return x, (upsample(rgb) if self.up else rgb) + self.torgb(x, w)


ENLARGERS = {  # the first block doubles the sides, larger images are reduced
    "8XDC": (True, True),
    "8X": (True, True),
    "4X": (False, False),
    "2X": (False, True),
}


def build(
    *,
    widths: Sequence[Count] = (512, 512, 512, 512, 512, 256, 128),
    z_dim: Count = 512,
    w_dim: Count = 512,
    layers: Count = 2,
    mapping_features: Count | None = None,
    embed_features: Count | None = None,
    mapping_lr: Positive = 0.01,
    plane_channels: Count = 32,
    hidden: Count = 64,
    features: Count = 32,
    field_lr: Positive = 1.0,
    enlarger: str = "8XDC",
    enlarger_widths: Sequence[Count] = (256, 128),
    enlarger_start: Count = 128,
    enlarger_clamp: Positive | None = 256.0,
    antialias: bool = True,
    clamp: Positive | None = None,
    near: float = 2.25,
    far: float = 3.3,
    box: Positive = 1.0,
    samples: Count = 48,
    importance: Natural = 48,
    white: bool = False,
    condition: float = 1.0,
    means: Natural = 0,
    fov: Positive = 13.378,
    radius: float = 2.7,
    pivot: Sequence[float] = (0.0, 0.0, 0.2),
    **options: Any,
) -> EG3D:
    """Builds a generator with random weights.

    Arguments:
        widths: The channels of the backbone at 4, 8, ... pixels.
        z_dim: The size of the latent.
        w_dim: The size of the style.
        layers: The number of layers of the mapping.
        mapping_features: The width between them; `w_dim` unless given.
        embed_features: The size of the embedded camera in it; `w_dim` unless given.
        mapping_lr: Its learning rate multiplier.
        plane_channels: The channels of each plane.
        hidden: The width of the field's network.
        features: The number of colour channels.
        field_lr: The learning rate multiplier of the field's network.
        enlarger: How the image is enlarged: "8XDC", "8X", "4X" or "2X".
        enlarger_widths: The channels of its two blocks.
        enlarger_start: The side it starts from.
        enlarger_clamp: Where its features are cut off on both sides; None for no limit.
        antialias: Whether the image is brought to that side without aliasing.
        clamp: Where the backbone's features are cut off on both sides; None for no limit.
        near: Where the rays begin.
        far: Where they end.
        box: The side of the cube that the planes span.
        samples: The number of depths of the first pass.
        importance: The number of depths of the second pass; 0 for none.
        white: Whether what is behind the scene is white.
        condition: The factor on the label in the mapping; 0 where the mapping does not see it.
        means: How many mean styles the file has, one for each layer or one for all; 0 for one that is a vector.
        fov: The angle of view of the authors' camera, in degrees.
        radius: Its distance from the origin.
        pivot: The point it looks at.
        options: The arguments of the map: see `EG3D`.

    Raises:
        UnknownName: If there is no such enlarger.
    """
    if enlarger not in ENLARGERS:
        raise UnknownName("enlarger", enlarger, ENLARGERS)
    up, always = ENLARGERS[enlarger]
    last = Enlarger(
        features,
        w_dim,
        enlarger_widths,
        start=enlarger_start,
        up=up,
        always=always,
        antialias=antialias,
        clamp=enlarger_clamp,
    )
    network = EG3DNetwork(
        Mapping(
            z_dim,
            w_dim,
            layers=layers,
            c_dim=25,
            features=mapping_features,
            embed_features=embed_features,
            lr=mapping_lr,
        ),
        Synthesis(widths, w_dim, channels=3 * plane_channels, clamp=clamp),
        nn.ModuleList(
            [
                Linear(plane_channels, hidden, lr=field_lr),
                Linear(hidden, 1 + features, lr=field_lr),
            ]
        ),
        last,
        near=near,
        far=far,
        box=box,
        samples=samples,
        importance=importance,
        white=white,
        condition=condition,
        means=means,
    )
    x, y, z = pivot
    own = Camera(0.0, ELEVATION, fov, radius, (x, y, z))
    return EG3D(network, own=own, **options)


def official(generator: EG3D) -> list[Rule]:
    """The names of NVIDIA's pickles."""
    return [
        *nvidia("backbone.", "network.", as_rows(generator.network.w_avg)),
        Rule("superresolution.resample_filter", None, known=binomial),
        Rule("superresolution.{x*}.resample_filter", None, known=binomial),
        Rule("superresolution.{x*}", "network.enlarge.{x*}"),
        Rule("decoder.net.0.{t}", "network.decoder.0.{t}"),
        Rule("decoder.net.2.{t}", "network.decoder.1.{t}"),
    ]


KEYS: dict[str, Callable[[Any], list[Rule]]] = {"official": official}


def read(arguments: Record) -> dict[str, Any]:
    """Translates the arguments of the official constructor into those of `build`."""
    rendering, sr = arguments["rendering_kwargs"], arguments.get("sr_kwargs", {})
    mapping = arguments.get("mapping_kwargs", {})
    kind = rendering["superresolution_module"].rpartition("Hybrid")[2]
    side = arguments.get("plane_resolution", 256)
    base, most = arguments.get("channel_base", 32768), arguments.get("channel_max", 512)
    sides = [2**k for k in range(2, side.bit_length())]
    unseen = rendering.get("c_gen_conditioning_zero", False)
    start = {"2X": 64}.get(kind, 128)
    widths = (256, 128) if kind == "8XDC" else (128, 64)
    return {
        "widths": [min(base // side, most) for side in sides],
        "z_dim": arguments["z_dim"],
        "w_dim": arguments["w_dim"],
        "layers": mapping.get("num_layers", 8),
        "mapping_features": mapping.get("layer_features"),
        "embed_features": mapping.get("embed_features"),
        "mapping_lr": mapping.get("lr_multiplier", 0.01),
        "plane_channels": arguments.get("plane_channels", 32),
        "hidden": arguments.get("decoder_hidden_dim", 64),
        "features": arguments.get("decoder_output_dim", 32),
        "field_lr": rendering.get("decoder_lr_mul", 1.0),
        "enlarger": kind,
        "enlarger_widths": tuple(sr.get("sr_channels", widths)),
        "enlarger_start": sr.get("sr_input_resolution", start),
        "enlarger_clamp": 256.0 if arguments.get("sr_num_fp16_res", 0) > 0 else None,
        "antialias": rendering.get("sr_antialias", True),
        "clamp": arguments.get("conv_clamp"),
        "near": rendering["ray_start"],
        "far": rendering["ray_end"],
        "box": rendering["box_warp"],
        "samples": rendering["depth_resolution"],
        "importance": rendering["depth_resolution_importance"],
        "white": rendering.get("white_back", False),
        "condition": 0.0 if unseen else rendering.get("c_scale", 0),
        "radius": rendering.get("avg_camera_radius", 2.7),
        "pivot": tuple(rendering.get("avg_camera_pivot", (0.0, 0.0, 0.2))),
    }


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the widths from the tensors, the rest from the file's constructor arguments; without them it is FFHQ's.

    The angle of view of the cameras is in no file.
    """
    tensors = checkpoint.tensors
    if not {"backbone.mapping.embed.weight", "decoder.net.0.weight"} <= tensors.keys():
        return None
    attributes = checkpoint.records.get("modules", {}).get("", {})
    arguments = attributes.get("_init_kwargs")
    shapes = checkpoint.shapes
    if arguments is None:
        config, assumed = enlarger_of(shapes)
        assumed |= options.defaults(build, *SCENE, why="as for FFHQ")
        return {"config": config | widths_of(shapes), "keys": "official", "assumed": assumed}
    rendering = attributes.get("rendering_kwargs", arguments["rendering_kwargs"])
    config = read({**arguments, "rendering_kwargs": rendering}) | widths_of(shapes)
    config["resolution"] = attributes.get("neural_rendering_resolution", 128)
    assumed = options.defaults(build, "fov", why="as for FFHQ, AFHQ")
    if "neural_rendering_resolution" not in attributes:
        assumed |= options.defaults(build, "resolution", why="as for FFHQ")
    return {"config": config, "keys": "official", "assumed": assumed}


def widths_of(shapes: Record[str, tuple[int, ...]]) -> dict[str, Any]:
    """The widths that the tensors tell; the layers of the mapping may differ in theirs."""
    fc = [n for n in shapes if n.startswith("backbone.mapping.fc") and n.endswith("weight")]
    embed = shapes["backbone.mapping.embed.weight"][0]
    first, last = (shapes[f"backbone.mapping.fc{i}.weight"] for i in (0, len(fc) - 1))
    convs = (f"backbone.synthesis.b{4 << k}.conv1.weight" for k in range(16))
    widths = [shapes[conv][0] for conv in convs if conv in shapes]
    planes = shapes[f"backbone.synthesis.b{2 << len(widths)}.torgb.weight"][0]
    return {
        "widths": widths,
        "z_dim": first[1] - embed,
        "w_dim": last[0],
        "layers": len(fc),
        "mapping_features": first[0] if len(fc) > 1 else None,
        "embed_features": embed,
        "means": rows(shapes["backbone.mapping.w_avg"]),
        "plane_channels": planes // 3,
        "hidden": shapes["decoder.net.0.weight"][0],
        "features": shapes["decoder.net.2.weight"][0] - 1,
        "enlarger_widths": [shapes[f"superresolution.block{i}.conv1.weight"][0] for i in (0, 1)],
    }


def enlarger_of(shapes: Record[str, tuple[int, ...]]) -> tuple[dict[str, Any], dict[str, str]]:
    """The enlarger that published files have whose first block makes such sides, and that this is assumed."""
    side = shapes.get("superresolution.block0.conv1.noise_const", (256,))[0]
    kind = {64: "2X", 128: "4X"}.get(side, "8XDC")
    start = side // 2 if ENLARGERS[kind][0] else side
    assumed = {
        "enlarger": f"{kind}, as published where the first block makes {side} pixels",
        "enlarger_start": f"{start}, as a {kind} has",
        "resolution": f"{start}, the side that is enlarged",
    }
    return {"enlarger": kind, "enlarger_start": start, "resolution": start}, assumed


SCENE = (
    *("mapping_lr", "field_lr", "enlarger_clamp", "antialias", "clamp", "near", "far", "box"),
    *("samples", "importance", "white", "condition", "fov", "radius", "pivot"),
)
"""What only a file's constructor arguments tell."""
