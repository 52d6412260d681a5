"""The map of EG3D, and the authors' cameras: from a latent and a camera to an image."""

import math
from collections.abc import Mapping as Record
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from latentzoo.nn.style import noise_blocks
from latentzoo.nn.truncation import require
from latentzoo.nn.volume import pixels, rays
from latentzoo.options import Count
from latentzoo.views.camera import Camera, Solid, Viewable
from latentzoo.zoo.eg3d.network import EG3DNetwork

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
        network: EG3DNetwork,
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
