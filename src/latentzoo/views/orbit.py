"""Other sides: a found latent from a fan of cameras, and energies that look from several at once.

The scene is made once and photographed from every camera. `Views` shows the pictures side by side
as one image, `EachView` rates each of them with an energy and takes the mean, so that a posterior
over several views is

    Posterior(Views(G, cameras), {"text": 500 * EachView(Clip("a smiling face"), len(cameras))})
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from latentzoo.energies.base import Energy
from latentzoo.errors import SpecError
from latentzoo.files import write_atomic
from latentzoo.generator import Generator
from latentzoo.picture import grid, to_uint8, write
from latentzoo.views.camera import Camera, Viewable


@torch.no_grad()
def orbit(
    generator: Viewable, z: Float[Tensor, "B D"], cameras: Sequence[Camera]
) -> Float[Tensor, "V B 3 H W"]:
    """Takes pictures of the scenes of latents from each camera, of shape (V, B, 3, H, W).

    Arguments:
        generator: The generator; a latent block `camera` has no effect.
        z: The latents, with shape (B, D).
        cameras: Where to look from, see `latentzoo.views.camera.fan`; what they lack is the generator's
            own.
    """
    scene = generator.scene(generator.space.split(z))
    own = generator.camera
    return torch.stack([generator.photograph(scene, camera.over(own)) for camera in cameras])


def write_strip(path: Path, images: Float[Tensor, "V B 3 H W"]) -> None:
    """Writes a PNG with one row per latent and one column per camera."""
    pixels = np.stack([to_uint8(image) for image in images], axis=1)
    write(path, grid(pixels.reshape(-1, *pixels.shape[2:]), columns=len(images)))


def write_animation(
    path: Path, images: Float[Tensor, "V B 3 H W"], *, seconds: float = 2.0
) -> None:
    """Writes an endless animated WebP that goes along the cameras and back, the latents side by
    side.

    Arguments:
        path: The file.
        images: The pictures, with shape (V, B, 3, H, W).
        seconds: How long there and back takes.
    """
    row = images.shape[1]
    frames = [Image.fromarray(grid(to_uint8(image), columns=row)) for image in images]
    frames += frames[-2:0:-1]
    save = lambda place: frames[0].save(
        place,
        format="WEBP",
        save_all=True,
        append_images=frames[1:],
        duration=round(1000 * seconds / len(frames)),
        loop=0,
        lossless=True,
    )
    write_atomic(path, save)


class Views(Generator):
    """Creates the map to pictures from several cameras, side by side in one image.

    A latent block `camera` is dropped.

    Arguments:
        generator: The generator; the network is shared, not copied.
        cameras: Where to look from, from left to right.

    Raises:
        SpecError: If there are no cameras.
    """

    def __init__(self, generator: Viewable, cameras: Sequence[Camera]) -> None:
        super().__init__()
        if not cameras:
            raise SpecError(
                "several views need at least one camera; give e.g. fan(generator.camera, 3)"
            )
        self.generator = generator
        self.cameras = tuple(camera.over(generator.camera) for camera in cameras)
        self.size = (generator.size[0], generator.size[1] * len(cameras))
        self.space = generator.space.subspace(
            *(name for name, _ in generator.space if name != "camera")
        )

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        scene = self.generator.scene(self.space.split(z))
        return torch.cat(
            [self.generator.photograph(scene, camera) for camera in self.cameras], dim=3
        )


class EachView(Energy):
    r"""Creates the mean of an energy over views that stand side by side, :math:`\frac1V \sum_v
    E(x_v)`.

    Arguments:
        energy: What rates each view.
        views: The number of views :math:`V`.
    """

    def __init__(self, energy: Energy, views: int) -> None:
        super().__init__()
        self.energy, self.views = energy, views

    @property
    def chains(self) -> int | None:
        return self.energy.chains

    @property
    def settled(self) -> Mapping[str, Any]:
        return self.energy.settled

    @property
    def assumed(self) -> Mapping[str, str]:
        return self.energy.assumed

    def select(self, index: Tensor) -> Energy:
        return self if self.chains is None else EachView(self.energy.select(index), self.views)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        each = image.unflatten(3, (self.views, -1)).movedim(3, 1).flatten(0, 1)
        energy = self.energy.select(torch.arange(len(image)).repeat_interleave(self.views))
        return energy(each).unflatten(0, (-1, self.views)).mean(dim=1)
