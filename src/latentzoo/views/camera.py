r"""Cameras, and the generators that can be looked at from elsewhere.

A 3D-aware generator first makes a scene and then takes a picture of it,

.. math:: G(z) = \mathrm{photograph}(\mathrm{scene}(z), \mathrm{camera})

The world has its y axis upwards and the subject at the origin, facing along z. A camera at azimuth
:math:`a`, elevation :math:`e` and distance `radius` stands at

.. math:: r \, (\cos e \, \sin a, \; \sin e, \; \cos e \, \cos a)

and looks at `pivot`. It is part of the map: fixed by the constructor, or read from the latent
block `camera`, two normal numbers that each family carries to azimuth and elevation by the
distribution of poses it was trained on.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo import options
from latentzoo.errors import SpecError, UnknownName
from latentzoo.generator import Generator
from latentzoo.nn.volume import look_at
from latentzoo.space import Space

TURNED = ("azimuth", "elevation")
"""The fields of a camera that may be one number per image."""
OPEN = ("fov", "radius", "pivot")
"""The fields that may be the generator's own."""


@dataclass(frozen=True)
class Camera:
    """Creates a camera; what is None is the generator's own.

    Arguments:
        azimuth: The angle to the subject's left in degrees; a number, or one per image with shape
            (B,).
        elevation: The angle above the horizon in degrees, between -90 and 90; a number, or one per
            image.
        fov: The full angle of view in degrees, from one edge of the image to the other.
        radius: The distance from the origin.
        pivot: The point that is looked at.

    Raises:
        SpecError: If a number is out of range.
    """

    azimuth: float | Tensor = 0.0
    elevation: float | Tensor = 0.0
    fov: float | None = None
    radius: float | None = None
    pivot: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            if not options.finite(getattr(self, name)):
                raise SpecError(f"a camera's {name} is {getattr(self, name)}; give finite numbers")
        if not isinstance(self.elevation, Tensor) and not -90 < self.elevation < 90:
            raise SpecError(
                f"a camera's elevation of {self.elevation} degrees is out of range; give -90 to 90"
            )
        if self.fov is not None and not 0 < self.fov < 180:
            raise SpecError(f"a camera's fov of {self.fov} degrees is out of range; give 0 to 180")
        if self.radius is not None and self.radius <= 0:
            raise SpecError(
                f"a camera's radius of {self.radius} is out of range; give a positive number"
            )

    def over(self, own: "Camera") -> "Camera":
        """Fills in what is None from a generator's own camera."""
        given = {name: getattr(self, name) for name in OPEN}
        return replace(self, **{k: getattr(own, k) for k, v in given.items() if v is None})

    def angles(self, like: Tensor) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
        """Azimuth and elevation in radians, (B,) or (1,), with the device and dtype of a tensor."""
        degrees = (torch.as_tensor(x).to(like).reshape(-1) for x in (self.azimuth, self.elevation))
        azimuth, elevation = torch.broadcast_tensors(*degrees)
        return azimuth.deg2rad(), elevation.deg2rad()

    def pose(self, like: Tensor) -> Float[Tensor, "B 3 4"]:
        """The columns right, up, backward and position of shape (B or 1, 3, 4): see `look_at`.

        Raises:
            SpecError: If `radius` is None.
        """
        if self.radius is None:
            raise SpecError(
                "the camera has no radius; give one, or use camera.over(generator.camera)"
            )
        a, e = self.angles(like)
        position = self.radius * torch.stack(
            [e.cos() * a.sin(), e.sin(), e.cos() * a.cos()], dim=1
        )
        return look_at(position, self.pivot or (0.0, 0.0, 0.0))

    @classmethod
    def read(cls, value: "Camera | Mapping[str, Any]") -> "Camera":
        """Takes a camera, or a mapping of its fields as records hold it.

        Raises:
            UnknownName: If a field does not exist.
            SpecError: If it is neither, or a field is no number.
        """
        if isinstance(value, Camera):
            return value
        if not isinstance(value, Mapping):
            raise SpecError(
                f"'{value}' is not a camera; give 'latent', or its fields, e.g. {{azimuth: 20}}"
            )
        known = [field.name for field in fields(cls)]
        for name in value:
            if name not in known:
                raise UnknownName("field of a camera", name, known)
        given: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in value.items()
        }
        for name, found in given.items():
            if not _fits(name, found):
                what = "three numbers" if name == "pivot" else "a number"
                raise SpecError(f"a camera's {name} is {found!r}; give {what}")
        return cls(**given)


def _fits(name: str, value: Any) -> bool:
    """Whether a value is of the kind of a camera's field."""
    if value is None or isinstance(value, Tensor):
        return name in (OPEN if value is None else TURNED)
    numbers = value if name == "pivot" and isinstance(value, tuple) else (value,)
    each = all(isinstance(x, Real) and not isinstance(x, bool) for x in numbers)
    return each and len(numbers) == (3 if name == "pivot" else 1)


def upright(pose: Float[Tensor, "B 3 4"]) -> Float[Tensor, "B 3 4"]:
    """The same pose in a world whose z axis points upwards and whose x axis points to the camera."""
    return pose[:, [2, 0, 1]]


class Viewable(Generator):
    """Creates a generator that can be looked at from any camera.

    Arguments:
        camera: The camera of the map, or a mapping of its fields; None for the family's own;
            "latent" for a block `camera` of two numbers.
        own: The family's own camera, complete.
        size: The height and the width of the image.
        blocks: The other blocks of the latent.

    Attributes:
        camera: The camera of the map; where it is latent, the family's own.
    """

    def __init__(
        self,
        camera: Camera | Mapping[str, Any] | str | None,
        own: Camera,
        size: tuple[int, int],
        **blocks: tuple[int, ...],
    ) -> None:
        super().__init__()
        latent = camera == "latent"
        self.size = size
        self.space = Space(**blocks, **({"camera": (2,)} if latent else {}))
        self.camera = own if latent or camera is None else Camera.read(camera).over(own)  # pyright: ignore[reportArgumentType]

    @abstractmethod
    def scene(self, blocks: Mapping[str, Tensor]) -> Any:
        """Makes what does not depend on the camera, from the latent's blocks (B, *shape)."""

    @abstractmethod
    def photograph(self, scene: Any, camera: Camera) -> Float[Tensor, "B 3 H W"]:
        """Takes a picture (B, 3, H, W) of a scene with a complete camera."""

    @abstractmethod
    def aim(self, u: Float[Tensor, "B 2"]) -> Camera:
        """Carries normal numbers (B, 2) to cameras by the training's distribution of poses."""

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        blocks = self.space.split(z)
        camera = (
            self.aim(blocks["camera"]).over(self.camera) if "camera" in blocks else self.camera
        )
        return self.photograph(self.scene(blocks), camera)

    def view(self, camera: Camera) -> "View":
        """The same scenes from one camera; a latent block `camera` is dropped."""
        return View(self, camera)


class View(Generator):
    """Creates the map to one fixed view of a generator's scenes.

    Arguments:
        generator: The generator; the network is shared, not copied.
        camera: Where it is looked at from; what is None is the generator's own.
    """

    def __init__(self, generator: Viewable, camera: Camera) -> None:
        super().__init__()
        self.generator, self.camera = generator, camera.over(generator.camera)
        self.size = generator.size
        self.space = generator.space.subspace(
            *(name for name, _ in generator.space if name != "camera")
        )

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        return self.generator.photograph(self.generator.scene(self.space.split(z)), self.camera)


def fan(camera: Camera, views: int, *, azimuth: float = 60.0) -> tuple[Camera, ...]:
    """Cameras evenly spaced over an arc around a camera's azimuth, from the right to the left.

    Arguments:
        camera: The middle of the fan.
        views: The number of cameras; one is the middle itself.
        azimuth: The width of the arc in degrees.

    Raises:
        SpecError: If `views` is not positive.
    """
    if views < 1:
        raise SpecError(f"a fan of {views} views shows nothing; give 1 or more")
    offsets = [azimuth * (k / (views - 1) - 0.5) for k in range(views)] if views > 1 else [0.0]
    return tuple(replace(camera, azimuth=camera.azimuth + offset) for offset in offsets)


class Solid(ABC):
    """A viewable generator whose scenes have a surface.

    Attributes:
        extent: Half the side of the cube around the origin that holds the subject.
    """

    extent: float

    @abstractmethod
    def solidity(self, scene: Any, points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N"]:
        """A field over points of the world, positive inside the surface and negative outside."""
