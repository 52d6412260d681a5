r"""GIRAFFE-HD: an object and its background, rendered apart, painted in high resolution and laid
over one another.

Two fields map an encoded point and a shape code to density and features. The object's lives in a
box that is placed in the world by a scale, a translation and a turn about the vertical,

.. math:: (\sigma, c)(p) = f_o\left( R (p - t) / s, \, w_o \right)

and is empty outside of it. Each field is rendered as a small map of features, from which a
StyleGAN2 paints an image; a third network refines the object with the background's style and gives
the mask :math:`m` of

.. math:: x = m \, \tanh(x_o + r) + (1 - m) \, \tanh(x_b)

The latent has four parts: the shape and the appearance of the object and of the background. The
camera only rises; its azimuth turns the object, while the background stands still, as in the
training.

References:
    | GIRAFFE HD: A High-Resolution 3D-aware Generative Model (Xue et al., 2022)
    | https://arxiv.org/abs/2203.14954
    |
    | GIRAFFE: Representing Scenes as Compositional Generative Neural Feature Fields
    | (Niemeyer and Geiger, 2021)
    | https://arxiv.org/abs/2011.12100
"""

import math
import re
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Record
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo import options
from latentzoo.errors import SpecError
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.dialects import rosinality
from latentzoo.hub.keys import Rule, prefixed
from latentzoo.nn.mapping import Mapping
from latentzoo.nn.style import Synthesis, SynthesisLayer, ToRGB, noise_blocks
from latentzoo.nn.volume import (
    composite,
    encode,
    in_chunks,
    pixels,
    rays,
    stratify,
    visibility,
)
from latentzoo.options import Count, Natural, Positive, Weight
from latentzoo.views.camera import Camera, Viewable, upright

PARTS = ("shape", "appearance", "background_shape", "background_appearance")
Span = Sequence[float]


class Codes(NamedTuple):
    """The four parts of the latent, or their styles, each of shape (B, Z)."""

    shape: Tensor
    appearance: Tensor
    background_shape: Tensor
    background_appearance: Tensor


class Scene(NamedTuple):
    """What does not depend on the camera: codes, styles, the object's scale and place, noise maps."""

    codes: Codes
    styles: Codes
    scale: Tensor
    place: Tensor
    noise: list[Tensor] | None


class GiraffeHD(Viewable):
    r"""Creates a GIRAFFE-HD generator.

    Its latent has the blocks `shape`, `appearance`, `background_shape` and
    `background_appearance`; with `noise="latent"` also `noise_0`, `noise_1`, ...; with
    `camera="latent"` also `camera`, uniform over the ranges of the training, and `placement`, the
    object's scale and translation where they have a range.

    Arguments:
        network: The network.
        camera: The camera, "latent", or None for the middle of the ranges.
        fov: The angle of view in degrees.
        radius: The distance of the camera.
        heights: The range of v; the elevation is asin(1 - 2 v).
        turns: The range of the object's turn, in whole turns; 0.5 faces the camera.
        scales: The smallest and the largest scale, three numbers each.
        places: The lowest and the highest translation, three numbers each.
        inject: How many layers of the object's renderer are styled by its shape, before the
            appearance.
        temperature: The factor on the latent.
        noise: "fixed" for the file's maps, "latent" for maps that are part of the latent.
        chunk: How many rays are rendered at once, see `in_chunks`; None for all.

    Raises:
        SpecError: If an argument is out of range.
    """

    def __init__(
        self,
        network: "GiraffeHDNetwork",
        *,
        camera: Camera | Record[str, Any] | str | None = None,
        fov: Positive = 10.0,
        radius: float = 2.732,
        heights: Span = (0.4167, 0.5),
        turns: Span = (0.40278, 0.59722),
        scales: Sequence[Sequence[float]] = ((0.21,) * 3, (0.21,) * 3),
        places: Sequence[Sequence[float]] = ((0.0,) * 3, (0.0,) * 3),
        inject: Natural = 4,
        temperature: Weight = 1.0,
        noise: str = "fixed",
        chunk: Count | None = None,
    ) -> None:
        if not temperature > 0:
            raise SpecError(
                f"the temperature {temperature} is out of range; give a positive number"
            )
        free = [scales[0] != scales[1], *(a != b for a, b in zip(*places, strict=True))]
        maps = noise_blocks(noise, network.layers)
        placement = {"placement": (sum(free),)} if camera == "latent" and any(free) else {}
        parts = dict(zip(PARTS, ((n,) for n in network.sizes), strict=True))
        v, turn = sum(heights) / 2, sum(turns) / 2
        elevation = math.degrees(math.asin(1 - 2 * v))
        own = Camera(360 * (turn - 0.5), elevation, fov, radius, (0.0, 0.0, 0.0))
        super().__init__(camera, own, network.fg_renderer.size, **parts, **maps, **placement)
        self.network, self.heights, self.turns, self.free = network, heights, turns, free
        self.scales, self.places, self.inject = scales, places, inject
        self.temperature, self.chunk = temperature, chunk

    def scene(self, blocks: Record[str, Tensor]) -> Scene:
        codes = Codes(*(self.temperature * blocks[name] for name in PARTS))
        noise = [maps[:, None] for name, maps in blocks.items() if name.startswith("noise_")]
        u = codes.shape.new_zeros(len(codes.shape), 4)
        if "placement" in blocks:
            u[:, self.free] = blocks["placement"]
        scale, place = between(self.scales, u[:, :1]), between(self.places, u[:, 1:])
        return Scene(codes, self.network.styles(codes), scale, place, noise or None)

    def photograph(self, scene: Scene, camera: Camera) -> Float[Tensor, "B 3 H W"]:
        azimuth, _ = camera.angles(scene.scale)
        pose = upright(replace(camera, azimuth=0.0).pose(scene.scale))
        slope = math.tan(math.radians(camera.fov or 0.0) / 2)
        features = self.network.render(
            scene.codes,
            scene.styles,
            pose.expand(len(scene.scale), -1, -1),
            slope,
            Box(scene.scale, scene.place, turn(azimuth + math.pi).expand(len(scene.scale), 3, 3)),
            chunk=self.chunk,
        )
        painted = self.network.paint(*features, scene.styles, self.inject, scene.noise)
        return (painted.image + 1) / 2

    def aim(self, u: Float[Tensor, "B 2"]) -> Camera:
        turns, v = between(self.turns, u[:, 0]), between(self.heights, u[:, 1])
        return Camera(360 * (turns - 0.5), (1 - 2 * v).asin().rad2deg())


def between(span: Sequence[Any], u: Tensor) -> Tensor:
    """Carries normal numbers to uniform ones between two ends, each a number or a sequence of them."""
    low, high = (u.new_tensor(end) for end in span)
    return low + (high - low) * (1 + torch.erf(u / math.sqrt(2))) / 2


def turn(angle: Float[Tensor, "B"]) -> Float[Tensor, "B 3 3"]:
    """The rotation about z by an angle in radians."""
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    rows = [[angle.cos(), -angle.sin(), zero], [angle.sin(), angle.cos(), zero], [zero, zero, one]]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


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
        fg_field: "Field",
        bg_field: "Field",
        fg_renderer: Synthesis,
        bg_renderer: Synthesis,
        refine_renderer: "Refiner",
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


class Field(nn.Module):
    """Creates a field: a trunk that gives the density, and a head that gives the features.

    Arguments:
        hidden: The width.
        blocks: The number of layers of the trunk after the first.
        z_dim: The size of the code.
        outputs: The number of features.
        downscale: What points are divided by before they are encoded.
        skip: After how many of the layers the point and the code are added again; None for never.
        octaves: The number of octaves of an encoded point.
        octaves_view: The number of octaves of an encoded direction.
        views: Whether the head sees the direction; its layer is there in any case.
    """

    def __init__(
        self,
        hidden: int,
        blocks: int,
        z_dim: int,
        outputs: int,
        *,
        downscale: float,
        skip: int | None = None,
        octaves: int = 10,
        octaves_view: int = 4,
        views: bool = False,
    ) -> None:
        super().__init__()
        self.octaves, self.octaves_view, self.views = octaves, octaves_view, views
        self.downscale, self.skip = downscale, skip
        self.fc_in = nn.Linear(6 * octaves, hidden)
        self.fc_z = nn.Linear(z_dim, hidden)
        self.blocks = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(blocks))
        if skip is not None:
            self.fc_z_skip = nn.Linear(z_dim, hidden)
            self.fc_p_skip = nn.Linear(6 * octaves, hidden)
        self.sigma_out = nn.Linear(hidden, 1)
        self.fc_z_view = nn.Linear(z_dim, hidden)
        self.feat_view = nn.Linear(hidden, hidden)
        self.fc_view = nn.Linear(6 * octaves_view, hidden)
        self.feat_out = nn.Linear(hidden, outputs)

    def forward(
        self,
        points: Float[Tensor, "B N 3"],
        ways: Float[Tensor, "B N 3"],
        shape: Float[Tensor, "B Z"],
        shade: Float[Tensor, "B Z"],
    ) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N C"]]:
        """The raw density and the features at points seen along rays, for the codes of the trunk and of the head."""
        p = encode(points / self.downscale, self.octaves)
        x = (self.fc_in(p) + self.fc_z(shape)[:, None]).relu()
        for i, block in enumerate(self.blocks, start=1):
            x = block(x).relu()
            if i == self.skip:
                x = x + self.fc_z_skip(shape)[:, None] + self.fc_p_skip(p)
        feature = self.feat_view(x) + self.fc_z_view(shade)[:, None]
        if self.views:
            way = F.normalize(ways, dim=2) / self.downscale
            feature = (feature + self.fc_view(encode(way, self.octaves_view))).relu()
        return self.sigma_out(x).squeeze(2), self.feat_out(feature)


class Refiner(nn.Module):
    """Creates the refiner: modulated convolutions at full resolution, then colours.

    Arguments:
        channels: The number of feature channels.
        outputs: The number of image channels.
        w_dim: The number of style coordinates.
        size: The side of the image.
        layers: The number of convolutions.
        kernel: The side of their kernels.
    """

    def __init__(
        self, channels: int, outputs: int, w_dim: int, size: int, layers: int, kernel: int = 3
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            SynthesisLayer(channels, channels, w_dim, (size, size), kernel=kernel)
            for _ in range(layers)
        )
        self.torgb = ToRGB(channels, outputs, w_dim)

    def forward(self, x: Tensor, w: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = layer(x, w, None if noise is None else noise[i])
        return self.torgb(x, w)


def build(
    *,
    widths: Sequence[Count] = (256, 256, 256, 256, 128, 64, 32),
    z_dim: Count = 256,
    z_dim_bg: Count = 256,
    features: Count = 256,
    layers: Count = 8,
    lr: Positive = 0.01,
    refine_layers: Natural = 2,
    refine_kernel: Count = 3,
    mask: bool = False,
    resolution: Count = 16,
    samples: Count = 64,
    styled: bool = True,
    appearance: bool = False,
    views: bool = False,
    follow: bool = False,
    **options: Any,
) -> GiraffeHD:
    """Builds a generator with random weights.

    Arguments:
        widths: The channels of the renderers from the rendered map's size up.
        z_dim: The size of each part of the object's latent.
        z_dim_bg: The size of each part of the background's latent.
        features: The number of rendered features.
        layers: The number of layers of the mappings.
        lr: The learning rate multiplier of the mappings.
        refine_layers: The number of convolutions of the refiner.
        refine_kernel: The side of their kernels.
        mask: Whether the mask comes from the object's renderer, or from the refiner.
        resolution: The side of the rendered maps.
        samples: The number of depths along a ray.
        styled: Whether the fields take styles, or the codes themselves.
        appearance: Whether the features of the fields depend on the appearance, or on the shape.
        views: Whether they depend on the direction from which a point is seen.
        follow: Whether the background follows the height of the object.
        options: The arguments of the map: see `GiraffeHD`.
    """
    painter = lambda w_dim, channels: Synthesis(
        widths, w_dim, start=resolution, features=features, channels=channels
    )
    size = resolution << (len(widths) - 1)
    network = GiraffeHDNetwork(
        [Mapping(n, n, layers=layers, lr=lr) for n in (z_dim, z_dim_bg)],
        Field(128, 7, z_dim, features, downscale=2.0, skip=4, views=views),
        Field(64, 3, z_dim_bg, features, downscale=12.0, views=views),
        painter(z_dim, 4 if mask else 3),
        painter(z_dim_bg, 3),
        Refiner(widths[-1], 3 if mask else 4, z_dim_bg, size, refine_layers, refine_kernel),
        resolution=resolution,
        samples=samples,
        styled=styled,
        appearance=appearance,
        views=views,
        follow=follow,
    )
    return GiraffeHD(network, **options)


def official(generator: GiraffeHD) -> list[Rule]:
    """The names of the authors' files; their renderers are rosinality's."""
    network = generator.network
    fields = {"decoder": "fg_field", "background_generator": "bg_field"}
    refiner = [
        Rule("convs.{i}.conv.weight", "layers.{i}.weight", "1 o i h w -> o i h w"),
        Rule("convs.{i}.conv.modulation.{t}", "layers.{i}.affine.{t}"),
        Rule("convs.{i}.noise.weight", "layers.{i}.noise_strength", "1 ->"),
        Rule("convs.{i}.activate.bias", "layers.{i}.bias"),
        Rule("noises.noise_{i}", "layers.{i}.noise_const", "1 1 h w -> h w"),
        Rule("to_rgb.conv.weight", "torgb.weight", "1 o i h w -> o i h w"),
        Rule("to_rgb.conv.modulation.{t}", "torgb.affine.{t}"),
        Rule("to_rgb.bias", "torgb.bias", "1 c 1 1 -> c"),
    ]
    mappings = [
        Rule(f"styles.{{k}}.{i + 1}.{{t}}", f"network.mappings.{{k}}.fc{i}.{{t}}")
        for i in range(len(network.mappings[0]))  # pyright: ignore[reportArgumentType]
    ]
    return [
        *mappings,
        *prefixed("refine_renderer.", refiner, "network.refine_renderer."),
        *rosinality(network.fg_renderer, "fg_renderer.", "network.fg_renderer."),
        *rosinality(network.bg_renderer, "bg_renderer.", "network.bg_renderer."),
        *(
            rule
            for theirs, ours in fields.items()
            for rule in _field(f"vol_generator.{theirs}.", f"network.{ours}.")
        ),
    ]


def _field(theirs: str, ours: str) -> list[Rule]:
    return [
        Rule(f"{theirs}dense_layers.fc_z_skips.0.{{t}}", f"{ours}fc_z_skip.{{t}}"),
        Rule(f"{theirs}dense_layers.fc_p_skips.0.{{t}}", f"{ours}fc_p_skip.{{t}}"),
        Rule(f"{theirs}{{part}}_layers.{{x*}}", f"{ours}{{x*}}"),
    ]


KEYS: dict[str, Callable[[Any], list[Rule]]] = {"official": official}


def read(arguments: Record[str, Any]) -> dict[str, Any]:
    """Translates the arguments of the official constructor into those of `build`."""
    a, m = arguments, 2
    start = a.get("resolution_vol", a.get("res_vol", 16))
    table = {4: 256, 8: 256, 16: 256, 32: 256, 64: 256, 128: 128 * m, 256: 64 * m}
    table |= {512: 32 * m, 1024: 16 * m}
    table |= {int(side): channels for side, channels in a.get("channels", {}).items()}
    sides = [start << k for k in range((a["size"] // start).bit_length())]
    return {
        "widths": [table[side] for side in sides],
        "z_dim": a["z_dim"],
        "z_dim_bg": a["z_dim_bg"],
        "features": a["feat_dim"],
        "layers": a.get("n_mlp", 8),
        "lr": a.get("lr_mlp", 0.01),
        "refine_layers": a.get("refine_n_styledconv", 2),
        "refine_kernel": a.get("refine_kernal_size", 3),
        "mask": a.get("fg_gen_mask", False),
        "resolution": start,
        "samples": a.get("overrides", {}).get("n_ray_samples", 64),
        "styled": a.get("grf_use_mlp", True),
        "appearance": a.get("grf_use_z_app", False),
        "views": a.get("use_viewdirs", False),
        "follow": a.get("pos_share", False),
        "fov": float(a["fov"]),
        "heights": tuple(a["range_v"]),
        "turns": tuple(a["rotation_range"]),
        "scales": (tuple(a["scale_range_min"]), tuple(a["scale_range_max"])),
        "places": (tuple(a["translation_range_min"]), tuple(a["translation_range_max"])),
    }


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the sizes from the tensors, the scene from the training's arguments; without them it is FFHQ's."""
    tensors = checkpoint.tensors
    if "vol_generator.decoder.dense_layers.fc_in.weight" not in tensors:
        return None
    arguments = checkpoint.records.get("args")
    config = sizes(checkpoint.shapes)
    assumed = {} if arguments is not None else options.defaults(build, *SCENE, why="as for FFHQ")
    if arguments is not None:
        config |= read(arguments)
    elif "resolution" not in config:
        assumed |= options.defaults(build, "resolution", why="as for FFHQ")
        config["resolution"] = 16
    size = config["resolution"] << (len(config["widths"]) - 1)
    config["inject"] = 2 if size <= 256 else 4
    assumed["inject"] = f"{config['inject']}, as the authors take for {size} pixels"
    return {"config": config, "keys": "official", "assumed": assumed}


def sizes(shapes: Record[str, tuple[int, ...]]) -> dict[str, Any]:
    """What the shapes of the tensors tell."""
    row = lambda name: shapes[f"fg_renderer.{name}.conv.weight"][1]
    convs = sum(name.startswith("fg_renderer.convs.") and "conv.weight" in name for name in shapes)
    fields = [f"vol_generator.{name}." for name in ("decoder", "background_generator")]
    refiner = [shape for name, shape in shapes.items() if REFINER.fullmatch(name)]
    noise = shapes.get("fg_renderer.noises.noise_0")
    return {
        "widths": [row("conv1"), *(row(f"convs.{i}") for i in range(1, convs, 2))],
        "z_dim": shapes[f"{fields[0]}dense_layers.fc_z.weight"][1],
        "z_dim_bg": shapes[f"{fields[1]}dense_layers.fc_z.weight"][1],
        "features": shapes[f"{fields[0]}feat_layers.feat_out.weight"][0],
        "layers": sum(bool(MAPPING.fullmatch(name)) for name in shapes),
        "mask": row("to_rgb1") == 4,
        "refine_layers": len(refiner),
        **({"refine_kernel": refiner[0][-1]} if refiner else {}),
        **({"resolution": noise[-1]} if noise is not None else {}),
    }


REFINER = re.compile(r"refine_renderer\.(?!to_rgb).*conv\.weight")
MAPPING = re.compile(r"styles\.0\.\d+\.weight")
SCENE = (
    *("samples", "styled", "appearance", "views", "follow", "fov", "heights"),
    *("turns", "scales", "places", "lr"),
)
"""What only the training's arguments tell."""
