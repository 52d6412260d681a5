r"""The field of StyleSDF: sines of styled linear maps.

.. math:: y = \sin(\gamma(w) \, (W x + b) + \beta(w))
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Field(nn.Module):
    """Creates the field: sines of styled linear maps, and three heads.

    Arguments:
        width: The width of its layers, which is that of its style.
        depth: The number of layers before the heads.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.width = width
        inputs = [3] + [width] * (depth - 1)
        self.layers = nn.ModuleList(StyledSine(i, width, width) for i in inputs)
        self.view = StyledSine(width + 3, width, width)
        self.rgb = nn.Linear(width, 3)
        self.distance = nn.Linear(width, 1)

    def forward(
        self,
        points: Float[Tensor, "B N 3"],
        views: Float[Tensor, "B N 3"],
        w: Float[Tensor, "B W"],
    ) -> tuple[Float[Tensor, "B N 3"], Float[Tensor, "B N"], Float[Tensor, "B N W"]]:
        """The logits of the colour, the signed distance and the features at points seen from directions."""
        x = points
        for layer in self.layers:
            x = layer(x, w)
        distance = self.distance(x).squeeze(2)
        feature = self.view(torch.cat([x, views], dim=2), w)
        return self.rgb(feature), distance, feature


class StyledSine(nn.Module):
    """Creates the layer y = sin(gamma(w) (W x + b) + beta(w)).

    Arguments:
        inputs: The number of inputs.
        outputs: The number of outputs.
        w_dim: The number of style coordinates.
    """

    def __init__(self, inputs: int, outputs: int, w_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.gamma = nn.Linear(w_dim, outputs)
        self.beta = nn.Linear(w_dim, outputs)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        gamma, beta = 15 * self.gamma(w) + 30, 0.25 * self.beta(w)
        return torch.sin(gamma[:, None] * self.linear(x) + beta[:, None])
