"""From settings to a BigGAN-deep with random weights."""

from typing import Any

from latentzoo.options import Natural, Positive
from latentzoo.zoo.biggan_deep.map import BigGANDeep
from latentzoo.zoo.biggan_deep.network import BigGANDeepNetwork


def build(
    *,
    class_index: Natural = 0,
    truncation: float = 1.0,
    bound: Positive | None = 2.0,
    **config: Any,
) -> BigGANDeep:
    """Builds a generator from the arguments of `BigGANDeep` and of `BigGANDeepNetwork`."""
    return BigGANDeep(
        BigGANDeepNetwork(**config), class_index=class_index, truncation=truncation, bound=bound
    )
