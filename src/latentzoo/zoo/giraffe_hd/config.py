"""From settings to a GIRAFFE-HD with random weights."""

from collections.abc import Sequence
from typing import Any

from latentzoo.nn.mapping import Mapping
from latentzoo.nn.style import Synthesis
from latentzoo.options import Count, Natural, Positive
from latentzoo.zoo.giraffe_hd.field import Field
from latentzoo.zoo.giraffe_hd.map import GiraffeHD
from latentzoo.zoo.giraffe_hd.network import GiraffeHDNetwork
from latentzoo.zoo.giraffe_hd.refiner import Refiner


def build(
    *,
    widths: Sequence[Count] = (256, 256, 256, 256, 128, 64, 32),
    z_dim: Count = 256,
    z_dim_bg: Count = 256,
    features: Count = 256,
    layers: Count = 8,
    lr: Positive = 0.01,
    refine_layers: Natural = 2,
    refine_kernel: Count = 3,
    mask: bool = False,
    resolution: Count = 16,
    samples: Count = 64,
    styled: bool = True,
    appearance: bool = False,
    views: bool = False,
    follow: bool = False,
    **options: Any,
) -> GiraffeHD:
    """Builds a generator with random weights.

    Arguments:
        widths: The channels of the renderers from the rendered map's size up.
        z_dim: The size of each part of the object's latent.
        z_dim_bg: The size of each part of the background's latent.
        features: The number of rendered features.
        layers: The number of layers of the mappings.
        lr: The learning rate multiplier of the mappings.
        refine_layers: The number of convolutions of the refiner.
        refine_kernel: The side of their kernels.
        mask: Whether the mask comes from the object's renderer, or from the refiner.
        resolution: The side of the rendered maps.
        samples: The number of depths along a ray.
        styled: Whether the fields take styles, or the codes themselves.
        appearance: Whether the features of the fields depend on the appearance, or on the shape.
        views: Whether they depend on the direction from which a point is seen.
        follow: Whether the background follows the height of the object.
        options: The arguments of the map: see `GiraffeHD`.
    """
    painter = lambda w_dim, channels: Synthesis(
        widths, w_dim, start=resolution, features=features, channels=channels
    )
    size = resolution << (len(widths) - 1)
    network = GiraffeHDNetwork(
        [Mapping(n, n, layers=layers, lr=lr) for n in (z_dim, z_dim_bg)],
        Field(128, 7, z_dim, features, downscale=2.0, skip=4, views=views),
        Field(64, 3, z_dim_bg, features, downscale=12.0, views=views),
        painter(z_dim, 4 if mask else 3),
        painter(z_dim_bg, 3),
        Refiner(widths[-1], 3 if mask else 4, z_dim_bg, size, refine_layers, refine_kernel),
        resolution=resolution,
        samples=samples,
        styled=styled,
        appearance=appearance,
        views=views,
        follow=follow,
    )
    return GiraffeHD(network, **options)
