r"""EG3D: images of a scene whose features lie on three planes.

A StyleGAN2 backbone, conditioned on a camera :math:`c`, makes the planes; a small network
:math:`f` turns the mean of the features found at a point's three projections into a density and a
colour of many channels,

.. math:: P = S(w), \; w = m(z, c) \qquad (\sigma, c)(x) = f\left( \tfrac13 \sum_k P_k(\pi_k x) \right)

which are rendered along the rays of a small image: first at even depths, then at the quantiles of
what those saw. Two more blocks of StyleGAN2, styled by the last :math:`w`, enlarge it. The
conditioning camera is fixed to the frontal one, so that the scene stays the same when it is looked
at from elsewhere.

The projections are, as in the published code and weights, :math:`(x, y), (x, z), (z, x)`: the plane of
y and z is not there. Unlike in the training, the depths of the second pass carry their gradient, so that
it is that of the map.

References:
    | Efficient Geometry-aware 3D Generative Adversarial Networks (Chan et al., 2022)
    | https://arxiv.org/abs/2112.07945
"""

from latentzoo.zoo.eg3d.config import build
from latentzoo.zoo.eg3d.map import EG3D, ELEVATION, diagonal, label, view
from latentzoo.zoo.eg3d.network import EG3DNetwork
from latentzoo.zoo.eg3d.official import KEYS, infer, read

__all__ = [
    "EG3D",
    "ELEVATION",
    "KEYS",
    "EG3DNetwork",
    "build",
    "diagonal",
    "infer",
    "label",
    "read",
    "view",
]
