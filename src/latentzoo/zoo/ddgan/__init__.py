r"""Denoising diffusion GAN (DDGAN): a diffusion of two to four steps, each a draw of a GAN.

From :math:`x_T \sim \mathcal{N}(0, I)`, each step draws a picture and goes back to less noise,

.. math:: \hat{x}_t = G(x_t, t, u_t), \qquad
    x_{t-1} = \mu_t(\hat{x}_t, x_t) + \sigma_t \, \varepsilon_t \sim q(x_{t-1} \mid x_t, \hat{x}_t)

with Gaussian :math:`u_t` and :math:`\varepsilon_t`; the last step gives the picture itself. The
image is a function of three blocks: `start` is :math:`x_T`, `code` the :math:`u_t` and `noise` the
:math:`\varepsilon_t`, in the order of their use. The network is an NCSN++ whose normalisations are
modulated by the code.

References:
    | Tackling the Generative Learning Trilemma with Denoising Diffusion GANs (Xiao et al., 2022)
    | https://arxiv.org/abs/2112.07804
    |
    | Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021)
    | https://arxiv.org/abs/2011.13456
"""

from latentzoo.zoo.ddgan.config import build
from latentzoo.zoo.ddgan.map import DDGAN, ddgan_schedule
from latentzoo.zoo.ddgan.network import NCSNpp
from latentzoo.zoo.ddgan.official import KEYS, infer

__all__ = ["DDGAN", "KEYS", "NCSNpp", "build", "ddgan_schedule", "infer"]
