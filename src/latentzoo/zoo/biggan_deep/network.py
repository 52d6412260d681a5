"""The network of BigGAN-deep: residual bottlenecks, each of which sees the latent and the class."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.options import Count, Natural, Positive
from latentzoo.zoo.biggan_deep.norms import ConditionalNorm, Norm
from latentzoo.zoo.biggan_deep.spectral import SpectralConv, SpectralLinear


class BigGANDeepNetwork(nn.Module):
    """Creates the network of BigGAN-deep.

    Arguments:
        layers: Per block, whether it doubles the resolution, and its input and output widths in
            multiples of the channel width; the first one begins at 4 x 4.
        channel_width: The unit of the widths.
        attention_layer_position: The block before which self-attention stands.
        z_dim: The size of the latent, and of the class embedding.
        num_classes: The number of classes.
        eps: What is added to the variances.
        n_stats: The number of truncations with stored statistics.
    """

    def __init__(
        self,
        *,
        layers: Sequence[Sequence[bool | int]],
        channel_width: Count = 128,
        attention_layer_position: Natural = 8,
        z_dim: Count = 128,
        num_classes: Count = 1000,
        eps: Positive = 1e-4,
        n_stats: Count = 51,
    ) -> None:
        super().__init__()
        self.n_stats, self.eps = n_stats, eps
        self.size = (4 * 2 ** sum(up for up, _, _ in layers),) * 2
        widths = [(channel_width * a, channel_width * b) for _, a, b in layers]
        self.embeddings = nn.Linear(num_classes, z_dim, bias=False)
        self.gen_z = SpectralLinear(2 * z_dim, 16 * widths[0][0])
        self.layers = nn.ModuleList()
        for i, ((up, _, _), (c_in, c_out)) in enumerate(zip(layers, widths, strict=True)):
            if i == attention_layer_position:
                self.layers.append(SelfAttention(c_in))
            self.layers.append(
                Block(
                    c_in,
                    c_out,
                    up=bool(up),
                    norm=lambda c: ConditionalNorm(c, 2 * z_dim, n_stats, eps),
                )
            )
        self.bn = Norm(channel_width, n_stats, eps)
        self.conv_to_rgb = SpectralConv(channel_width, channel_width, 3, used=3)

    def forward(
        self, z: Float[Tensor, "B Z"], label: Float[Tensor, "B K"], row: Float[Tensor, "N"]
    ) -> Float[Tensor, "B 3 H W"]:
        """Maps latents (B, Z), already scaled, to images in [-1, 1].

        Arguments:
            z: The latents, with shape (B, Z).
            label: The weights of the classes, with shape (B, K); one-hot, or any mixture.
            row: The weights of the stored statistics, with shape (N,): see `statistics_row`.
        """
        h = torch.cat([z, self.embeddings(label)], dim=1)
        x = self.gen_z(h).unflatten(1, (4, 4, -1)).movedim(-1, 1)
        for layer in self.layers:
            x = layer(x, h, row)
        return self.conv_to_rgb(self.bn(x, row).relu()).tanh()


class Block(nn.Module):
    """Creates a residual bottleneck block.

    Arguments:
        c_in: The width of the input.
        c_out: The width of the output; if it differs, the skip is the first half of the input.
        up: Whether the resolution doubles.
        norm: Makes a norm of a given width.
    """

    def __init__(
        self, c_in: int, c_out: int, *, up: bool, norm: Callable[[int], ConditionalNorm]
    ) -> None:
        super().__init__()
        c = c_in // 4
        self.up, self.skip = up, c_in if c_in == c_out else c_in // 2
        self.norms = nn.ModuleList([norm(c_in), norm(c), norm(c), norm(c)])
        self.convs = nn.ModuleList(
            [
                SpectralConv(c_in, c, 1),
                SpectralConv(c, c, 3),
                SpectralConv(c, c, 3),
                SpectralConv(c, c_out, 1),
            ]
        )

    def forward(self, x: Tensor, h: Tensor, row: Tensor) -> Tensor:
        y, skip = x, x[:, : self.skip]
        if self.up:
            skip = F.interpolate(skip, scale_factor=2)
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            y = norm(y, h, row).relu()
            if self.up and i == 1:
                y = F.interpolate(y, scale_factor=2)
            y = conv(y)
        return y + skip


class SelfAttention(nn.Module):
    """Creates self-attention from every pixel to the maxima of 2 x 2 patches."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.theta = SpectralConv(c, c // 8, 1, bias=False)
        self.phi = SpectralConv(c, c // 8, 1, bias=False)
        self.g = SpectralConv(c, c // 2, 1, bias=False)
        self.out = SpectralConv(c // 2, c, 1, bias=False)

    def forward(self, x: Tensor, h: Tensor, row: Tensor) -> Tensor:
        flat = lambda a: a.flatten(2).mT
        query = flat(self.theta(x))
        key, value = flat(F.max_pool2d(self.phi(x), 2)), flat(F.max_pool2d(self.g(x), 2))
        y = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return x + self.gamma * self.out(y.mT.unflatten(2, x.shape[2:]))
