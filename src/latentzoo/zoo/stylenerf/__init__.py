r"""StyleNeRF: a small radiance field of features before a background at infinity, enlarged by 1 x 1 convolutions.

The foreground's field is a network of modulated linear maps on an encoded point, styled by
:math:`w = m(z)`; the background's sees points :math:`(p, 1/r)` outside of the unit sphere, where
:math:`p` is a direction and :math:`r` the distance, and a latent :math:`z_b` of its own. Along a
ray,

.. math:: C = \sum_i w_i \, c_i + \left( 1 - \sum_i w_i \right) C_b

first at even depths, then also at the quantiles of what those saw. Unlike in the training, these
carry their gradient, so that it is that of the map. The rendered colours and features are enlarged
level by level by a StyleGAN2 whose convolutions are 1 x 1, with an up-sampling that mixes
neighbours, so that the image stays consistent when the camera moves. Only the foreground and the
enlarging are styled.

References:
    | StyleNeRF: A Style-based 3D-Aware Generator for High-resolution Image Synthesis (Gu et al., 2022)
    | https://arxiv.org/abs/2110.08985
    |
    | NeRF++: Analyzing and Improving Neural Radiance Fields (Zhang et al., 2020)
    | https://arxiv.org/abs/2010.07492
"""

from latentzoo.zoo.stylenerf.config import build
from latentzoo.zoo.stylenerf.map import StyleNeRF
from latentzoo.zoo.stylenerf.network import StyleNeRFNetwork
from latentzoo.zoo.stylenerf.official import KEYS, infer, read

__all__ = ["KEYS", "StyleNeRF", "StyleNeRFNetwork", "build", "infer", "read"]
