r"""SN-DPM and NPR-DPM: diffusion whose reverse steps have the optimal variance of each pixel.

The network has two heads, the noise :math:`\hat\varepsilon = \mathrm{E}[\varepsilon \mid x_t]` and what its uncertainty
is computed from: the expected square of the noise (SN-DPM) or of the error of the first head (NPR-DPM),

.. math:: h = \mathrm{E}[\varepsilon^2 \mid x_t], \quad v = h - \hat\varepsilon^2 \qquad \text{or} \qquad
    h = v = \mathrm{E}[(\varepsilon - \hat\varepsilon)^2 \mid x_t]

A step is the one of DDPM or DDIM, with the doubt about the picture, through its weight :math:`c` in the mean, added to
the variance:

.. math:: x_s = \mu(x_t) + \sqrt{\sigma^2 + c^2 \mathrm{Cov}[x_0]} \; \varepsilon_s, \qquad
    \mathrm{Cov}[x_0] = \frac{\sigma_t^2}{\alpha_t^2} \, v, \qquad
    c = \alpha_s - \sqrt{\sigma_s^2 - \sigma^2} \, \frac{\alpha_t}{\sigma_t}

The latent is the block `start`, :math:`x_T`, and `noise`, the :math:`\varepsilon_s` in the order of the steps; the last
step, into the picture, has none.

References:
    | Estimating the Optimal Covariance with Imperfect Mean in Diffusion Probabilistic Models (Bao et al., 2022)
    | https://arxiv.org/abs/2206.07309
    |
    | Analytic-DPM: an Analytic Estimate of the Optimal Reverse Variance in Diffusion Probabilistic Models
    | (Bao et al., 2022), https://arxiv.org/abs/2201.06503
"""

from latentzoo.zoo.sn_dpm.config import build
from latentzoo.zoo.sn_dpm.map import SNDPM, trajectory
from latentzoo.zoo.sn_dpm.official import KEYS, infer
from latentzoo.zoo.sn_dpm.unet import UNet

__all__ = ["KEYS", "SNDPM", "UNet", "build", "infer", "trajectory"]
