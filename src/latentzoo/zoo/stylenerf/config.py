"""From settings to a StyleNeRF with random weights."""

from collections.abc import Sequence
from typing import Any

from latentzoo.nn.mapping import Mapping
from latentzoo.options import Count, Natural
from latentzoo.zoo.stylenerf.field import PlainField, StyledField
from latentzoo.zoo.stylenerf.levels import Level
from latentzoo.zoo.stylenerf.map import StyleNeRF
from latentzoo.zoo.stylenerf.network import StyleNeRFNetwork


def build(
    *,
    widths: Sequence[Count] = (512, 256, 128),
    z_dim: Count = 512,
    z_dim_bg: Count = 32,
    w_dim: Count = 512,
    layers: Count = 8,
    hidden: Count = 128,
    field_layers: Count = 8,
    hidden_bg: Count = 64,
    field_layers_bg: Count = 4,
    features: Count = 256,
    octaves: Count = 10,
    octaves_bg: Count = 10,
    resolution: Count = 32,
    samples: Count = 14,
    samples_bg: Natural = 4,
    nearest: float = 0.5,
    twice: bool = True,
    means: Natural = 0,
    background: bool = True,
    scaled: bool = True,
    **options: Any,
) -> StyleNeRF:
    """Builds a generator with random weights.

    Arguments:
        widths: The channels at each side that the image has while it is enlarged.
        z_dim: The size of the latent.
        z_dim_bg: The size of the background's latent.
        w_dim: The size of the style.
        layers: The number of layers of the mapping.
        hidden: The width of the foreground's field.
        field_layers: The number of its layers.
        hidden_bg: The width of the background's field.
        field_layers_bg: The number of its layers.
        features: The number of rendered features.
        octaves: The number of octaves of an encoded point of the foreground.
        octaves_bg: The number of octaves of an encoded point of the background.
        resolution: The side of the rendered image.
        samples: The number of depths along a ray in each pass.
        samples_bg: The number of inverse distances of the background.
        nearest: The largest inverse distance of the background.
        twice: Whether there is a second pass.
        means: How many mean styles the file has, one for each layer or one for all; 0 for one that is a vector.
        background: Whether there is a background.
        scaled: Whether the enlarging layers divide their input by a recorded magnitude.
        options: The arguments of the map: see `StyleNeRF`.
    """
    inputs = [features, *widths[:-1]]
    network = StyleNeRFNetwork(
        Mapping(z_dim, w_dim, layers=layers),
        StyledField(hidden, field_layers, w_dim, features, octaves),
        PlainField(hidden_bg, field_layers_bg, z_dim_bg, features, octaves_bg)
        if background
        else None,
        [Level(i, o, w_dim, scaled=scaled) for i, o in zip(inputs, widths, strict=True)],
        resolution=resolution,
        samples=samples,
        samples_bg=samples_bg,
        nearest=nearest,
        twice=twice,
        means=means,
    )
    return StyleNeRF(network, **options)
