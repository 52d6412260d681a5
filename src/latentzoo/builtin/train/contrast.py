r"""Trains the text-image model.

What the attribute guide sees of every picture is computed once, of several disturbed copies; the guide stays as it is.
What is learned is the meaning of texts: the text tower, and a common space. The space starts as that of the guide's log
odds, one number per value of an attribute, and there the vector of a text is known up to its length: for each attribute
:math:`k` that it speaks of, what it allows, :math:`t_k \propto a_k - \bar a_k`, and 0 for all others. The text tower is
taught this meaning, :math:`1 - \langle T(c), t(c) \rangle`, beside the match with pictures.

The truth is known for every pair of a batch, so that no pair is guessed wrong: with :math:`y_{ij} = 1` where
text :math:`j` is true of picture :math:`i`,

.. math:: \ell = -\frac{1}{BC} \sum_{ij} w_{ij} \log \operatorname{sigmoid}\big((2 y_{ij} - 1)(a\, s_{ij} + b)\big)

where the weights :math:`w` give true and false pairs of a text the same say. Beside the text that is true of each
picture there is one that is *nearly* true: said of an avatar with one attribute changed. The pair of the two weighs as
much as all other pairs of that text, because "a yellow hat" and "a red hat" are what guidance has to tell apart.
"""

import dataclasses
import random
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.builtin.attributes import SIZES, guide
from latentzoo.builtin.avatars import FREQUENCIES, HIDDEN, NAMES, VALUES, Avatar, Predicate
from latentzoo.builtin.captions import describe, parse, vocabulary, words
from latentzoo.builtin.networks.clip import LENGTH, Contrast
from latentzoo.builtin.train.augment import disturb, regenerate
from latentzoo.builtin.train.data import Pictures, fingerprint, remember
from latentzoo.builtin.train.trained import autoencoder
from latentzoo.builtin.train.trainer import Recipe, tile

MOST = max(map(len, VALUES.values()))


def avatar(indices: list[int]) -> Avatar:
    """The avatar of attribute indices."""
    return Avatar(**{n: VALUES[n][i] for n, i in zip(NAMES, indices, strict=True)})


def neighbour(avatar: Avatar, stream: random.Random) -> Avatar:
    """The avatar with one visible attribute changed to another value."""
    hidden = HIDDEN.items()
    open_to_change = [n for n in NAMES if (n, getattr(avatar, n)) not in hidden]
    name = stream.choice(open_to_change)
    others = [v for v in FREQUENCIES[name] if v != getattr(avatar, name)]
    return dataclasses.replace(avatar, **{name: stream.choice(others)})


def near_miss(avatar: Avatar, stream: random.Random, attempts: int = 10) -> str:
    """A text that is false of the avatar, by one attribute; true, if every attempt happened to be."""
    text = ""
    for _ in range(attempts):
        text = describe(neighbour(avatar, stream), stream)
        if not avatar.satisfies(parse(text)):
            break
    return text


def allowed(predicate: Predicate) -> list[list[bool]]:
    """Which value of which attribute a predicate allows, 13 rows of MOST."""
    return [
        [value in predicate.get(name, VALUES[name]) for value in VALUES[name]]
        + [False] * (MOST - len(VALUES[name]))
        for name in NAMES
    ]


def truth(labels: Tensor, tables: Tensor) -> Tensor:
    """Which of C texts is true of which of B pictures, `(B, C)`, from `(B, 13)` and `(C, 13, MOST)`."""
    return tables[:, torch.arange(len(NAMES)), labels].all(-1).T


def meaning(tables: Tensor) -> Tensor:
    """The unit vectors of texts in the space of the guide's log odds, `(C, N)`, from `(C, 13, MOST)`."""
    parts = [tables[:, k, :size].float() for k, size in enumerate(SIZES.values())]
    return F.normalize(torch.cat([F.normalize(a - a.mean(1, keepdim=True)) for a in parts], 1))


def batch_tokens(texts: list[str]) -> Tensor:
    """The word numbers of texts, `(C, L)`, 0 after the end of the shorter ones."""
    numbers = {word: i + 1 for i, word in enumerate(vocabulary())}
    rows = [[numbers[w] for w in words(text)][:LENGTH] for text in texts]
    longest = max(map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


class ContrastRecipe(Recipe):
    """Creates the recipe.

    Arguments:
        pictures: The training pictures with their labels.
        batch: Pictures per step.
        said: Of how many of them something is said, and something nearly true.
        regenerated: The share of pictures that go through the autoencoder.
        noise: The most noise in its latent.
        copies: How many disturbed copies of each picture there are.
        meaning: The weight of the meaning of texts beside the match; a text should say nothing of what it does
            not speak of.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        batch: int = 768,
        said: int = 96,
        regenerated: float = 0.4,
        noise: float = 0.5,
        copies: int = 3,
        meaning: float = 3.0,
    ) -> None:
        self.pictures, self.batch, self.said = pictures, batch, said
        self.regenerated, self.noise, self.copies = regenerated, noise, copies
        self.weight = meaning
        self.guide = guide()
        self.network = Contrast(len(vocabulary()) + 1, sum(SIZES.values()))
        self.network.image.load_state_dict(self.guide.heads.linear.state_dict())
        name = f"seen-{copies}-{pictures.name}-{fingerprint(self.guide)}.npy"
        self.seen = remember(pictures.folder / name, self._see)
        self.players: dict[str, nn.Module] = {"network": self.network}

    @torch.no_grad()
    def _see(self) -> Tensor:
        """What the guide sees of every picture, disturbed in as many ways, `(N, copies, M)` in half precision."""
        stream, pair, seen = torch.Generator().manual_seed(0), autoencoder(), []
        for chunk in torch.arange(len(self.pictures)).split(256):
            x, views = self.pictures.at(chunk), []
            for _ in range(self.copies):
                again = torch.rand(len(x), generator=stream) < self.regenerated
                y = x.clone()
                y[again] = regenerate(x[again], pair.encoder, pair.decoder, self.noise, stream)
                views.append(self.guide.features(disturb(y, stream)).half())
            seen.append(torch.stack(views, dim=1))
        return torch.cat(seen)

    def losses(
        self, step: int, stream: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """One loss: the balanced log likelihood of what is true, and what the texts mean."""
        chosen = self.pictures.choose(self.batch, stream)
        labels = self.pictures.labels_at(chosen)
        speaker = random.Random(int(torch.randint(2**31, (), generator=stream)))
        shown = [avatar(row) for row in labels[: self.said].tolist()]
        texts = [describe(a, speaker) for a in shown] + [near_miss(a, speaker) for a in shown]
        tables = torch.tensor([allowed(parse(text)) for text in texts])
        y, tokens = truth(labels, tables).float(), batch_tokens(texts)
        copy = torch.randint(self.copies, chosen.shape, generator=stream)
        said = self.network.text(tokens)
        logits = self.network.compare(self.seen[chosen, copy].float(), said)
        share = y.mean(0, keepdim=True).clamp(1 / self.batch, 1 - 1 / self.batch)
        own = torch.eye(self.batch)[:, : len(shown)].repeat(1, 2) * self.batch
        weight = 0.25 * y / share + 0.25 * (1 - y) / (1 - share) + 0.5 * own
        match = F.binary_cross_entropy_with_logits(logits, y, weight)
        missed = 1 - (said * meaning(tables)).sum(1).mean()
        yield "network", {"match": match, "meaning": self.weight * missed}

    @torch.no_grad()
    def preview(self, averaged: Mapping[str, nn.Module]) -> Tensor:
        """For each of four texts, the sixteen pictures of 512 that match it best."""
        texts = [
            "a person with sunglasses and a yellow hat",
            "a person with red hair and a beard",
            "a smiling person without glasses",
            "someone with a hijab and round glasses",
        ]
        x = self.pictures.first(512)
        scores = averaged["network"](self.guide.features(x), batch_tokens(texts))
        return tile(torch.cat([x[s.topk(16).indices] for s in scores.T]), 16)

    def export(self, averaged: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """The averaged weights."""
        return averaged["network"].state_dict()
