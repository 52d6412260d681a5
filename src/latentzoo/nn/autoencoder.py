r"""Convolutional autoencoders with a code that a diffusion can model: the first stage of LDM.

.. math:: c = \mu(E(x)) \quad \text{(KL)}, \qquad c = E(x), \;\; \hat{x} = D(\arg\min_{e} \|e - c\|)
    \quad \text{(VQ)}

The code of KL is the mean of a Gaussian; that of VQ is replaced, before decoding, by the nearest
entries of a codebook, which the gradient passes as if they were not there.

Users: `zoo.ldm` (the files of CompVis), `zoo.ldm_diffusers` (the folders of diffusers).

References:
    | Taming Transformers for High-Resolution Image Synthesis (Esser et al., 2021)
    | https://arxiv.org/abs/2012.09841
    |
    | Neural Discrete Representation Learning (van den Oord et al., 2017)
    | https://arxiv.org/abs/1711.00937
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from latentzoo.nn import channels as pictures
from latentzoo.nn.ddpm import Downsample, Level, Middle, Upsample, normalise


class FirstStage(nn.Module, ABC):
    """The networks on both sides of a code; images are in [-1, 1].

    Arguments:
        channels: The number of channels of the code.
        latent: The number of channels between the networks and the code.
        moments: The factor of the encoder's channels; 2 where it also tells a variance.
        width: The number of channels at full resolution.
        mult: The multiple of `width` at each level; the sides halve from one to the next.
        depth: The number of residual blocks per level of the encoder (one more in the decoder).
        attention: The factors of downsampling at which attention follows each residual block.
        picture: The number of the images' channels: 3, or 1 where they are grey.
    """

    def __init__(
        self,
        *,
        channels: int,
        latent: int,
        moments: int,
        width: int,
        mult: Sequence[int],
        depth: int,
        attention: Collection[int],
        picture: int = 3,
    ) -> None:
        super().__init__()
        self.channels, self.factor = channels, 2 ** (len(mult) - 1)
        self.picture = pictures.require(picture)
        levels = (width, mult, depth, attention)
        self.encoder = Encoder(picture, moments * latent, *levels)
        self.decoder = Decoder(latent, picture, *levels)
        self.quant_conv = nn.Conv2d(moments * latent, moments * channels, 1)
        self.post_quant_conv = nn.Conv2d(channels, latent, 1)

    @abstractmethod
    def encode(self, image: Tensor) -> Tensor:
        """Maps images (B, picture, H, W) to codes (B, C, h, w)."""

    @abstractmethod
    def decode(self, code: Tensor) -> Tensor:
        """Maps codes (B, C, h, w) to images (B, picture, H, W)."""


class KL(FirstStage):
    """Creates an autoencoder with a Gaussian code, of which the mean is used."""

    def __init__(self, **shape: Any) -> None:
        super().__init__(moments=2, **shape)

    def encode(self, image: Tensor) -> Tensor:
        return self.quant_conv(self.encoder(image)).chunk(2, dim=1)[0]

    def decode(self, code: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(code))


class VQ(FirstStage):
    """Creates an autoencoder whose code is replaced by the nearest entries of a codebook.

    Arguments:
        codebook: The number of entries.
        quantise: Whether decoding replaces the code; its gradient passes as if it did not.
        shape: See `FirstStage`.
    """

    def __init__(self, codebook: int, *, quantise: bool = True, **shape: Any) -> None:
        super().__init__(moments=1, **shape)
        self.quantise = quantise
        self.quantize = Codebook(codebook, self.channels)

    def encode(self, image: Tensor) -> Tensor:
        return self.quant_conv(self.encoder(image))

    def decode(self, code: Tensor) -> Tensor:
        if self.quantise:
            code = code + (self.quantize(code.detach()) - code.detach())
        return self.decoder(self.post_quant_conv(code))


class Codebook(nn.Module):
    """Creates a codebook of vectors."""

    def __init__(self, entries: int, channels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(entries, channels)

    def forward(self, code: Tensor) -> Tensor:
        """The entries nearest to the pixels of codes (B, C, h, w), in that shape."""
        entries = self.embedding.weight
        norms = entries.square().sum(1)
        # In pieces: the distances of a whole batch to 8192 entries would outweigh the networks.
        index = [
            torch.addmm(norms, part, entries.mT, alpha=-2).argmin(1)
            for part in rearrange(code, "b c h w -> (b h w) c").split(2**12)
        ]
        flat = entries[torch.cat(index)]
        return rearrange(flat, "(b h w) c -> b c h w", b=len(code), h=code.shape[2])


class Encoder(nn.Module):
    """Creates the encoder, from images of `i` channels to `o` channels at the lowest level."""

    def __init__(
        self,
        i: int,
        o: int,
        width: int,
        mult: Sequence[int],
        depth: int,
        attention: Collection[int],
    ) -> None:
        super().__init__()
        self.conv_in, c = nn.Conv2d(i, width, 3, padding=1), width
        self.down = nn.ModuleList()
        for level, m in enumerate(mult):
            channels, c = [c] + (depth - 1) * [m * width], m * width
            down = Downsample(c) if level < len(mult) - 1 else None
            attends = 2**level in attention
            self.down.append(Level(channels, c, attention=attends, downsample=down))
        self.mid = Middle(c)
        self.norm_out, self.conv_out = normalise(c), nn.Conv2d(c, o, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, i, H, W) to (B, o, h, w)."""
        h = self.conv_in(x)
        for level in self.down:
            h = level(h)
        return self.conv_out(F.silu(self.norm_out(self.mid(h))))


class Decoder(nn.Module):
    """Creates the decoder, from `i` channels at the lowest level to images of `o` channels."""

    def __init__(
        self,
        i: int,
        o: int,
        width: int,
        mult: Sequence[int],
        depth: int,
        attention: Collection[int],
    ) -> None:
        super().__init__()
        c = mult[-1] * width
        self.conv_in, self.mid = nn.Conv2d(i, c, 3, padding=1), Middle(c)
        up = []
        for level, m in reversed(list(enumerate(mult))):
            channels, c = [c] + depth * [m * width], m * width
            passage = Upsample(c) if level > 0 else None
            attends = 2**level in attention
            up.insert(0, Level(channels, c, attention=attends, upsample=passage))
        self.up = nn.ModuleList(up)
        self.norm_out, self.conv_out = normalise(c), nn.Conv2d(c, o, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, i, h, w) to (B, o, H, W)."""
        h = self.mid(self.conv_in(x))
        for level in reversed(self.up):
            h = level(h)
        return self.conv_out(F.silu(self.norm_out(h)))


def read_shape(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Reads the arguments of `VQ` or `KL` from the tensors, by our names."""
    width, level, mult = len(tensors["encoder.conv_in.weight"]), 0, []
    while f"encoder.down.{level}.block.0.conv1.weight" in tensors:
        mult.append(len(tensors[f"encoder.down.{level}.block.0.conv1.weight"]) // width)
        level += 1
    depth = len(
        {k for k in tensors if re.fullmatch(r"encoder\.down\.0\.block\.\d+\.conv1\.bias", k)}
    )
    latent, channels = tensors["post_quant_conv.weight"].shape[:2]
    attends = [f"encoder.down.{i}.attn.0.norm.weight" in tensors for i in range(level)]
    shape: dict[str, Any] = {
        "channels": channels,
        "latent": latent,
        "width": width,
        "mult": mult,
        "depth": depth,
        "picture": tensors["encoder.conv_in.weight"].shape[1],
        "attention": [2**i for i in range(level) if attends[i]],
    }
    if "quantize.embedding.weight" in tensors:
        shape["codebook"] = len(tensors["quantize.embedding.weight"])
    return shape
