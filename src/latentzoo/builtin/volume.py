r"""A variational autoencoder of heads in space: its decoder is a radiance field, its map a picture of it.

.. math:: G(z) = \mathrm{photograph}\big(S(m + R z), \mathrm{camera}\big), \qquad
    C(r) = \sum_i w_i \, c_i + \Big(1 - \sum_i w_i\Big) b

The code :math:`c = m + R z` becomes three planes of features, a small network makes a density and a colour of what a
point finds on them, and the colours along a ray are added up in front of the background :math:`b`, which the code says
too. What the training knew of space was only that pictures of one head from several sides belong together.

An autoencoder that is trained for minutes leaves codes with a mean :math:`m` and a covariance :math:`R R^\top` other
than those of the prior, and most of the prior would be no head. The affine map makes them equal.

References:
    | Auto-Encoding Variational Bayes (Kingma and Welling, 2014), https://arxiv.org/abs/1312.6114
    | NeRF-VAE: A Geometry Aware 3D Scene Generative Model (Kosiorek et al., 2021), https://arxiv.org/abs/2104.00587
    | Efficient Geometry-aware 3D Generative Adversarial Networks (Chan et al., 2022), https://arxiv.org/abs/2112.07945
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.builtin.heads import CAMERA, EXTENT
from latentzoo.builtin.networks.planes import Field, Planes, Reader, Reading
from latentzoo.generator import Encodable, Generator
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.nn.volume import composite, in_chunks, pixels, rays, stratify, visibility
from latentzoo.options import Count, Weight
from latentzoo.rng import Rng
from latentzoo.views.camera import Camera, Solid, Viewable

DIM, CHANNELS, HIDDEN = 64, 16, 32
DEPTH = 1.1
"""How far before and behind the middle a ray is followed."""
SURFACE = 10.0
"""The density at which a head begins."""


class Scene(NamedTuple):
    """What does not depend on the camera: the planes (B, 3, C, h, w) and the background (B, 3)."""

    planes: Tensor
    background: Tensor


class Volume(nn.Module):
    """Creates the networks: `planes` and `background` of a code, `field` of points, `reader` of pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.planes = Planes(DIM, CHANNELS)
        self.background = nn.Linear(DIM, 3)
        self.field = Field(CHANNELS, HIDDEN, EXTENT)
        self.reader = Reader(DIM)

    def scene(self, code: Float[Tensor, "B D"]) -> Scene:
        """The scenes of codes."""
        return Scene(self.planes(code), self.background(code).sigmoid())

    def read(self, image: Float[Tensor, "B 3 H W"]) -> Reading:
        """What pictures say of the code and of the camera; they are brought to 32 x 32 pixels first."""
        return self.reader(F.interpolate(image, (32, 32), mode="area"))

    def render(
        self,
        scene: Scene,
        origin: Float[Tensor, "B N 3"],
        direction: Float[Tensor, "B N 3"],
        t: Float[Tensor, "B N S"],
    ) -> Float[Tensor, "B N 3"]:
        """The colours that rays of unit direction see, looked at in the middles of S even steps of depth `t`."""
        points = origin[:, :, None] + direction[:, :, None] * t[..., None]
        density, colour = self.field(scene.planes, points.flatten(1, 2))
        step = 2 * DEPTH / t.shape[2]
        weight = visibility(density.unflatten(1, t.shape[1:]), torch.full_like(t, step))
        seen = composite(weight, colour.unflatten(1, t.shape[1:]))
        return seen + (1 - weight.sum(dim=2, keepdim=True)) * scene.background[:, None]


def depths(
    radius: float, samples: int, jitter: Tensor | float, *, like: Tensor
) -> Float[Tensor, "*B S"]:
    """So many even steps of depth around the middle of the world; a jitter of 0.5 is the middle of each step."""
    near, far = (like.new_full(like.shape[:-1], radius + side * DEPTH) for side in (-1, 1))
    return stratify(near, far, samples, ends=False, jitter=jitter)


class VolumeVAE(Viewable, Solid, Encodable):
    """Creates the generator; its latent is the block `style` and, with `camera="latent"`, `camera`.

    Arguments:
        network: The networks.
        mean: The mean :math:`m` of the codes, with shape (64,); None for 0.
        root: A root :math:`R` of their covariance, lower triangular, with shape (64, 64); None for the identity.
        camera: The camera of the map, "latent", or None for the frontal one.
        size: The side of the picture in pixels; a field has no grid, so any number will do.
        samples: How many depths a ray is looked at.
        reach: Half the range of a latent camera's azimuth and elevation in degrees, both uniform.
        temperature: What the code is multiplied by; below 1 the heads are more typical.
        chunk: How many rays are rendered at once, see `in_chunks`; None for all.
    """

    extent = EXTENT
    mean: Tensor
    root: Tensor

    def __init__(
        self,
        network: Volume,
        *,
        mean: Float[Tensor, "D"] | None = None,
        root: Float[Tensor, "D D"] | None = None,
        camera: Camera | Mapping[str, Any] | str | None = None,
        size: Count = 64,
        samples: Count = 32,
        reach: Sequence[float] = (60.0, 25.0),
        temperature: Weight = 1.0,
        chunk: Count | None = 8192,
    ) -> None:
        super().__init__(camera, CAMERA, (size, size), style=(DIM,))
        self.network, self.samples, self.reach = network, samples, reach
        self.temperature, self.chunk = temperature, chunk
        self.register_buffer("mean", torch.zeros(DIM) if mean is None else mean)
        self.register_buffer("root", torch.eye(DIM) if root is None else root)

    def scene(self, blocks: Mapping[str, Tensor]) -> Scene:
        return self.network.scene(self.mean + self.temperature * blocks["style"] @ self.root.mT)

    def photograph(self, scene: Scene, camera: Camera) -> Float[Tensor, "B 3 H W"]:
        pose = camera.pose(scene.background).expand(len(scene.background), -1, -1)
        half = math.tan(math.radians(camera.fov or 0.0) / 2)
        origin, direction = rays(pose, half * pixels(self.size[0], like=pose)[None])
        direction = F.normalize(direction, dim=2)
        t = depths(camera.radius or 0.0, self.samples, 0.5, like=direction)
        (colour,) = in_chunks(
            lambda *ray: (self.network.render(scene, *ray),),
            self.chunk,
            origin[:, None].expand_as(direction),
            direction,
            t,
        )
        return colour.mT.unflatten(2, self.size)

    def aim(self, u: Float[Tensor, "B 2"]) -> Camera:
        return aim(u, self.reach)

    def solidity(self, scene: Scene, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N"]:
        return self.network.field(scene.planes, points)[0] - SURFACE

    def encode(self, image: Float[Tensor, "B 3 H W"], rng: Rng) -> Float[Tensor, "B D"]:
        """A draw of the posterior, whatever side is shown; a latent camera is where the picture seems taken from."""
        mean, log_std, camera = self.network.read(image)
        code = mean + log_std.exp() * rng.normal(DIM).to(image)
        wide = torch.promote_types(code.dtype, torch.float32)  # no processor solves in less
        root, off = self.root.to(wide), (code - self.mean).mT.to(wide)
        style = torch.linalg.solve_triangular(root, off, upper=False).mT.to(code)
        blocks = {"style": style / self.temperature, "camera": camera}
        return self.space.join(**{name: blocks[name] for name, _ in self.space})


def aim(u: Float[Tensor, "B 2"], reach: Sequence[float]) -> Camera:
    """The cameras of normal numbers, with azimuth and elevation uniform within `reach` degrees."""
    azimuth, elevation = torch.erf(u / math.sqrt(2)).unbind(1)
    return Camera(azimuth=reach[0] * azimuth, elevation=reach[1] * elevation)


def build(**options: Any) -> VolumeVAE:
    """Builds the generator with random weights.

    Arguments:
        options: The arguments of the map: see `VolumeVAE`.
    """
    return VolumeVAE(Volume(), **options)


KEYS: dict[str, Callable[[Generator], list[Rule]]] = {
    "avatar": lambda generator: [
        Rule("network.{name*}", "network.{name}"),
        Rule("mean", "mean"),
        Rule("root", "root"),
    ]
}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """The configuration of a weight file of this family, or None."""
    known = {"network.planes.start.weight", "network.field.inner.weight"}
    return {"config": {}, "keys": "avatar"} if known <= checkpoint.tensors.keys() else None
