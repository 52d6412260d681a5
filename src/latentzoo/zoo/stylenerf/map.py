"""The map of StyleNeRF: from a latent and a camera to an image."""

import math
from collections.abc import Mapping as Record
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.nn.truncation import require
from latentzoo.options import Count, Positive
from latentzoo.views.camera import Camera, Viewable, upright
from latentzoo.zoo.stylenerf.network import StyleNeRFNetwork


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
        network: StyleNeRFNetwork,
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
