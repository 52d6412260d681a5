r"""The blocks of StyleSwin: attention within plain and shifted windows, then an MLP, on tokens that a style norms.

.. math:: x \leftarrow x + P \, (a_0(\tilde{x}) \oplus a_1(\tilde{x})), \qquad
    x \leftarrow x + \mathrm{MLP}(\tilde{x}), \qquad
    \tilde{x} = \gamma(w) \, \frac{x - \mu(x)}{\sigma(x)} + \beta(w)
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from latentzoo.nn.mapping import Linear


class Block(nn.Module):
    """Creates a block: attention in plain and in shifted windows side by side, then an MLP.

    Arguments:
        c: The width.
        style_dim: The size of the style.
        window: The side of the windows.
        shift: By how much the second half of the heads shifts them.
        mlp_ratio: The hidden width of the MLP, in widths.
        qkv_bias: Whether queries, keys and values have a bias.
        scale: What multiplies the products of queries and keys.
    """

    def __init__(
        self,
        c: int,
        style_dim: int,
        window: int,
        shift: int,
        mlp_ratio: float,
        qkv_bias: bool,
        scale: float | None,
    ) -> None:
        super().__init__()
        self.heads = max(c // 32, 4) // 2
        self.norm1 = StyledNorm(c, style_dim)
        self.qkv = nn.Linear(c, 3 * c, bias=qkv_bias)
        self.attn = nn.ModuleList(
            [WindowAttention(self.heads, window, s, scale) for s in (0, shift)]
        )
        self.proj = nn.Linear(c, c)
        self.norm2 = StyledNorm(c, style_dim)
        self.fc1 = nn.Linear(c, int(c * mlp_ratio))
        self.fc2 = nn.Linear(int(c * mlp_ratio), c)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Maps tokens (B, H, W, C) and styles (B, D) to tokens of the same shape."""
        halves = self.qkv(self.norm1(x, w)).unflatten(-1, (3, 2, self.heads, -1)).unbind(4)
        a = [attn(half) for attn, half in zip(self.attn, halves, strict=True)]
        x = x + self.proj(torch.cat(a, dim=-1))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x, w))))


class StyledNorm(nn.Module):
    """Creates an instance norm whose gain and offset are linear in the style."""

    def __init__(self, c: int, style_dim: int) -> None:
        super().__init__()
        self.style = Linear(style_dim, 2 * c)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        gamma, beta = self.style(w)[:, None, None].chunk(2, dim=-1)
        variance, mean = torch.var_mean(x, dim=(1, 2), correction=0, keepdim=True)
        return torch.addcmul(beta, gamma * (variance + 1e-5).rsqrt(), x - mean)


class WindowAttention(nn.Module):
    """Creates attention within square windows, with a learned bias per relative position.

    Shifted windows reach over the right and lower edges to the opposite sides; a mask keeps apart what is not adjacent
    in the map. It has four patterns: the window is in the last row or not, and in the last column or not.

    Arguments:
        heads: The number of heads.
        window: The side of the windows.
        shift: By how much they are moved right and down.
        scale: What multiplies the products of queries and keys.
    """

    index: Tensor
    mask: Tensor

    def __init__(self, heads: int, window: int, shift: int, scale: float | None) -> None:
        super().__init__()
        self.window, self.shift, self.scale = window, shift, scale
        self.bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        at = torch.cartesian_prod(torch.arange(window), torch.arange(window))
        dy, dx = (at[:, None] - at[None] + window - 1).unbind(-1)
        self.register_buffer("index", dy * (2 * window - 1) + dx, persistent=False)
        wrapped = at >= window - shift
        y, x = (wrapped[:, None] != wrapped[None]).unbind(-1)
        apart = torch.stack([torch.zeros_like(x), x, y, y | x]).unflatten(0, (2, 2))
        self.register_buffer("mask", -100.0 * apart, persistent=False)

    def forward(self, qkv: Tensor) -> Tensor:
        """Maps queries, keys and values (B, H, W, 3, heads, d) to values (B, H, W, heads d)."""
        n, s = self.window, self.shift
        bias = self.bias_table[self.index].movedim(-1, 0)
        windows = "t b y x h (i j) d"
        qkv = rearrange(qkv.roll((-s, -s), (1, 2)), f"b (y i) (x j) t h d -> {windows}", i=n, j=n)
        values = self.shifted(qkv, bias) if s else self.attend(qkv, bias)
        values = rearrange(values, f"{windows[2:]} -> b (y i) (x j) (h d)", i=n)
        return values.roll((s, s), (1, 2))

    def shifted(self, qkv: Tensor, bias: Tensor) -> Tensor:
        """Attention over windows that are shifted, where those at the border hold parts of two."""
        rows = [
            zip(row.tensor_split([-1], dim=3), masks, strict=True)
            for row, masks in zip(qkv.tensor_split([-1], dim=2), self.mask, strict=True)
        ]
        parts = [[self.attend(part, bias + mask) for part, mask in row] for row in rows]
        return torch.cat([torch.cat(row, dim=2) for row in parts], dim=1)

    def attend(self, qkv: Tensor, bias: Tensor) -> Tensor:
        """Attention within each window."""
        q, k, v = qkv.flatten(1, 3)
        values = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None], scale=self.scale)
        return values.unflatten(0, qkv.shape[1:4])
