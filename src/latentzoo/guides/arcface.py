r"""IR-SE50: the face-identity network trained with the ArcFace loss.

A residual network with squeeze-and-excitation, from faces of 112 x 112 pixels to unit vectors of 512 numbers. Its
attribute names are those of the file `model_ir_se50.pth`.

References:
    | ArcFace: Additive Angular Margin Loss for Deep Face Recognition (Deng et al., 2018)
    | https://arxiv.org/abs/1801.07698
    | Squeeze-and-Excitation Networks (Hu et al., 2017), https://arxiv.org/abs/1709.01507
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo import picture
from latentzoo.errors import ImageError
from latentzoo.guides.landmarks import align
from latentzoo.guides.roles import Faces
from latentzoo.hub.fit import fit
from latentzoo.hub.read import read

WIDTHS = (64, 128, 256, 512)
UNITS = (3, 4, 14, 3)
SIDE = 112
FINDER = "face-api"


class ArcFace(Faces):
    """Creates the network; pictures are cropped to the face as FFHQ aligns it.

    Arguments:
        units: The number of residual units of the four stages.
    """

    finder = FINDER

    def __init__(self, units: tuple[int, ...] = UNITS) -> None:
        super().__init__()
        stem = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.input_layer = nn.Sequential(stem, nn.BatchNorm2d(64), nn.PReLU(64))
        self.body = nn.Sequential(*_stages(units))
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Identity(),
            nn.Flatten(),
            nn.Linear(512 * 7 * 7, 512),
            nn.BatchNorm1d(512),
        )

    def forward(self, face: Float[Tensor, "B 3 112 112"]) -> Float[Tensor, "B 512"]:
        """Embeds faces as unit vectors."""
        return F.normalize(self.output_layer(self.body(self.input_layer(face))), dim=1)

    def embed(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B d"]:
        return self(crop(image))

    def read(self, path: str | Path) -> Float[Tensor, "1 3 h w"]:
        return read_reference(path)

    def align(
        self, image: Float[Tensor, "1 3 h w"], landmarks: Float[Tensor, "5 2"]
    ) -> Float[Tensor, "1 3 H W"]:
        return align(image, landmarks)


class Cropped(Faces):
    """Creates the network that gives another the face that ArcFace sees, (B, 3, 112, 112) in [0, 1]."""

    finder = FINDER

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def embed(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B d"]:
        return self.network(crop(image))


class Unit(nn.Module):
    """Creates a residual unit; the stride is in its second convolution and in the shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        if inputs == outputs:
            self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        else:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut_layer = nn.Sequential(conv, nn.BatchNorm2d(outputs))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            SqueezeExcite(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut_layer(x) + self.res_layer(x)


class SqueezeExcite(nn.Module):
    """Creates the gate of the channels by their means."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


def _stages(units: tuple[int, ...]) -> Iterator[Unit]:
    inputs = 64
    for width, count in zip(WIDTHS, units, strict=True):
        for i in range(count):
            yield Unit(inputs, width, 2 if i == 0 else 1)
            inputs = width


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
    """Reads a reference as the paper did: its shorter edge becomes 112 pixels; one that is no square is warned of.

    Raises:
        ImageError: If it is not a picture.
    """
    pixels = picture.to_uint8(picture.read_square(path))[0]
    height, width = pixels.shape[:2]
    short = min(height, width)
    size = (int(SIDE * width / short), int(SIDE * height / short))
    small = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255


def load(path: str | Path) -> ArcFace:
    """Reads `model_ir_se50.pth`, or a file of the same layout."""
    tensors = read(path).tensors
    return fit(ArcFace(_units(tensors)), tensors, source=str(path))


def _units(tensors: dict[str, Tensor]) -> tuple[int, ...]:
    """The units per stage, from the widths of the second convolutions."""
    blocks = {
        int(k.split(".")[1]): v.shape[0]
        for k, v in tensors.items()
        if k.endswith("res_layer.3.weight")
    }
    widths = list(blocks.values())
    return tuple(widths.count(width) for width in (64, 128, 256, 512)) if widths else UNITS
