r"""The angular margin that makes an embedding of identities.

.. math:: \ell = -\log \frac{e^{s \cos(\theta_y + m)}}{e^{s \cos(\theta_y + m)} + \sum_{j \ne y} e^{s \cos\theta_j}}

References:
    | ArcFace: Additive Angular Margin Loss for Deep Face Recognition (Deng et al., 2018)
    | https://arxiv.org/abs/1801.07698
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


class Margin(nn.Module):
    """Creates the loss; it has a direction per person.

    Arguments:
        people: The number of persons.
        features: The dimension of the embedding.
        scale: The factor :math:`s` of the cosines.
        margin: The angle :math:`m` in radians.
    """

    def __init__(
        self, people: int, features: int, scale: float = 16.0, margin: float = 0.3
    ) -> None:
        super().__init__()
        self.direction = nn.Parameter(torch.randn(people, features))
        self.scale, self.margin = scale, margin

    def forward(
        self, embedded: Float[Tensor, "B N"], person: Int[Tensor, "B"]
    ) -> Float[Tensor, ""]:
        """The mean loss of unit vectors."""
        cosine = embedded @ F.normalize(self.direction, dim=1).T
        own = cosine.gather(1, person[:, None]).clamp(-1 + 1e-6, 1 - 1e-6)
        moved = cosine.scatter(1, person[:, None], (own.acos() + self.margin).cos())
        return F.cross_entropy(self.scale * moved, person)
