r"""Diffusion autoencoder (DiffAE): a diffusion of pictures that knows what the picture means.

A semantic encoder gives a code :math:`c` of a picture, and a diffusion in pixels is conditioned on
it; a second, small diffusion draws codes, normalised by their mean and deviation over the data,

.. math:: c = \mu + \sigma \cdot \mathrm{DDIM}_{\text{code}}(z_T), \qquad
    G(z) = \tfrac12 \, \mathrm{DDIM}_{\text{picture}}(x_T \mid c) + \tfrac12

so that `semantic`, :math:`z_T`, decides what is seen and `start`, :math:`x_T`, its fine detail. Both
chains are deterministic. In the chain of pictures each estimate of the picture is clipped to
[-1, 1], and the noise follows from it: where it is clipped no gradient passes.

References:
    | Diffusion Autoencoders: Toward a Meaningful and Decodable Representation
    | (Preechakul et al., 2022), https://arxiv.org/abs/2111.15640
    |
    | Denoising Diffusion Implicit Models (Song et al., 2021)
    | https://arxiv.org/abs/2010.02502
"""

from latentzoo.zoo.diffae.config import build, read_betas
from latentzoo.zoo.diffae.map import DiffAE, chain
from latentzoo.zoo.diffae.official import KEYS, NETWORKS, infer

__all__ = ["KEYS", "NETWORKS", "DiffAE", "build", "chain", "infer", "read_betas"]
