"""The networks of DiffAE: the blocks of its U-Net, the encoder of pictures, and the network of codes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentzoo.nn import adm


class ResBlock(adm.Residual):
    """Creates a residual block that reads the time and a code.

    Arguments:
        i: The number of channels in.
        o: The number of channels out.
        features: The number of features of the time, and of numbers of the code.
        resample: What happens to the sides.
    """

    def __init__(self, i: int, o: int, features: int, resample: adm.Resample = adm.keep) -> None:
        super().__init__(i, o, resample)
        self.emb_layers = adm.project(features, 2 * o)
        self.cond_emb_layers = adm.project(features, o)
        self.out_layers = adm.second_half(o)

    def finish(self, h: Tensor, time: Tensor, code: Tensor) -> Tensor:
        norm, *rest = self.out_layers
        scale, shift = self.emb_layers(time)[..., None, None].chunk(2, dim=1)
        h = norm(h) * (1 + scale) + shift
        h = h * (1 + self.cond_emb_layers(code)[..., None, None])
        for layer in rest:
            h = layer(h)
        return h


class HalfBlock(adm.Residual):
    """Creates a residual block of the encoder, which knows no time and has no second half."""

    def finish(self, h: Tensor, time: None, context: None) -> Tensor:
        return h


class SemanticEncoder(nn.Module):
    """Creates the semantic encoder: the way down of a U-Net, then the mean over all positions.

    Arguments:
        channels: The number of the pictures' channels.
        style: The length of the code.
        plan: The levels and their parts.
    """

    def __init__(self, channels: int, style: int, plan: adm.Plan) -> None:
        super().__init__()
        self.input_blocks, widths = plan.contract(channels)
        c = widths[-1]
        self.middle_block = plan.middle(c)
        self.out = nn.Sequential(
            adm.normalise(c), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, style, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps pictures (B, channels, H, W) in [-1, 1] to codes (B, style)."""
        for stage in self.input_blocks:
            x = stage(x)
        return self.out(self.middle_block(x)).flatten(1)


class LatentNet(nn.Module):
    """Creates the network of codes: a perceptron whose every layer sees its input again.

    Arguments:
        style: The length of the code.
        hidden: The number of features between its layers.
        layers: The number of layers.
        width: The number of features of the time before they are mapped.
    """

    def __init__(self, style: int, hidden: int, layers: int, width: int = 64) -> None:
        super().__init__()
        self.style, self.width = style, width
        self.time_embed = nn.Sequential(
            nn.Linear(width, style), nn.SiLU(), nn.Linear(style, style)
        )
        sizes = [style] + (layers - 1) * [hidden + style]
        hiddens = [LatentLayer(i, hidden, style) for i in sizes[:-1]]
        self.layers = nn.ModuleList([*hiddens, LastLayer(sizes[-1], style)])

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        """The noise (B, style) in codes (B, style) at times (B,)."""
        time = F.silu(self.time_embed(adm.time_features(t, self.width)))
        h = z
        for n, layer in enumerate(self.layers):
            h = layer(torch.cat((h, z), dim=1) if n else h, time)
        return h


class LatentLayer(nn.Module):
    """Creates a layer whose features the time scales before they are normalised."""

    def __init__(self, i: int, o: int, time: int) -> None:
        super().__init__()
        self.linear, self.linear_emb = nn.Linear(i, o), nn.Linear(time, o)
        self.norm = nn.LayerNorm(o)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Maps (B, i) and the activated time (B, T) to (B, o)."""
        return F.silu(self.norm(self.linear(x) * (1 + self.linear_emb(time))))


class LastLayer(nn.Module):
    """Creates the last layer, which is linear."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.linear = nn.Linear(i, o)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Maps (B, i) to (B, o), whatever the time."""
        return self.linear(x)
