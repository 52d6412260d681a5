"""From settings to a StyleSwin with random weights."""

from typing import Any

from latentzoo.options import Count, Positive
from latentzoo.zoo.styleswin.map import StyleSwin
from latentzoo.zoo.styleswin.network import StyleSwinNetwork


def build(
    *,
    truncation: float = 1.0,
    samples: Count = 50_000,
    mean: float | None = None,
    std: Positive | None = None,
    **config: Any,
) -> StyleSwin:
    """Builds a generator from the arguments of `StyleSwin` and of `StyleSwinNetwork`."""
    network = StyleSwinNetwork(**config)
    return StyleSwin(network, truncation=truncation, samples=samples, mean=mean, std=std)
