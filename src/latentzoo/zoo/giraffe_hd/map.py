"""The map of GIRAFFE-HD: from a latent and a camera to an image."""

import math
from collections.abc import Mapping as Record
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import SpecError
from latentzoo.nn.style import noise_blocks
from latentzoo.options import Count, Natural, Positive, Weight
from latentzoo.views.camera import Camera, Viewable, upright
from latentzoo.zoo.giraffe_hd.network import Box, Codes, GiraffeHDNetwork

PARTS = ("shape", "appearance", "background_shape", "background_appearance")
Span = Sequence[float]


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
        network: GiraffeHDNetwork,
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
