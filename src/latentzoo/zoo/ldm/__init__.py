r"""Latent diffusion (LDM): a diffusion in the code of an autoencoder, and its decoder.

From :math:`x_T \sim \mathcal{N}(0, I)`, DDIM steps lead to a code, which the first stage decodes,

.. math:: x_s = \alpha_s \hat{x}_0 + \sqrt{\sigma_s^2 - \tilde\sigma^2} \, \hat\varepsilon
    + \tilde\sigma \, \varepsilon_s, \qquad G(z) = \tfrac12 D(x_0 / \kappa) + \tfrac12, \qquad
    \hat\varepsilon = \varepsilon_\varnothing + w \, (\varepsilon_c - \varepsilon_\varnothing)

with guidance :math:`w` towards a class `c` where the model has classes. For :math:`\eta = 0` the
latent is the block `start`, :math:`x_T`; for :math:`\eta > 0` also `noise`, the
:math:`\varepsilon_s` in the order of the steps. The chain ends at the first level of the schedule,
where a little noise is left, as the authors' does.

The first stage is an autoencoder with a Gaussian code, of which the mean is used (KL), or one whose
code is replaced by the nearest entries of a codebook (VQ). The gradient passes the codebook as if it
were not there; `quantise=False` leaves it out, which makes the map smooth.

References:
    | High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022)
    | https://arxiv.org/abs/2112.10752
    |
    | Denoising Diffusion Implicit Models (Song et al., 2021)
    | https://arxiv.org/abs/2010.02502
    |
    | Classifier-Free Diffusion Guidance (Ho and Salimans, 2022)
    | https://arxiv.org/abs/2207.12598
"""

from latentzoo.zoo.ldm.config import build, chain
from latentzoo.zoo.ldm.official import KEYS, infer
from latentzoo.zoo.ldm.unet import denoiser

__all__ = ["KEYS", "build", "chain", "denoiser", "infer"]
