r"""Where a face is: found once, then cut out the same way for a whole run.

The finder answers with boxes; in the best one, 68 landmarks are looked for. As dlib's faces are cut, a square has its
side a multiple of the mean distance d from the eyes to the mouth, and their centre of gravity c stands a little above
its middle,

.. math:: s = d / 0.45, \qquad (x, y) = c - (0.5, 0.43) \, s

The cut is fixed numbers: what is differentiated is the picture inside of it.

References:
    | Dlib-ml: A Machine Learning Toolkit (King, 2009)
    | face-api.js (Muehler, 2018), https://github.com/justadudewhohacks/face-api.js
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.errors import ImageError, UnknownName
from latentzoo.guides import faceapi, packages
from latentzoo.guides.classifier import Classifier

SURE = 0.0
"""The least logit of a face, one half as a probability."""
LEFT_EYE, RIGHT_EYE, MOUTH = slice(36, 42), slice(42, 48), slice(48, 68)
SCALE, ABOVE = 0.45, 0.43


class Cut(NamedTuple):
    """A square of a picture, in shares of its side: the left, the top and the side."""

    left: float
    top: float
    side: float

    def __call__(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 h h"]:
        """Cuts it out, to whole pixels; what lies outside of the picture is black."""
        H, W = image.shape[2:]
        longest = max(H, W)
        left, top = round(self.left * longest), round(self.top * longest)
        side = max(1, round(self.side * longest))
        outside = (-left, left + side - W, -top, top + side - H)
        image = F.pad(image, [max(0, n) for n in outside])
        left, top = max(0, left), max(0, top)
        return image[:, :, top : top + side, left : left + side]

    def __str__(self) -> str:
        return f"left {self.left:.3f}, top {self.top:.3f}, side {self.side:.3f}"


FFHQ = Cut(0.19, 0.26, 0.62)
"""Where the face is in a picture that is aligned as FFHQ's are."""


class Finding:
    """Creates what finds faces, from the folder of face-api's files."""

    def __init__(self) -> None:
        folder = packages.fetch("face-api")
        self.finder = faceapi.load("finder", folder)
        self.landmarks = faceapi.load("landmarks", folder)

    @torch.no_grad()
    def __call__(self, image: Float[Tensor, "1 3 H W"], *, source: str) -> Cut:
        """Finds the face of a picture.

        Arguments:
            image: The picture, in [0, 1].
            source: What to call it in errors.

        Raises:
            ImageError: If there is no face, or more than one that is as large.
        """
        H, W = image.shape[2:]
        longest = max(H, W)
        square = F.pad(image, (0, longest - W, 0, longest - H))
        boxes, logits = self.finder(square)
        best = int(logits[0].argmax())
        if logits[0, best] < SURE:
            raise ImageError(
                f"{source}: no face is found in it; give a picture of one face, upright and in front"
            )
        left, top, right, bottom = boxes[0, best].tolist()
        box = Cut(left, top, max(right - left, bottom - top))
        points = self.landmarks(box(square)).view(68, 2).double() * box.side
        points = points + torch.tensor([box.left, box.top], dtype=torch.float64)
        centres = torch.stack([points[part].mean(0) for part in (LEFT_EYE, RIGHT_EYE, MOUTH)])
        side = float((centres[:2] - centres[2]).norm(dim=1).mean()) / SCALE
        x, y = centres.mean(0).tolist()
        return Cut(x - 0.5 * side, y - ABOVE * side, side)


MODEL = "face-api"
"""What an energy's `model` is called where it is one of the networks here."""
CUTS = {"ffhq": FFHQ, "whole": Cut(0.0, 0.0, 1.0)}


def cut(name: str) -> Cut:
    """The cut of pictures that are aligned in a known way.

    Raises:
        UnknownName: If there is no such way.
    """
    if name not in CUTS:
        raise UnknownName("place of a face", name, CUTS)
    return CUTS[name]


class Years(nn.Module):
    """Creates face-api's network of age: faces to years, (B,)."""

    def __init__(self) -> None:
        super().__init__()
        self.network = faceapi.load("age", packages.fetch(MODEL))

    def forward(self, face: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B"]:
        return self.network(face)[0]


def expressions(face: str = "ffhq") -> Classifier:
    """Face-api's network of expressions as a classifier of pictures.

    Arguments:
        face: Where the face is, see `cut`.
    """
    network = faceapi.load("expression", packages.fetch(MODEL))
    return Classifier(network, cut(face), faceapi.EXPRESSIONS)


def recognition() -> nn.Module:
    """Dlib's network of identity, by face-api."""
    return faceapi.load("recognition", packages.fetch(MODEL))
