r"""The population study: the same guidance over several generators, judged by a network that never guided.

With avatars the truth is known: the renderer gives :math:`p(a \mid \text{text})` for every attribute exactly. Of each
generator's guided pictures the study says

* success: the share in which the held-out judge sees what the text says, with Wilson's 95 % interval;
* likeness, where a person was asked for: the cosine of what the judge says of who that is, :math:`q_k(v) - p_k(v)` over
  the attributes that make a person; success is a cosine above that of 99 in 100 pairs of two persons;
* diversity: the mean distance of two pictures in the judge's features, and the number of distinct combinations of
  attributes;
* bias: the mean over attributes of :math:`\tfrac12 \sum_v |\hat p(v) - p(v \mid \text{text})|`;
* cost: energy reached, gradients, seconds.

References:
    | Unifying Diffusion Models' Latent Space, with Applications to CycleDiffusion and Guidance
    | (Wu and De la Torre, 2022), https://arxiv.org/abs/2210.05559
    | Probable Inference, the Law of Succession, and Statistical Inference (Wilson, 1927)
"""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from latentzoo.builtin.attributes import judge, read, satisfied
from latentzoo.builtin.avatars import (
    IDENTITY,
    NAMES,
    VALUES,
    Predicate,
    marginals,
    portrait,
    probability,
)
from latentzoo.builtin.drawing import render
from latentzoo.builtin.networks.recognizer import Judge

FRESH = 6
"""The seed of persons that no network was trained on."""
COMBINED = ("hair", "hair_color", "hat", "hat_color", "glasses", "facial_hair", "skin")
"""The attributes whose combinations are counted as distinct."""


@dataclass(frozen=True)
class Finding:
    """What the judge found in the pictures of one generator under one text.

    Attributes:
        success: The share that shows what the text says, with its 95 % interval `low` to `high`.
        diversity: The mean distance of two pictures in the judge's features.
        combinations: How many distinct combinations of attributes there are.
        bias: The mean total variation of the attributes to the truth given the text; None where no avatar has them.
        successes: For every picture, whether it shows it.
        likeness: The mean cosine to the person asked for; None where a text was.
    """

    success: float
    low: float
    high: float
    diversity: float
    combinations: int
    bias: float | None
    successes: tuple[bool, ...]
    likeness: float | None = None


@cache
def _judge() -> Judge:
    return judge()


@torch.no_grad()
def find(image: Float[Tensor, "B 3 64 64"], text: str) -> Finding:
    """Judges pictures of avatars against a text, or an attribute such as `hat_color=yellow`."""
    features, reading = _look(image)
    predicate = read(text)
    seen = satisfied(reading, predicate)
    bias = None
    if probability(predicate) > 0:
        distances = variations(image, predicate).values()
        bias = sum(distances) / len(distances)
    return _finding(features, reading, seen, bias=bias)


@torch.no_grad()
def recognise(image: Float[Tensor, "B 3 64 64"], person: Float[Tensor, "1 3 64 64"]) -> Finding:
    """Judges pictures of avatars against a picture of a person.

    Raises:
        MissingExtra: The extra `avatars` is not installed, which draws the pairs of other persons.
    """
    features, reading = _look(image)
    cosine = who(image) @ who(person)[0]
    return _finding(features, reading, cosine > strangers(), likeness=float(cosine.mean()))


@torch.no_grad()
def variations(
    image: Float[Tensor, "B 3 64 64"], predicate: Predicate | None = None
) -> dict[str, float]:
    """For each attribute, the total variation between what the judge sees and the truth given a predicate."""
    truth, (_, reading) = marginals(predicate), _look(image)
    distances = {}
    for name in NAMES:
        exact = torch.tensor([truth[name][value] for value in VALUES[name]])
        values = reading[name].argmax(1)
        seen = torch.bincount(values, minlength=len(exact)) / len(values)
        distances[name] = float((seen - exact).abs().sum() / 2)
    return distances


@torch.no_grad()
def who(image: Float[Tensor, "B 3 64 64"]) -> Float[Tensor, "B N"]:
    """Who the judge thinks is in pictures: unit vectors."""
    reading, usual = _look(image)[1], marginals({"hat": frozenset({"none"})})
    parts = [
        reading[name].exp() - torch.tensor([usual[name][value] for value in VALUES[name]])
        for name in IDENTITY
    ]
    return F.normalize(torch.cat(parts, dim=1), dim=1)


@cache
def strangers(count: int = 128) -> float:
    """The cosine of :func:`who` that one in a hundred pairs of renders of two persons has.

    Raises:
        MissingExtra: The extra `avatars` is not installed.
    """
    drawn = [torch.from_numpy(render(portrait(FRESH, i, 0)).copy()) for i in range(count)]
    unit = who(torch.stack(drawn).permute(0, 3, 1, 2).float() / 255)
    pairs = torch.triu_indices(count, count, offset=1)
    return float((unit @ unit.T)[pairs[0], pairs[1]].quantile(0.99))


def _look(image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The judge's features and its log-probabilities."""
    network = _judge()
    features = network.features(image.clamp(0, 1))
    return features, network.heads(features)


def _finding(
    features: Tensor,
    reading: dict[str, Tensor],
    seen: Tensor,
    *,
    bias: float | None = None,
    likeness: float | None = None,
) -> Finding:
    low, high = wilson(int(seen.sum()), len(seen))
    combined = torch.stack([reading[name].argmax(1) for name in COMBINED], 1)
    return Finding(
        success=float(seen.float().mean()),
        low=low,
        high=high,
        diversity=float(torch.pdist(features).mean()) if len(features) > 1 else 0.0,
        combinations=len(combined.unique(dim=0)),
        bias=bias,
        successes=tuple(seen.tolist()),
        likeness=likeness,
    )


def wilson(successes: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share, :math:`z` standard errors wide on either side."""
    if count == 0:
        return 0.0, 1.0
    p, n = successes / count, count
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def rarity(text: str) -> float:
    """The exact probability that an avatar shows what a text, or an attribute, says."""
    return probability(read(text))
