"""From settings to an EG3D with random weights."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from latentzoo.errors import UnknownName
from latentzoo.nn.mapping import Linear, Mapping
from latentzoo.nn.style import Synthesis
from latentzoo.options import Count, Natural, Positive
from latentzoo.views.camera import Camera
from latentzoo.zoo.eg3d.enlarger import ENLARGERS, Enlarger
from latentzoo.zoo.eg3d.map import EG3D, ELEVATION
from latentzoo.zoo.eg3d.network import EG3DNetwork


def build(
    *,
    widths: Sequence[Count] = (512, 512, 512, 512, 512, 256, 128),
    z_dim: Count = 512,
    w_dim: Count = 512,
    layers: Count = 2,
    mapping_features: Count | None = None,
    embed_features: Count | None = None,
    mapping_lr: Positive = 0.01,
    plane_channels: Count = 32,
    hidden: Count = 64,
    features: Count = 32,
    field_lr: Positive = 1.0,
    enlarger: str = "8XDC",
    enlarger_widths: Sequence[Count] = (256, 128),
    enlarger_start: Count = 128,
    enlarger_clamp: Positive | None = 256.0,
    antialias: bool = True,
    clamp: Positive | None = None,
    near: float = 2.25,
    far: float = 3.3,
    box: Positive = 1.0,
    samples: Count = 48,
    importance: Natural = 48,
    white: bool = False,
    condition: float = 1.0,
    means: Natural = 0,
    fov: Positive = 13.378,
    radius: float = 2.7,
    pivot: Sequence[float] = (0.0, 0.0, 0.2),
    **options: Any,
) -> EG3D:
    """Builds a generator with random weights.

    Arguments:
        widths: The channels of the backbone at 4, 8, ... pixels.
        z_dim: The size of the latent.
        w_dim: The size of the style.
        layers: The number of layers of the mapping.
        mapping_features: The width between them; `w_dim` unless given.
        embed_features: The size of the embedded camera in it; `w_dim` unless given.
        mapping_lr: Its learning rate multiplier.
        plane_channels: The channels of each plane.
        hidden: The width of the field's network.
        features: The number of colour channels.
        field_lr: The learning rate multiplier of the field's network.
        enlarger: How the image is enlarged: "8XDC", "8X", "4X" or "2X".
        enlarger_widths: The channels of its two blocks.
        enlarger_start: The side it starts from.
        enlarger_clamp: Where its features are cut off on both sides; None for no limit.
        antialias: Whether the image is brought to that side without aliasing.
        clamp: Where the backbone's features are cut off on both sides; None for no limit.
        near: Where the rays begin.
        far: Where they end.
        box: The side of the cube that the planes span.
        samples: The number of depths of the first pass.
        importance: The number of depths of the second pass; 0 for none.
        white: Whether what is behind the scene is white.
        condition: The factor on the label in the mapping; 0 where the mapping does not see it.
        means: How many mean styles the file has, one for each layer or one for all; 0 for one that is a vector.
        fov: The angle of view of the authors' camera, in degrees.
        radius: Its distance from the origin.
        pivot: The point it looks at.
        options: The arguments of the map: see `EG3D`.

    Raises:
        UnknownName: If there is no such enlarger.
    """
    if enlarger not in ENLARGERS:
        raise UnknownName("enlarger", enlarger, ENLARGERS)
    up, always = ENLARGERS[enlarger]
    last = Enlarger(
        features,
        w_dim,
        enlarger_widths,
        start=enlarger_start,
        up=up,
        always=always,
        antialias=antialias,
        clamp=enlarger_clamp,
    )
    network = EG3DNetwork(
        Mapping(
            z_dim,
            w_dim,
            layers=layers,
            c_dim=25,
            features=mapping_features,
            embed_features=embed_features,
            lr=mapping_lr,
        ),
        Synthesis(widths, w_dim, channels=3 * plane_channels, clamp=clamp),
        nn.ModuleList(
            [
                Linear(plane_channels, hidden, lr=field_lr),
                Linear(hidden, 1 + features, lr=field_lr),
            ]
        ),
        last,
        near=near,
        far=far,
        box=box,
        samples=samples,
        importance=importance,
        white=white,
        condition=condition,
        means=means,
    )
    x, y, z = pivot
    own = Camera(0.0, ELEVATION, fov, radius, (x, y, z))
    return EG3D(network, own=own, **options)
