r"""How far the person in a picture is from a reference.

.. math:: E(x) = 1 - \frac{1}{R} \sum_r \langle f(x), f(x_r) \rangle

:math:`f` embeds faces as unit vectors. The references are read and embedded once, when the energy is made.

References:
    | ArcFace: Additive Angular Margin Loss for Deep Face Recognition (Deng et al., 2018)
    | https://arxiv.org/abs/1801.07698
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo import picture
from latentzoo.energies.base import Energy
from latentzoo.errors import ImageError, SpecError
from latentzoo.guides.arcface import SIDE, UNITS, ArcFace
from latentzoo.guides.files import fill
from latentzoo.guides.landmarks import align
from latentzoo.hub.read import read


class Identity(Energy):
    """Creates the identity energy.

    Arguments:
        network: Embeds faces of 112 x 112 pixels as unit vectors.
        references: Pictures of the person, each (1, 3, h, w) in [0, 1] with the face as FFHQ aligns it.

    Raises:
        SpecError: If there is no reference.
    """

    embedded: Tensor
    usual = 2500.0  # the paper's

    def __init__(self, network: nn.Module, references: Sequence[Float[Tensor, "1 3 h w"]]) -> None:
        super().__init__()
        if not references:
            raise SpecError("an identity needs at least one reference picture; give its path")
        self.network = network.eval().requires_grad_(False)
        with torch.no_grad():
            embedded = torch.cat([self.network(crop(reference)) for reference in references])
        self.register_buffer("embedded", embedded, persistent=False)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        return 1 - (self.network(crop(image)) @ self.embedded.T).mean(1)


def crop(image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 112 112"]:
    """Pools FFHQ-aligned pictures to 256 pixels, takes the face, and pools it to 112.

    Values stay in [0, 1], as the paper gave them to the network.

    Raises:
        ImageError: If a picture of height 256 has another width, where the face cannot be found.
    """
    if image.shape[2] == 256 != image.shape[3]:
        raise ImageError(
            f"pictures of 256x{image.shape[3]} are not square, so the face is not where it should be"
        )
    whole = image if image.shape[2] == 256 else F.adaptive_avg_pool2d(image, 256)
    return F.adaptive_avg_pool2d(whole[:, :, 35:223, 32:220], SIDE)


def read_reference(path: str | Path) -> Float[Tensor, "1 3 h w"]:
    """Reads a reference as the paper did: its shorter edge becomes 112 pixels.

    Raises:
        ImageError: If it is not a picture.
    """
    pixels = picture.to_uint8(picture.read(path))[0]
    height, width = pixels.shape[:2]
    short = min(height, width)
    size = (int(SIDE * width / short), int(SIDE * height / short))
    small = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255


def load(path: str | Path) -> ArcFace:
    """Reads `model_ir_se50.pth`, or a file of the same layout."""
    tensors = read(path).tensors
    return fill(ArcFace(_units(tensors)), tensors, source=str(path))


def _units(tensors: dict[str, Tensor]) -> tuple[int, ...]:
    """The units per stage, from the widths of the second convolutions."""
    blocks = {
        int(k.split(".")[1]): v.shape[0]
        for k, v in tensors.items()
        if k.endswith("res_layer.3.weight")
    }
    widths = list(blocks.values())
    return tuple(widths.count(width) for width in (64, 128, 256, 512)) if widths else UNITS


def build(
    target: str,
    *,
    model: str | None = None,
    landmarks: Sequence[Any] | None = None,
    **options: Any,
) -> Energy:
    """Reads references, paths with commas between them.

    Arguments:
        target: The paths of the references.
        model: The network: a file of IR-SE50, or `avatar-id`.
        landmarks: Five landmarks of each reference that is not aligned as FFHQ is, ten numbers x, y, ... in pixels:
            left eye, right eye, nose, left and right corner of the mouth, as seen.
        options: Further arguments of the energy.

    Raises:
        SpecError: If no network is named, or there are not ten numbers for each reference.
    """
    paths = [path.strip() for path in target.split(",")]
    if model == "avatar-id":
        from latentzoo.builtin.identity import AvatarIdentity

        return AvatarIdentity(*paths, **options)
    if model is None:
        raise SpecError(
            "an identity needs its network; give the path of model_ir_se50.pth as the model"
        )
    if landmarks is None:
        return Identity(load(model), [read_reference(path) for path in paths], **options)
    numbers = torch.tensor(landmarks, dtype=torch.float64).flatten()
    if numbers.numel() != 10 * len(paths):
        raise SpecError(
            f"{numbers.numel()} numbers are given for the landmarks of {len(paths)} references; give ten for each"
        )
    five = numbers.view(len(paths), 5, 2)
    faces = [align(picture.read(path), at) for path, at in zip(paths, five, strict=True)]
    return Identity(load(model), faces, **options)
