r"""GIRAFFE-HD: an object and its background, rendered apart, painted and laid over one another.

Two fields map an encoded point and a shape code to density and features. The object's lives in a
box that is placed in the world by a scale, a translation and a turn about the vertical,

.. math:: (\sigma, c)(p) = f_o\left( R (p - t) / s, \, w_o \right)

and is empty outside of it. Each field is rendered as a small map of features, from which a
StyleGAN2 paints an image; a third network refines the object with the background's style and gives
the mask :math:`m` of

.. math:: x = m \, \tanh(x_o + r) + (1 - m) \, \tanh(x_b)

The latent has four parts: the shape and the appearance of the object and of the background. The
camera only rises; its azimuth turns the object, while the background stands still, as in the
training.

References:
    | GIRAFFE HD: A High-Resolution 3D-aware Generative Model (Xue et al., 2022)
    | https://arxiv.org/abs/2203.14954
    |
    | GIRAFFE: Representing Scenes as Compositional Generative Neural Feature Fields
    | (Niemeyer and Geiger, 2021)
    | https://arxiv.org/abs/2011.12100
"""

from latentzoo.zoo.giraffe_hd.config import build
from latentzoo.zoo.giraffe_hd.map import PARTS, GiraffeHD, turn
from latentzoo.zoo.giraffe_hd.network import Box, Codes, GiraffeHDNetwork
from latentzoo.zoo.giraffe_hd.official import KEYS, infer, read

__all__ = [
    "KEYS",
    "PARTS",
    "Box",
    "Codes",
    "GiraffeHD",
    "GiraffeHDNetwork",
    "build",
    "infer",
    "read",
    "turn",
]
