"""From settings to a StyleSDF with random weights."""

from collections.abc import Sequence
from typing import Any

from latentzoo.nn.mapping import Mapping
from latentzoo.nn.style import Synthesis
from latentzoo.options import Count, Positive
from latentzoo.zoo.stylesdf.field import Field
from latentzoo.zoo.stylesdf.map import StyleSDF
from latentzoo.zoo.stylesdf.network import StyleSDFNetwork


def build(
    *,
    widths: Sequence[Count] = (512, 256, 128, 64, 32),
    width: Count = 256,
    depth: Count = 8,
    w_dim: Count = 512,
    lr: Positive = 0.01,
    resolution: Count = 64,
    samples: Count = 24,
    even: bool = True,
    still: bool = True,
    unit: bool = True,
    opaque: bool = True,
    signed: bool = True,
    **options: Any,
) -> StyleSDF:
    """Builds a generator with random weights.

    Arguments:
        widths: The channels of the decoder from the rendered image's size up; empty for a field
            alone.
        width: The width of the field and of its style.
        depth: The number of layers of the field.
        w_dim: The size of the decoder's style.
        lr: The learning rate multiplier of the decoder's mapping.
        resolution: The side of the rendered image.
        samples: The number of depths along a ray.
        even: How the depths are spaced: see `StyleSDFNetwork`.
        still: Which direction the field sees: see `StyleSDFNetwork`.
        unit: Whether points are scaled so that depths go from -1 to 1.
        opaque: Whether the last sample takes all the light that is left.
        signed: Whether the field is a signed distance, or a raw density.
        options: The arguments of the map: see `StyleSDF`.
    """
    network = StyleSDFNetwork(
        Field(width, depth),
        Mapping(width, w_dim, layers=5, lr=lr) if widths else None,
        Synthesis(widths, w_dim, start=resolution, features=width) if widths else None,
        resolution=resolution,
        samples=samples,
        even=even,
        still=still,
        unit=unit,
        opaque=opaque,
        signed=signed,
    )
    return StyleSDF(network, **options)
