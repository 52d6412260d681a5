r"""The population study: the same guidance over several generators, judged by a network that never guided.

With avatars the truth is known: the renderer gives :math:`p(a \mid \text{text})` for every attribute exactly. Of each
generator's guided pictures the study says

* success: the share in which the held-out judge sees what the text says, with Wilson's 95 % interval;
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

from latentzoo.builtin.attributes import judge, read, satisfied
from latentzoo.builtin.avatars import NAMES, VALUES, marginals, probability
from latentzoo.builtin.networks.recognizer import Judge

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
    """

    success: float
    low: float
    high: float
    diversity: float
    combinations: int
    bias: float | None
    successes: tuple[bool, ...]


@cache
def _judge() -> Judge:
    return judge()


@torch.no_grad()
def find(image: Float[Tensor, "B 3 64 64"], text: str) -> Finding:
    """Judges pictures of avatars against a text, or an attribute such as `hat_color=yellow`."""
    network, predicate = _judge(), read(text)
    features = network.features(image.clamp(0, 1))
    reading = network.heads(features)
    seen = satisfied({name: value.log_softmax(1) for name, value in reading.items()}, predicate)
    values = torch.stack([reading[name].argmax(1) for name in NAMES], 1)
    low, high = wilson(int(seen.sum()), len(seen))
    combined = values[:, [NAMES.index(name) for name in COMBINED]]
    return Finding(
        success=float(seen.float().mean()),
        low=low,
        high=high,
        diversity=float(torch.pdist(features).mean()) if len(image) > 1 else 0.0,
        combinations=len(combined.unique(dim=0)),
        bias=_bias(values, predicate) if probability(predicate) > 0 else None,
        successes=tuple(seen.tolist()),
    )


def _bias(values: Tensor, predicate: dict[str, frozenset[str]]) -> float:
    truth = marginals(predicate)
    distances = []
    for k, name in enumerate(NAMES):
        exact = torch.tensor([truth[name][value] for value in VALUES[name]])
        seen = torch.bincount(values[:, k], minlength=len(exact)) / len(values)
        distances.append(float((seen - exact).abs().sum() / 2))
    return sum(distances) / len(distances)


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
