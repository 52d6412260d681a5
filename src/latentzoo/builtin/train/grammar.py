r"""Teaches a text encoder what captions assert, before any picture is seen.

What a caption allows of an attribute's values, in their usual proportions, is a distribution :math:`q`. With states
:math:`h_1, \dots, h_L` of the tokens, a linear head on each and one on the pooled states,

.. math:: \ell = \sum_{a} \operatorname{KL}\big(q_a \,\|\, \operatorname{softmax} (W_p\, \mathrm{pool}(h))_a\big)
    + \frac{1}{n} \sum_{a, j} \operatorname{KL}\big(q_{a, \le j} \,\|\, \operatorname{softmax}(W_s h_j)_a\big)

over the attributes :math:`a`, where :math:`q_{\le j}` is what the words up to token :math:`j` allow: the encoder reads
from left to right. The pooling is the denoiser's own layer, so that it begins with what it should know.
"""

import random
from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.builtin.avatars import NAMES, VALUES, draw, marginals
from latentzoo.builtin.captions import describe, parse
from latentzoo.builtin.networks import text_to_image as parts
from latentzoo.builtin.train.trainer import Recipe

lesson = partial(describe, counts=(2, 3, 3, 2, 1), positive=0.85, colors=2)
"""A caption to learn from: it says more, and colours more often, than the grammar's own."""
SIZE = sum(map(len, VALUES.values()))


USUAL = marginals()


def allowed(text: str) -> list[float]:
    """What a text allows of each attribute's values, in their usual proportions; each attribute's sum to one."""
    said, shares = parse(text), []
    for name in NAMES:
        kept = [USUAL[name][v] * (v in said.get(name, VALUES[name])) for v in VALUES[name]]
        shares += [share / (sum(kept) or 1.0) for share in kept]
    return shares


def divergence(logits: Tensor, q: Tensor) -> Tensor:
    """The divergence of what logits `(..., 79)` say from distributions `(..., 79)`, summed over attributes, `(...)`."""
    sizes = [len(VALUES[name]) for name in NAMES]
    each = [
        (p * (p.clamp(min=1e-9).log() - x.log_softmax(-1))).sum(-1)
        for x, p in zip(logits.split(sizes, -1), q.split(sizes, -1), strict=True)
    ]
    return torch.stack(each).sum(0)


@cache
def _prefixes(text: str) -> list[list[float]]:
    words = text.split(" ")
    return [allowed(" ".join(words[: n + 1])) for n in range(len(words))]


@torch.no_grad()
def begin(encoder: Any, lift: Tensor) -> None:
    """Gives every token what it says by itself, and the first layer heads that look one token back and two back.

    The first coordinates of a state are the values of attributes, the last ones its place, as "yellow hat" needs them.

    Arguments:
        encoder: The text encoder.
        lift: How much more of a value texts with a token allow than texts do, `(symbols, SIZE)`.
    """
    tokens, places = encoder.get_input_embeddings().weight, _places(encoder)
    words, size = tokens.shape[1] - len(places), tokens.shape[1] // parts.HEADS
    nn.init.normal_(tokens, std=0.5)
    tokens[:, :SIZE] = 4 * lift
    tokens[:, words:] = 0
    places[:, :words] = 0
    places[:, words:] = 2 * torch.eye(len(places))
    attention = encoder.encoder.layers[0].self_attn
    for head, back in enumerate((1, 2)):
        rows = slice(size * head, size * (head + 1))
        attention.k_proj.weight[rows] = 0
        attention.q_proj.weight[rows] = 0
        attention.k_proj.weight[rows, words:] = 1.5 * torch.eye(size)
        # the query of place j is the key of place j - back
        attention.q_proj.weight[rows, words:] = 1.5 * torch.eye(size).roll(-back, 0)


def lifts(words: Any, count: int) -> Tensor:
    """For each symbol, how much more of a value texts with it allow than texts do, `(symbols, SIZE)`."""
    said = random.Random(0)
    texts = [lesson(draw(0, index), said) for index in range(count)]
    present = torch.zeros(count, len(words)).scatter_(1, parts.tokens(words, texts), 1.0)
    y = torch.tensor([allowed(text) for text in texts])
    return (present.T @ y + y.mean(0)) / (present.sum(0)[:, None] + 1) - y.mean(0)


def _places(encoder: Any) -> Tensor:
    return encoder.embeddings.position_embedding.weight


class Reader(nn.Module):
    """Creates a text encoder, the pooling of its states, and linear heads that say what a text allows.

    Arguments:
        counted: How many captions tell what a token says by itself.
    """

    def __init__(self, counted: int = 6000) -> None:
        super().__init__()
        self.tokenizer = parts.tokenizer()
        self.encoder = parts.text_encoder(len(self.tokenizer))
        self.pooled = parts.pooled()
        self.whole = nn.Linear(parts.TIME, SIZE)
        self.sofar = nn.Linear(parts.STATES, SIZE)
        begin(self.encoder, lifts(self.tokenizer, counted))
        with torch.no_grad():
            self.sofar.weight[:, :SIZE] += torch.eye(SIZE)
            usual = torch.tensor([USUAL[name][value] for name in NAMES for value in VALUES[name]])
            self.sofar.bias.copy_(usual.log())
            self.whole.bias.copy_(usual.log())

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The logits of the whole text, `(B, 79)`, and at every token, `(B, L, 79)`."""
        states = self.encoder(ids).last_hidden_state
        return self.whole(F.silu(self.pooled(states))), self.sofar(states)


class GrammarRecipe(Recipe):
    """Creates the recipe.

    Arguments:
        batch: Captions per step.
        avatars: How many avatars of the stream 0 they are about.
        counted: How many captions tell what a token says by itself.
    """

    def __init__(self, *, batch: int = 64, avatars: int = 24576, counted: int = 6000) -> None:
        self.batch, self.avatars = batch, avatars
        self.reader = Reader(counted)
        self.players: dict[str, nn.Module] = {"reader": self.reader}

    def losses(
        self, step: int, stream: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """One loss of two parts: the whole text, and the words so far."""
        said = random.Random(int(torch.randint(2**31, (1,), generator=stream)))
        texts = [lesson(draw(0, said.randrange(self.avatars)), said) for _ in range(self.batch)]
        ids, whole, sofar, seen = self.read(texts)
        a, b = self.reader(ids)
        each = divergence(b, sofar)
        losses = {"whole": divergence(a, whole).mean(), "sofar": (each * seen).sum() / seen.sum()}
        yield "reader", losses

    def read(self, texts: list[str]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Tokens `(B, L)`, what the texts allow, what they allow up to each token, and how much each token counts."""
        ids = parts.tokens(self.reader.tokenizer, texts)
        whole = torch.zeros(len(texts), SIZE)
        sofar, seen = torch.zeros(*ids.shape, SIZE), torch.zeros(ids.shape)
        for row, text in enumerate(texts):
            prefixes, at = _prefixes(text), 0
            for word, target in zip(text.split(" "), prefixes, strict=True):
                at += len(self._pieces(word))
                if at < ids.shape[1]:
                    sofar[row, at], seen[row, at] = torch.tensor(target), 1
            whole[row] = torch.tensor(prefixes[-1])
            # the padding has read the whole text, too
            sofar[row, at + 1 :], seen[row, at + 1 :] = whole[row], 0.2
        return ids, whole, sofar, seen

    @cache  # noqa: B019
    def _pieces(self, word: str) -> list[str]:
        return self.reader.tokenizer.tokenize(word)

    def preview(self, averaged: Mapping[str, nn.Module]) -> Tensor:
        """What is read wrongly in texts about new avatars, one row a text: bright where much is."""
        return self.mistakes(averaged["reader"])[None].repeat(3, 1, 1)

    @torch.no_grad()
    def mistakes(self, reader: nn.Module, count: int = 256) -> Tensor:
        """How much is read wrongly of each value, in texts about avatars that are not learnt from, `(count, 79)`."""
        said = random.Random(1)
        texts = [lesson(draw(99, n), said) for n in range(count)]
        logits, _ = reader(parts.tokens(self.reader.tokenizer, texts))
        sizes = [len(VALUES[name]) for name in NAMES]
        read = torch.cat([x.softmax(-1) for x in logits.split(sizes, -1)], -1)
        return (read - torch.tensor([allowed(text) for text in texts])).abs()

    def export(self, averaged: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """The text encoder and the pooling."""
        return {
            key: x
            for key, x in averaged["reader"].state_dict().items()
            if key.startswith(("encoder.", "pooled."))
        }
