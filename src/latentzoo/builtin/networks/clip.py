r"""A text-image contrastive model: two towers into one space of unit vectors.

.. math:: s(x, c) = \langle I(x), T(c) \rangle, \qquad |I| = |T| = 1

The text tower is a small transformer over the words of the caption grammar.

References:
    | Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021)
    | https://arxiv.org/abs/2103.00020
    | Sigmoid Loss for Language Image Pre-Training (Zhai et al., 2023), https://arxiv.org/abs/2303.15343
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.builtin.networks.recognizer import Tower

LENGTH = 32


class TextTower(nn.Module):
    """Creates the text tower: word numbers `(B, L)`, 0 where there is none, to unit vectors `(B, out)`.

    Arguments:
        words: The size of the vocabulary, number 0 included.
        out: The number of features put out.
        width: The number of features per word.
        depth: The number of layers.
    """

    def __init__(self, words: int, out: int, width: int = 96, depth: int = 3) -> None:
        super().__init__()
        self.word = nn.Embedding(words, width)
        self.place = nn.Parameter(0.02 * torch.randn(LENGTH, width))
        layer = nn.TransformerEncoderLayer(
            width, 4, 3 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.out = nn.Linear(width, out)

    def forward(self, tokens: Int[Tensor, "B L"]) -> Float[Tensor, "B N"]:
        """The unit vectors of texts."""
        there = (tokens > 0).unsqueeze(-1)
        x = self.word(tokens) + self.place[: tokens.shape[1]]
        x = self.layers(x, src_key_padding_mask=tokens == 0)
        pooled = (x * there).sum(1) / there.sum(1).clamp(min=1)
        return F.normalize(self.out(pooled), dim=1)


class Contrast(nn.Module):
    """Creates the pair of towers, with the scale and bias that turn a cosine into the odds of a match.

    Arguments:
        words: The size of the vocabulary, number 0 included.
        features: The dimension of the common space.
    """

    def __init__(self, words: int, features: int = 128) -> None:
        super().__init__()
        self.image = Tower(features)
        self.text = TextTower(words, features)
        self.scale = nn.Parameter(torch.tensor(3.0))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def compare(
        self, seen: Float[Tensor, "B M"], tokens: Int[Tensor, "C L"]
    ) -> Float[Tensor, "B C"]:
        """The log odds that each text is true of each picture, of which the image tower's trunk was seen."""
        image = F.normalize(self.image.out(seen), dim=1)
        return self.scale.exp() * image @ self.text(tokens).T + self.bias

    def forward(
        self, image: Float[Tensor, "B 3 64 64"], tokens: Int[Tensor, "C L"]
    ) -> Float[Tensor, "B C"]:
        """The log odds that each text is true of each picture."""
        return self.compare(self.image.trunk(image), tokens)
