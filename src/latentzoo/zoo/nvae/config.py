"""From settings to an NVAE with random weights."""

from typing import Any

from latentzoo.options import Natural, Positive, Weight
from latentzoo.zoo.nvae.map import NVAE
from latentzoo.zoo.nvae.network import NVAEDecoder


def build(
    *, temperature: Weight = 1.0, free: Natural = 0, bound: Positive | None = None, **config: Any
) -> NVAE:
    """Builds a generator from the arguments of `NVAE` and of `NVAEDecoder`."""
    return NVAE(NVAEDecoder(**config), temperature=temperature, free=free, bound=bound)
