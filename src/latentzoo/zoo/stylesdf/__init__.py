r"""StyleSDF: a signed distance field, rendered small and enlarged by StyleGAN2.

A network of sines, styled by :math:`w_r`, gives the signed distance :math:`d`, a colour and
features at a point; each of its layers is

.. math:: y = \sin(\gamma(w_r) \, (W x + b) + \beta(w_r))

and the density is large inside the surface, within the width :math:`\alpha`,

.. math:: \sigma(x) = \frac1\alpha \, \mathrm{sigmoid} \left( -\frac{d(x)}{\alpha} \right)

The rendered features start a StyleGAN2 whose styles come from :math:`w_r` by a mapping of its own.
Both styles are drawn towards their means by the truncation :math:`\psi`, which thus acts on the
image twice. The means are in no file; they are taken over a fixed stream of latents.

References:
    | StyleSDF: High-Resolution 3D-Consistent Image and Geometry Generation (Or-El et al., 2022)
    | https://arxiv.org/abs/2112.11427
    |
    | Implicit Neural Representations with Periodic Activation Functions (Sitzmann et al., 2020)
    | https://arxiv.org/abs/2006.09661
"""

from latentzoo.zoo.stylesdf.config import build
from latentzoo.zoo.stylesdf.map import StyleSDF
from latentzoo.zoo.stylesdf.network import StyleSDFNetwork
from latentzoo.zoo.stylesdf.official import KEYS, infer, read

__all__ = ["KEYS", "StyleSDF", "StyleSDFNetwork", "build", "infer", "read"]
