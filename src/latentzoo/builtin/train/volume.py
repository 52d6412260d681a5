r"""Trains the radiance field of heads, from rays.

Every step draws new heads of :mod:`latentzoo.builtin.heads`. The encoder sees one picture of each, from anywhere; the
decoder is asked for the colours of rays that look at the same head, each from a camera of its own,

.. math:: \ell = \frac{1}{N} \sum_r |C(r) - \hat C(r)|^2 + \lambda_n D_{KL}(q(z \mid x) \,\|\, N(0, I))
    + \mu |\hat u - u|^2

where :math:`u` are the normal numbers of the picture's camera. :math:`\lambda_n` grows over the first steps, so that
the code is used before it costs. Half of the rays pass the middle of the picture, where the face is.
"""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.builtin.heads import CAMERA, cast, draw, picture
from latentzoo.builtin.train.trainer import Recipe, tile
from latentzoo.builtin.volume import Volume, VolumeVAE, aim, depths
from latentzoo.nn.volume import rays
from latentzoo.views.camera import Camera

REACH = (60.0, 25.0)
HALF = math.tan(math.radians(CAMERA.fov or 0.0) / 2)


class VolumeRecipe(Recipe):
    """Creates the recipe.

    Arguments:
        batch: Heads per step.
        looks: Rays per head.
        samples: Depths per ray.
        price: The weight :math:`\\lambda` of a nat.
        warmup: The number of steps until it is reached.
        place: The weight :math:`\\mu` of the camera's error.
        counted: How many heads the moments of the codes are taken from.
        shown: How many heads the preview shows.
    """

    def __init__(
        self,
        *,
        batch: int = 32,
        looks: int = 128,
        samples: int = 32,
        price: float = 1e-4,
        warmup: int = 1000,
        place: float = 0.01,
        counted: int = 1024,
        shown: int = 12,
    ) -> None:
        self.batch, self.looks, self.samples = batch, looks, samples
        self.price, self.warmup, self.place = price, warmup, place
        self.counted, self.shown = counted, shown
        self.volume = Volume()
        self.players: dict[str, nn.Module] = {"volume": self.volume}

    def losses(
        self, step: int, stream: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """One loss: the negative evidence bound, and the camera."""
        truth = draw(self.batch, stream)
        u = torch.randn(self.batch, 2, generator=stream)
        read = self.volume.read(picture(truth, aim(u, REACH)))
        noise = torch.randn(read.mean.shape, generator=stream)
        z = read.mean + read.log_std.exp() * noise
        origin, direction = self.look(stream)
        jitter = torch.rand(self.batch, self.looks, self.samples, generator=stream)
        t = depths(CAMERA.radius or 0.0, self.samples, jitter, like=direction)
        seen = self.volume.render(self.volume.scene(z), origin, direction, t)
        nats = (read.mean.square() + (2 * read.log_std).exp() - 1) / 2 - read.log_std
        price = self.price * min(1.0, (step + 1) / self.warmup)
        yield (
            "volume",
            {
                "error": (seen - cast(truth, origin, direction)).square().mean(),
                "divergence": price * nats.sum(dim=1).mean(),
                "place": self.place * (read.camera - u).square().mean(),
            },
        )

    def look(self, stream: torch.Generator) -> tuple[Tensor, Tensor]:
        """Rays (B, N, 3) through anywhere in pictures from anywhere."""
        shape = (self.batch, self.looks)
        plane = 2 * torch.rand(*shape, 2, generator=stream) - 1
        plane[:, ::2] *= 0.6
        u = torch.randn(*shape, 2, generator=stream).flatten(0, 1)
        pose = aim(u, REACH).over(CAMERA).pose(u)
        origin, direction = rays(pose, HALF * plane.flatten(0, 1)[:, None])
        return origin.unflatten(0, shape), F.normalize(direction, dim=2).view(*shape, 3)

    @torch.no_grad()
    def preview(self, averaged: Mapping[str, nn.Module]) -> Tensor:
        """Two views of heads above what is read from the first view; samples from three sides."""
        generator = self.generator(averaged)
        stream = torch.Generator().manual_seed(0)
        truth = draw(self.shown, stream)
        sides = [Camera(azimuth=angle, elevation=10.0).over(CAMERA) for angle in (-35.0, 0, 35.0)]
        x = picture(truth, sides[1])
        scene = generator.network.scene(generator.network.read(x).mean)
        rows = [x, generator.photograph(scene, sides[1])]
        rows += [picture(truth, sides[2]), generator.photograph(scene, sides[2])]
        style = torch.randn(self.shown, generator.space.dim, generator=stream)
        drawn = generator.scene({"style": style})
        rows += [generator.photograph(drawn, side) for side in sides]
        return tile(torch.cat(rows), self.shown)

    def export(self, averaged: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """The whole generator."""
        return self.generator(averaged).state_dict()

    def generator(self, averaged: Mapping[str, nn.Module]) -> VolumeVAE:
        """The generator with the averaged networks.

        Raises:
            TypeError: If the averaged network is of another class.
        """
        volume = averaged["volume"]
        if not isinstance(volume, Volume):
            raise TypeError("the averaged network is not a volume")
        mean, root = moments(volume, self.counted)
        return VolumeVAE(volume, mean=mean, root=root)


@torch.no_grad()
def moments(volume: Volume, count: int) -> tuple[Tensor, Tensor]:
    """The mean of the codes that are read from pictures, and a root of their covariance."""
    stream = torch.Generator().manual_seed(0)
    u = torch.randn(count, 2, generator=stream)
    read = volume.read(picture(draw(count, stream), aim(u, REACH)))
    covariance = torch.cov(read.mean.T) + (2 * read.log_std).exp().mean(dim=0).diag()
    return read.mean.mean(dim=0), torch.linalg.cholesky(covariance)
