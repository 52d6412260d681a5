r"""The two fields of StyleNeRF: density, colours and features at points.

The foreground's linear maps are modulated and demodulated as the convolutions of a StyleGAN2,

.. math:: y_o = \frac{\sum_i W_{oi} \, s_i \, x_i}{\sqrt{\sum_i (W_{oi} \, s_i)^2 + 10^{-8}}} + b_o, \qquad s = A w

The background's are plain, and see a point :math:`(p, 1/r)` outside of the unit sphere beside the latent.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.nn.mapping import Linear, activate
from latentzoo.nn.volume import encode


class StyledField(nn.Module):
    """Creates the field of the foreground: modulated linear maps.

    Arguments:
        hidden: The width.
        layers: The number of layers before the heads.
        w_dim: The number of style coordinates.
        outputs: The number of features.
        octaves: The number of octaves of an encoded point.
    """

    def __init__(self, hidden: int, layers: int, w_dim: int, outputs: int, octaves: int) -> None:
        super().__init__()
        self.octaves, self.styles, self.w_dim = octaves, layers + 2, w_dim
        self.fc_in = StyledLinear(6 * octaves, hidden, w_dim)
        self.blocks = nn.ModuleList(StyledLinear(hidden, hidden, w_dim) for _ in range(layers - 1))
        self.sigma_out = StyledLinear(hidden, 1, w_dim, head=True)
        self.feat_out = StyledLinear(hidden, outputs, w_dim, head=True)
        self.to_rgb = Linear(outputs, 3)

    def forward(
        self, points: Float[Tensor, "B N 3"], ws: Float[Tensor, "B L W"]
    ) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N F"]]:
        """The raw density, and colours and features, at points."""
        *inner, sigma, feature = ws[:, : self.styles].unbind(1)
        x = encode(points, self.octaves)
        for layer, w in zip([self.fc_in, *self.blocks], inner, strict=True):
            x = layer(x, w)
        value = self.feat_out(x, feature)
        return self.sigma_out(x, sigma).squeeze(2), torch.cat([self.to_rgb(value), value], dim=2)


class StyledLinear(nn.Module):
    """Creates a modulated linear map with bias; a head is neither demodulated nor activated.

    Arguments:
        inputs: The number of inputs.
        outputs: The number of outputs.
        w_dim: The number of style coordinates.
        head: Whether this is a head.
    """

    def __init__(self, inputs: int, outputs: int, w_dim: int, *, head: bool = False) -> None:
        super().__init__()
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.head = head

    def forward(
        self, x: Float[Tensor, "B N I"], w: Float[Tensor, "B W"]
    ) -> Float[Tensor, "B N O"]:
        style = self.affine(w) / (math.sqrt(x.shape[2]) if self.head else 1)
        kernel = self.weight * style[:, None]
        if not self.head:
            kernel = kernel * torch.rsqrt(kernel.square().sum(dim=2, keepdim=True) + 1e-8)
        x = x @ kernel.mT + self.bias
        return x if self.head else activate(x)


class PlainField(nn.Module):
    """Creates the field of the background: linear maps with ReLU on a point and a latent.

    Arguments:
        hidden: The width.
        layers: The number of layers before the heads.
        z_dim: The size of the latent.
        outputs: The number of features.
        octaves: The number of octaves of an encoded point.
    """

    def __init__(self, hidden: int, layers: int, z_dim: int, outputs: int, octaves: int) -> None:
        super().__init__()
        self.octaves, self.z_dim = octaves, z_dim
        self.fc_in = nn.Linear(8 * octaves + z_dim, hidden)
        self.blocks = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(layers - 1))
        self.sigma_out = nn.Linear(hidden, 1)
        self.feat_out = nn.Linear(hidden, outputs)
        self.to_rgb = Linear(outputs, 3)

    def forward(
        self, points: Float[Tensor, "B N 4"], z: Float[Tensor, "B Z"]
    ) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N F"]]:
        """The raw density, and colours and features, at points."""
        p = encode(points, self.octaves)
        x = torch.cat([p, z[:, None].expand(-1, p.shape[1], -1)], dim=2)
        for layer in (self.fc_in, *self.blocks):
            x = layer(x).relu()
        value = self.feat_out(x)
        return self.sigma_out(x).squeeze(2), torch.cat([self.to_rgb(value), value], dim=2)


def outside(
    origin: Float[Tensor, "B 3"], direction: Float[Tensor, "B N 3"], inverse: Float[Tensor, "S"]
) -> Float[Tensor, "B N S 4"]:
    """The points of rays at inverse distances from the origin, beyond the unit sphere: (direction,
    1/r).

    The ray meets the sphere at a point that is then turned towards the ray's infinity, about the
    axis through the origin that is perpendicular to the ray, by asin(m) - asin(m / r) with m the
    ray's distance from the origin.

    Arguments:
        origin: Where the rays begin, on or in the unit sphere, with shape (B, 3).
        direction: Their directions, with shape (B, N, 3).
        inverse: The inverse distances 1/r in [0, 1], with shape (S,).
    """
    o = origin[:, None]
    squared = direction.square().sum(dim=2, keepdim=True)
    middle = o - direction * (o * direction).sum(dim=2, keepdim=True) / squared
    m = middle.norm(dim=2, keepdim=True)
    hit = middle + direction * ((1 - m.square()) / squared).sqrt()
    axis = F.normalize(torch.cross(o.expand_as(hit), hit, dim=2), dim=2)[:, :, None]
    angle = (m.asin() - (m * inverse).asin())[..., None]
    hit = hit[:, :, None]
    across = torch.cross(axis, hit, dim=3)
    along = axis * (axis * hit).sum(dim=3, keepdim=True) * (1 - angle.cos())
    turned = F.normalize(hit * angle.cos() + across * angle.sin() + along, dim=3)
    return torch.cat([turned, inverse[:, None].expand(*turned.shape[:3], 1)], dim=3)
