"""A toy generator that records can name, and the command line over it, in this process or in one of its own.

It has two blocks, a camera, an option and an encoder, so that every field of a record has something to act on, and
it notes what it sees.
"""

import os
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from latentzoo import zoo
from latentzoo.generator import Encodable
from latentzoo.views.camera import Camera, Viewable

OWN = Camera(fov=30.0, radius=2.0)
DELAY = float(os.environ.get("TOY_DELAY", "0"))
"""Seconds that every picture takes."""
SEEN: dict[str, list[Any]] = {}
"""What the toys have seen, by kind, since it was cleared."""


def note(**seen: Any) -> None:
    for kind, value in seen.items():
        SEEN.setdefault(kind, []).append(value)


class Toy(Viewable, Encodable):
    """A linear map to 4 x 4 pixels, x = 1/2 + gain A z, brighter from the left."""

    def __init__(self, name: str = "toy", *, gain: float = 1.0, camera: Any = None) -> None:
        super().__init__(camera, OWN, (4, 4), style=(3,), rest=(2,))
        weight = torch.linspace(-1, 1, 48 * 5).sin().view(48, 5) / 9
        self.weight = nn.Parameter(weight if name == "toy" else weight.flip(0), False)
        self.gain = gain

    def scene(self, blocks: Mapping[str, Tensor]) -> Tensor:
        time.sleep(DELAY)
        z = torch.cat([blocks["style"], blocks["rest"]], dim=1)
        note(batch=len(z), dtype=self.weight.dtype)
        return (0.5 + self.gain * z @ self.weight.T).unflatten(1, (3, 4, 4))

    def photograph(self, scene: Tensor, camera: Camera) -> Tensor:
        note(azimuth=camera.azimuth)
        azimuth, _ = camera.angles(scene)
        return scene * (1 + azimuth.sin() / 4).view(-1, 1, 1, 1)

    def aim(self, u: Tensor) -> Camera:
        return Camera(azimuth=10 * u[:, 0], elevation=0.0)

    def encode(self, image: Tensor, rng: Any) -> Tensor:
        note(encoded=len(image))
        return (image.flatten(1) - 0.5) @ self.weight.to(image) / self.weight.square().sum(0)


def load(
    x: Any,
    *,
    family: str | None = None,
    card: str | None = None,
    device: Any = "cpu",
    dtype: Any = None,
    **options: Any,
) -> Toy:
    """What `zoo.load` is replaced by."""
    note(loaded=(str(x), family, card, str(device)))
    toy = Toy(str(x), **options).eval().requires_grad_(False)
    return toy.to(device=device, dtype=dtype or torch.float32)


if __name__ == "__main__":
    from latentzoo.cli import main

    zoo.load = load
    main()
