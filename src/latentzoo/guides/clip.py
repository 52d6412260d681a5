r"""CLIP, by the tensor names of OpenAI's archives.

Two networks into one space: a transformer over the words of a text, and one over the patches of a picture, or a
residual network. Sizes are read off the tensors.

References:
    | Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021)
    | https://arxiv.org/abs/2103.00020
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from latentzoo.guides.clip_resnet import ResidualVision

HEAD = {1280: 80, 1408: 88, 1664: 104}
"""The width of a head of the picture's transformer, by its width, where it is not 64: ViT-H, ViT-g and ViT-bigG."""


class CLIP(nn.Module):
    """Creates the pair of networks.

    Arguments:
        embed_dim: The width of the common space.
        image_resolution: The picture's side in pixels.
        vision_layers, vision_width, vision_patch_size: The picture's transformer; or four numbers of layers and no
            patches for a residual network.
        context_length, vocab_size: The text's length and vocabulary.
        transformer_width, transformer_heads, transformer_layers: The text's transformer.
        exact: Whether the activation is the exact GELU, as in the models of LAION, and not OpenAI's.
    """

    def __init__(
        self,
        *,
        embed_dim: int,
        image_resolution: int,
        vision_layers: int | tuple[int, ...],
        vision_width: int,
        vision_patch_size: int | None = None,
        context_length: int,
        vocab_size: int,
        transformer_width: int,
        transformer_heads: int,
        transformer_layers: int,
        exact: bool = False,
    ) -> None:
        super().__init__()
        self.side = image_resolution
        self.visual: nn.Module = (
            Vision(
                image_resolution,
                vision_patch_size or 32,
                vision_width,
                vision_layers,
                embed_dim,
                exact=exact,
            )
            if isinstance(vision_layers, int)
            else ResidualVision(image_resolution, vision_width, vision_layers, embed_dim)
        )
        mask = torch.full((context_length, context_length), -torch.inf).triu(1)
        self.transformer = Transformer(
            transformer_width, transformer_layers, transformer_heads, mask, exact=exact
        )
        self.token_embedding = nn.Embedding(vocab_size, transformer_width)
        self.positional_embedding = nn.Parameter(torch.empty(context_length, transformer_width))
        self.ln_final = nn.LayerNorm(transformer_width)
        self.text_projection = nn.Parameter(torch.empty(transformer_width, embed_dim))
        self.logit_scale = nn.Parameter(torch.empty(()))

    def encode_image(self, pixels: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B d"]:
        """Embeds normalised pictures; not yet of unit length."""
        return self.visual(pixels)

    def encode_text(self, tokens: Int64[Tensor, "N L"]) -> Float[Tensor, "N d"]:
        """Embeds token numbers, read off at the end token, the largest number; not yet of unit length."""
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        x = self.ln_final(self.transformer(x))
        return x[torch.arange(len(x), device=x.device), tokens.argmax(1)] @ self.text_projection


class Vision(nn.Module):
    """Creates the transformer over patches; the class token is read off."""

    def __init__(
        self, side: int, patch: int, width: int, layers: int, outputs: int, *, exact: bool = False
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty((side // patch) ** 2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        heads = width // HEAD.get(width, 64)
        self.transformer = Transformer(width, layers, heads, exact=exact)
        self.proj = nn.Parameter(torch.empty(width, outputs))

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.conv1(pixels).flatten(2).mT
        x = (
            torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1)
            + self.positional_embedding
        )
        return self.ln_post(self.transformer(self.ln_pre(x))[:, 0]) @ self.proj


class Transformer(nn.Module):
    """Creates residual attention blocks, normalised before each branch."""

    mask: Tensor | None

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        mask: Tensor | None = None,
        *,
        exact: bool = False,
    ) -> None:
        super().__init__()
        self.resblocks = nn.Sequential(*(Block(width, heads, exact=exact) for _ in range(layers)))
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        mask = None if self.mask is None else self.mask[:length, :length].to(x)
        for block in self.resblocks:
            x = block(x, mask)
        return x


class Block(nn.Module):
    """Creates an attention and a two-layer branch."""

    def __init__(self, width: int, heads: int, *, exact: bool = False) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=nn.Linear(width, 4 * width),
                gelu=nn.GELU() if exact else QuickGELU(),
                c_proj=nn.Linear(4 * width, width),
            )
        )

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class QuickGELU(nn.Module):
    r"""The activation :math:`x \sigma(1.702 x)`."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (1.702 * x).sigmoid()


def config(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Reads the constructor's arguments off the tensors of an archive."""
    size = {name: tuple(value.shape) for name, value in tensors.items()}
    text_width = size["ln_final.weight"][0]
    layers = lambda prefix: len(
        {k.split("resblocks.")[1].split(".")[0] for k in size if k.startswith(prefix)}
    )
    if "visual.layer1.0.conv1.weight" in size:
        side = round((size["visual.attnpool.positional_embedding"][0] - 1) ** 0.5)
        blocks = {tuple(k.split(".")[1:3]) for k in size if k.startswith("visual.layer")}
        stages = [stage for stage, _ in blocks]
        seeing = {
            "image_resolution": 32 * side,
            "vision_layers": tuple(stages.count(f"layer{i}") for i in range(1, 5)),
            "vision_width": size["visual.layer1.0.conv1.weight"][0],
        }
    else:
        width, _, patch, _ = size["visual.conv1.weight"]
        side = round((size["visual.positional_embedding"][0] - 1) ** 0.5)
        seeing = {
            "image_resolution": side * patch,
            "vision_layers": layers("visual.transformer."),
            "vision_width": width,
            "vision_patch_size": patch,
        }
    return {
        **seeing,
        "embed_dim": size["text_projection"][1],
        "context_length": size["positional_embedding"][0],
        "vocab_size": size["token_embedding.weight"][0],
        "transformer_width": text_width,
        "transformer_heads": text_width // 64,
        "transformer_layers": layers("transformer."),
    }
