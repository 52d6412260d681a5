r"""Where a face is: found once, then cut out the same way for a whole run.

The finder answers with boxes; in the best one, 68 landmarks are looked for. As dlib's faces are cut, a square has its
side a multiple of the mean distance d from the eyes to the mouth, and their centre of gravity c stands a little above
its middle,

.. math:: s = d / 0.45, \qquad (x, y) = c - (0.5, 0.43) \, s

The cut is fixed numbers, which stand in the record of a run: what is differentiated is the picture inside of it.

References:
    | Dlib-ml: A Machine Learning Toolkit (King, 2009)
    | face-api.js (Muehler, 2018), https://github.com/justadudewhohacks/face-api.js
"""

import warnings
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.errors import ImageError, SpecError, UnknownName
from latentzoo.guides import faceapi

SURE = 0.0
"""The least logit of a face, one half as a probability."""
LEFT_EYE, RIGHT_EYE, MOUTH = slice(36, 42), slice(42, 48), slice(48, 68)
SCALE, ABOVE = 0.45, 0.43
SHARED = 0.4  # how much of a box another one may cover and be of another face
LARGEST = 4.0  # the side of a cut, in sides of the picture
DIGITS = 4  # of a cut that was found, so that the record tells it exactly


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

    def framed(self, image: Float[Tensor, "1 3 H W"], face: "Cut") -> Float[Tensor, "1 3 h h"]:
        """Cuts out the square of which this is the cut of a face that is at `face` in a picture."""
        side = face.side / self.side
        return Cut(face.left - self.left * side, face.top - self.top * side, side)(image)


FFHQ = Cut(0.19, 0.26, 0.62)
"""Where the face is in a picture that is aligned as FFHQ's are."""
CUTS = {"ffhq": FFHQ, "whole": Cut(0.0, 0.0, 1.0)}
Face = str | Sequence[float]
"""Where the face is, in words: "ffhq", "whole", or the three numbers of a cut."""


def cut(face: Face) -> Cut:
    """The cut that words mean.

    Raises:
        UnknownName: If there is no such way to align pictures.
        SpecError: If the numbers are no square that touches a picture.
    """
    if isinstance(face, str):
        if face not in CUTS:
            raise UnknownName(
                "place of a face", face, CUTS, shown="or give its left, top and side"
            )
        return CUTS[face]
    if len(face) != 3 or not all(map(isfinite, face)) or not 0 < face[2] <= LARGEST:
        raise SpecError(
            f"the face {list(face)} is no square; give its left, top and side in shares of the picture's longer side"
        )
    found = Cut(*face)
    if min(found.left, found.top) + found.side <= 0 or max(found.left, found.top) >= 1:
        raise SpecError(
            f"the face {list(face)} lies outside of the picture; give shares from 0 to 1"
        )
    return found


def apart(boxes: Float[Tensor, "N 4"], logits: Float[Tensor, "N"]) -> list[int]:
    """The boxes of different faces, the surest first: of boxes that share more than `SHARED`, the surest stays.

    Arguments:
        boxes: Left, top, right and bottom.
        logits: How sure it is that a face is in each.
    """
    found: list[int] = []
    for i in logits.argsort(descending=True).tolist():
        if logits[i] < SURE:
            break
        if all(shared(boxes[i], boxes[j]) <= SHARED for j in found):
            found.append(i)
    return found


def shared(a: Float[Tensor, "4"], b: Float[Tensor, "4"]) -> float:
    """The area that two boxes have in common, in shares of the smaller one."""
    both = (torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])).clamp_min(0).prod()
    return float(both / torch.minimum(*((x[2:] - x[:2]).prod() for x in (a, b))).clamp_min(1e-9))


class Finding(nn.Module):
    """Creates what finds faces, from the folder of face-api's files."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__()
        self.finder = faceapi.load("finder", folder)
        self.landmarks = faceapi.load("landmarks", folder)

    @torch.no_grad()
    def forward(self, image: Float[Tensor, "1 3 H W"], *, source: str) -> Cut:
        """Finds the face of a picture; of several, the one that is surest, and warns that there are others.

        Arguments:
            image: The picture, in [0, 1].
            source: What to call it in errors.

        Raises:
            ImageError: If there is no face.
        """
        H, W = image.shape[2:]
        longest = max(H, W)
        square = F.pad(image, (0, longest - W, 0, longest - H))
        boxes, logits = self.finder(square)
        found = apart(boxes[0], logits[0])
        if not found:
            raise ImageError(
                f"{source}: no face is found in it; give a picture of one face, upright and in front"
            )
        if len(found) > 1:
            warnings.warn(
                f"{source}: {len(found)} faces are found in it, and the surest one is taken; cut out the one that is "
                "meant, or give its place as reference=",
                stacklevel=2,
            )
        best = found[0]
        left, top, right, bottom = boxes[0, best].tolist()
        box = Cut(left, top, max(right - left, bottom - top))
        points = self.landmarks(box(square)).view(68, 2).double() * box.side
        points = points + torch.tensor([box.left, box.top], dtype=torch.float64)
        centres = torch.stack([points[part].mean(0) for part in (LEFT_EYE, RIGHT_EYE, MOUTH)])
        side = float((centres[:2] - centres[2]).norm(dim=1).mean()) / SCALE
        x, y = centres.mean(0).tolist()
        return Cut(*(round(n, DIGITS) for n in (x - 0.5 * side, y - ABOVE * side, side)))
