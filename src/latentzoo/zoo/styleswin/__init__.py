r"""StyleSwin: a generator of window attention, whose tokens are styled by :math:`w`.

The mapping turns the latent into a style :math:`f(z)`, and the truncation :math:`\psi` draws it towards its mean,
:math:`w = \bar{w} + \psi (f(z) - \bar{w})`. From a learned map of :math:`4 \times 4` tokens, each resolution has two
blocks

.. math:: x \leftarrow x + P \, (a_0(\tilde{x}) \oplus a_1(\tilde{x})), \qquad
    x \leftarrow x + \mathrm{MLP}(\tilde{x}), \qquad
    \tilde{x} = \gamma(w) \, \frac{x - \mu(x)}{\sigma(x)} + \beta(w)

where half of the heads, :math:`a_0`, attends within plain windows and the other half, :math:`a_1`, within windows
shifted by half their side. Each resolution adds to the colours of the image, in units of ImageNet's deviation around
its mean.

References:
    | StyleSwin: Transformer-based GAN for High-resolution Image Generation (Zhang et al., 2022)
    | https://arxiv.org/abs/2112.10762
"""

from latentzoo.zoo.styleswin.config import build
from latentzoo.zoo.styleswin.map import StyleSwin
from latentzoo.zoo.styleswin.network import StyleSwinNetwork
from latentzoo.zoo.styleswin.official import KEYS, infer

__all__ = ["KEYS", "StyleSwin", "StyleSwinNetwork", "build", "infer"]
