r"""Aligning a face by five landmarks: both eyes, the nose, both corners of the mouth.

The similarity that brings points :math:`x_i` nearest to :math:`y_i` in the sum of squares has a closed form. With means
:math:`\bar x, \bar y`, and :math:`\tfrac1n \sum_i (y_i - \bar y)(x_i - \bar x)^\top = U D V^\top`,

.. math::
    R = U S V^\top, \qquad c = \frac{\operatorname{tr}(D S)}{\tfrac1n \sum_i |x_i - \bar x|^2}, \qquad
    t = \bar y - c R \bar x, \qquad S = \operatorname{diag}(1, \det U V^\top)

References:
    | Least-Squares Estimation of Transformation Parameters Between Two Point Patterns (Umeyama, 1991)
    | https://doi.org/10.1109/34.88573
    | ArcFace: Additive Angular Margin Loss for Deep Face Recognition (Deng et al., 2018)
    | https://arxiv.org/abs/1801.07698
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from latentzoo.errors import ImageError

SIDE = 256
FACE = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
"""Where the network expects them in 112 x 112 pixels, as (x, y)."""
LEFT, TOP, CROP = 32.0, 35.0, 188 / 112
"""Where the energy's crop of 256 x 256 pixels lies, and how much larger it is."""


def template() -> Float[Tensor, "5 2"]:
    """Where the landmarks belong in a picture of 256 x 256 pixels, so that the crop finds them, as (x, y)."""
    face = torch.tensor(FACE, dtype=torch.float64)
    return (face + 0.5) * CROP - 0.5 + torch.tensor([LEFT, TOP], dtype=torch.float64)


def similarity(x: Float[Tensor, "N 2"], y: Float[Tensor, "N 2"]) -> Float[Tensor, "2 3"]:
    """The similarity (c R, t) that brings points x nearest to points y.

    Raises:
        ImageError: If the points x are all one.
    """
    x, y = x.double(), y.double()
    mean_x, mean_y = x.mean(0), y.mean(0)
    spread = (x - mean_x).square().sum(1).mean()
    if not spread > 0:
        raise ImageError("the landmarks are all one point; give five different ones")
    u, d, vt = torch.linalg.svd((y - mean_y).T @ (x - mean_x) / len(x))
    s = torch.stack([torch.ones_like(spread), torch.linalg.det(u @ vt).sign()])
    scaled = (d * s).sum() / spread * (u * s) @ vt
    return torch.cat([scaled, (mean_y - scaled @ mean_x)[:, None]], 1)


def align(
    image: Float[Tensor, "1 3 h w"], landmarks: Float[Tensor, "5 2"]
) -> Float[Tensor, "1 3 256 256"]:
    """Turns, scales and moves a picture so that its landmarks are where the identity energy looks; outside is grey.

    Arguments:
        image: The picture, in [0, 1].
        landmarks: Left eye, right eye, nose, left and right corner of the mouth, as seen, in pixels (x, y).

    Raises:
        ImageError: If the landmarks are all one point.
    """
    matrix = similarity(landmarks, template())
    scale = float(torch.linalg.det(matrix[:, :2]).sqrt())
    if scale < 1:  # a picture that shrinks is smoothed first
        size = [max(1, round(n * scale)) for n in image.shape[2:]]
        shrunk = F.interpolate(image, size, mode="bilinear", antialias=True)
        ratio = landmarks.new_tensor([size[1] / image.shape[3], size[0] / image.shape[2]])
        landmarks, image = (landmarks + 0.5) * ratio - 0.5, shrunk
        matrix = similarity(landmarks, template())
    at = torch.arange(SIDE, dtype=torch.float64)
    place = torch.stack(torch.meshgrid(at, at, indexing="xy"), 2)
    source = (place - matrix[:, 2]) @ torch.linalg.inv(matrix[:, :2]).T
    size = torch.tensor([image.shape[3], image.shape[2]], dtype=torch.float64)
    grid = ((source + 0.5) * 2 / size - 1)[None].to(image)
    return F.grid_sample(image - 0.5, grid, mode="bilinear", align_corners=False) + 0.5
