r"""NVAE: a deep hierarchy of Gaussian groups, from the smallest map to the largest.

The prior of each group depends on those before, through the decoder's features :math:`s`,

.. math:: z_g = \mu_g(s_g) + \tau \sigma_g(s_g) \, \varepsilon_g, \qquad
    s_{g+1} = f_g(s_g \oplus z_g), \qquad \varepsilon_g \sim \mathcal{N}(0, I)

so that the image is a function of the noises :math:`\varepsilon` of all groups, drawn towards the mode by a temperature
:math:`\tau`. The network gives :math:`\tilde\mu` and :math:`\tilde\rho`, and soft clamps keep the prior from diverging,

.. math:: \mu = 5 \tanh(\tilde\mu / 5), \qquad \sigma = \exp(5 \tanh(\tilde\rho / 5)) + 0.01

and the first group has :math:`\tilde\mu = \tilde\rho = 0`. The last features give each pixel a mixture of logistic
distributions, whose channels depend on one another,

.. math:: r = m_1, \qquad g = m_2 + c_1 r, \qquad b = m_3 + c_2 r + c_3 g

and the image is its mean, not a draw. Of grey pictures (MNIST, Omniglot) a pixel is white with a probability, which is
what is shown.

References:
    | NVAE: A Deep Hierarchical Variational Autoencoder (Vahdat and Kautz, 2020)
    | https://arxiv.org/abs/2007.03898
"""

from latentzoo.zoo.nvae.config import build
from latentzoo.zoo.nvae.distributions import clamped, mean, unclamped
from latentzoo.zoo.nvae.map import NVAE
from latentzoo.zoo.nvae.network import NVAEDecoder
from latentzoo.zoo.nvae.official import KEYS, infer

__all__ = ["KEYS", "NVAE", "NVAEDecoder", "build", "clamped", "infer", "mean", "unclamped"]
