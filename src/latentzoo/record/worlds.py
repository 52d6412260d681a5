"""A picture from one world to another, by the names of their generators; see `diffusion.translate`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from latentzoo import picture, zoo
from latentzoo.diffusion import translate
from latentzoo.rng import Domain, Rng


def translated(
    image: Path,
    source: str,
    target: str,
    *,
    options: Mapping[str, Any],
    seed: int = 0,
    strength: float | None = None,
    device: str = "cpu",
) -> Float[Tensor, "1 3 H W"]:
    """Encodes a picture in one world and decodes it in another (CycleDiffusion).

    Arguments:
        image: The picture's file.
        source: The generator of its world.
        target: The generator of the other world.
        options: The arguments of both maps.
        seed: The seed of the noise.
        strength: The strength of SDEdit, which is used instead and knows the target alone; None translates.
        device: Where the networks run.

    Raises:
        LatentzooError: If the picture cannot be read, or the two cannot be translated between.
    """
    there = zoo.load(target, device=device, **options)
    original = picture.read(image, there.size).to(device)
    rng = Rng(seed, domain=Domain.PICTURE, device=device)
    if strength is not None:
        return translate.sdedit(original, there, rng, strength=strength)
    here = zoo.load(source, device=device, **options)
    return translate.translate(original, here, there, rng)
