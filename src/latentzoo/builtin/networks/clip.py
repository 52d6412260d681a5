r"""A text-image contrastive model: two towers into one space of unit vectors.

.. math:: s(x, c) = \langle I(x), T(c) \rangle, \qquad |I| = |T| = 1

The text tower is a small transformer over the words of the caption grammar. The image tower is what the attribute
guide sees, :math:`f(x)`, turned and normalised: :math:`I(x) = W f(x) / |W f(x)|`. The guide was trained to see
all there is to say and not to be fooled; it is frozen, and shared with its own weight file.

References:
    | Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021)
    | https://arxiv.org/abs/2103.00020
    | Sigmoid Loss for Language Image Pre-Training (Zhai et al., 2023), https://arxiv.org/abs/2303.15343
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

LENGTH = 32
SEEN = 256
"""The number of features that the attribute guide has of a picture."""


class TextTower(nn.Module):
    """Creates the text tower: word numbers `(B, L)`, 0 where there is none, to unit vectors `(B, out)`.

    Arguments:
        words: The size of the vocabulary, number 0 included.
        out: The number of features put out.
        width: The number of features per word.
        depth: The number of layers.
    """

    def __init__(self, words: int, out: int, width: int = 128, depth: int = 3) -> None:
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
    """Creates the text tower and the projection of what is seen, with the scale and bias that turn a cosine into the
    log odds of a match.

    Arguments:
        words: The size of the vocabulary, number 0 included.
        features: The dimension of the common space.
    """

    def __init__(self, words: int, features: int) -> None:
        super().__init__()
        self.image = nn.Linear(SEEN, features)
        self.text = TextTower(words, features)
        self.scale = nn.Parameter(torch.tensor(3.0))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def look(self, seen: Float[Tensor, "B M"]) -> Float[Tensor, "B N"]:
        """The unit vectors of pictures of which the guide saw so much."""
        return F.normalize(self.image(seen), dim=1)

    def compare(
        self, seen: Float[Tensor, "B M"], said: Float[Tensor, "C N"]
    ) -> Float[Tensor, "B C"]:
        """The log odds that each text, of this unit vector, is true of each picture."""
        return self.scale.exp() * self.look(seen) @ said.T + self.bias

    def forward(
        self, seen: Float[Tensor, "B M"], tokens: Int[Tensor, "C L"]
    ) -> Float[Tensor, "B C"]:
        """The log odds that each text is true of each picture."""
        return self.compare(seen, self.text(tokens))
