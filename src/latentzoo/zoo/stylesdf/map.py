"""The map of StyleSDF: from a latent and a camera to an image."""

import math
from collections.abc import Mapping as Record
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.nn.style import noise_blocks
from latentzoo.nn.truncation import MeanStyle, require
from latentzoo.options import Count, Positive
from latentzoo.views.camera import Camera, Solid, Viewable
from latentzoo.zoo.stylesdf.network import StyleSDFNetwork


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
        network: StyleSDFNetwork,
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
