r"""Who a face is: an embedding in which the pictures of one person are near each other.

.. math:: E(x) = 1 - \cos\big(f(x), \bar f\big), \qquad \bar f = \frac{1}{R} \sum_r f(x_r)

A person is skin, hair and its colour, facial hair and eyebrows; expression, glasses, clothes and background are not.

References:
    | ArcFace: Additive Angular Margin Loss for Deep Face Recognition (Deng et al., 2018)
    | https://arxiv.org/abs/1801.07698
"""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from latentzoo.builtin.networks.recognizer import Tower
from latentzoo.builtin.weights import fill, tensors
from latentzoo.guides.roles import Faces
from latentzoo.hub.fit import fit
from latentzoo.hub.read import read

FEATURES = 128


class Embedding(Faces):
    """Creates the embedding: pictures `(B, 3, H, W)` to unit vectors `(B, 128)`; other sizes than 64 are resized."""

    usual = 100.0

    def __init__(self) -> None:
        super().__init__()
        self.tower = Tower(FEATURES, widths=(32, 64, 96))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N"]:
        """The unit vectors of pictures."""
        if image.shape[-2:] != (64, 64):
            image = F.interpolate(image, (64, 64), mode="bilinear", antialias=True)
        return F.normalize(self.tower(image), dim=1)

    def embed(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B d"]:
        return self(image)

    def merge(self, embedded: Float[Tensor, "R d"]) -> Float[Tensor, "r d"]:
        return F.normalize(embedded.mean(0, keepdim=True), dim=1)


def embedding() -> Embedding:
    """The trained embedding."""
    return fill(Embedding(), tensors("avatar-id"))


def load(path: str) -> Embedding:
    """Reads the embedding of a weight file."""
    return fit(Embedding(), read(path).tensors, source=path)
