r"""BigGAN-deep: class-conditional images from one Gaussian vector.

The latent and the embedding of the class :math:`c` together condition every layer,

.. math:: x = \tanh f(h), \qquad h = (z', E c), \qquad z' = \psi \sqrt2 \, \mathrm{erf}^{-1}
    \left( \mathrm{erf}(b / \sqrt2) \, \mathrm{erf}(z / \sqrt2) \right)

where :math:`z \mapsto z'` carries a normal to a normal truncated at :math:`\pm b` (2 as published)
and scaled by the truncation :math:`\psi`, so that :math:`z \sim \mathcal{N}(0, I)` draws what the
authors drew. Truncation also chooses the statistics of the batch norms, stored for
:math:`\psi = 0, 1/(n-1), \dots, 1`,

.. math:: y = \gamma(h) \, \frac{x - \mu_\psi}{\sqrt{\sigma^2_\psi + \epsilon}} + \beta(h)

and every linear map is divided by its recorded spectral norm :math:`u^\top W v`.

References:
    | Large Scale GAN Training for High Fidelity Natural Image Synthesis (Brock et al., 2019)
    | https://arxiv.org/abs/1809.11096
    |
    | Spectral Normalization for Generative Adversarial Networks (Miyato et al., 2018)
    | https://arxiv.org/abs/1802.05957
"""

from latentzoo.zoo.biggan_deep.config import build
from latentzoo.zoo.biggan_deep.map import BigGANDeep, truncated
from latentzoo.zoo.biggan_deep.network import BigGANDeepNetwork
from latentzoo.zoo.biggan_deep.norms import statistics_row
from latentzoo.zoo.biggan_deep.official import KEYS, infer

__all__ = [
    "KEYS",
    "BigGANDeep",
    "BigGANDeepNetwork",
    "build",
    "infer",
    "statistics_row",
    "truncated",
]
