"""The fields of GIRAFFE-HD: density and features at points."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.nn.volume import encode


class Field(nn.Module):
    """Creates a field: a trunk that gives the density, and a head that gives the features.

    Arguments:
        hidden: The width.
        blocks: The number of layers of the trunk after the first.
        z_dim: The size of the code.
        outputs: The number of features.
        downscale: What points are divided by before they are encoded.
        skip: After how many of the layers the point and the code are added again; None for never.
        octaves: The number of octaves of an encoded point.
        octaves_view: The number of octaves of an encoded direction.
        views: Whether the head sees the direction; its layer is there in any case.
    """

    def __init__(
        self,
        hidden: int,
        blocks: int,
        z_dim: int,
        outputs: int,
        *,
        downscale: float,
        skip: int | None = None,
        octaves: int = 10,
        octaves_view: int = 4,
        views: bool = False,
    ) -> None:
        super().__init__()
        self.octaves, self.octaves_view, self.views = octaves, octaves_view, views
        self.downscale, self.skip = downscale, skip
        self.fc_in = nn.Linear(6 * octaves, hidden)
        self.fc_z = nn.Linear(z_dim, hidden)
        self.blocks = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(blocks))
        if skip is not None:
            self.fc_z_skip = nn.Linear(z_dim, hidden)
            self.fc_p_skip = nn.Linear(6 * octaves, hidden)
        self.sigma_out = nn.Linear(hidden, 1)
        self.fc_z_view = nn.Linear(z_dim, hidden)
        self.feat_view = nn.Linear(hidden, hidden)
        self.fc_view = nn.Linear(6 * octaves_view, hidden)
        self.feat_out = nn.Linear(hidden, outputs)

    def forward(
        self,
        points: Float[Tensor, "B N 3"],
        ways: Float[Tensor, "B N 3"],
        shape: Float[Tensor, "B Z"],
        shade: Float[Tensor, "B Z"],
    ) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N C"]]:
        """The raw density and the features at points seen along rays, for the codes of the trunk and of the head."""
        p = encode(points / self.downscale, self.octaves)
        x = (self.fc_in(p) + self.fc_z(shape)[:, None]).relu()
        for i, block in enumerate(self.blocks, start=1):
            x = block(x).relu()
            if i == self.skip:
                x = x + self.fc_z_skip(shape)[:, None] + self.fc_p_skip(p)
        feature = self.feat_view(x) + self.fc_z_view(shade)[:, None]
        if self.views:
            way = F.normalize(ways, dim=2) / self.downscale
            feature = (feature + self.fc_view(encode(way, self.octaves_view))).relu()
        return self.sigma_out(x).squeeze(2), self.feat_out(feature)
