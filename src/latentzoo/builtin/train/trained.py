"""The trained networks that the recipes of others start from."""

from latentzoo.builtin.ldm import LatentDiffusion, build
from latentzoo.builtin.networks.autoencoder import Autoencoder
from latentzoo.builtin.weights import fill, tensors


def autoencoder() -> Autoencoder:
    """The autoencoder of the latent models."""
    return fill(Autoencoder(), tensors("avatar-autoencoder"))


def latent_diffusion(steps: int) -> LatentDiffusion:
    """The latent diffusion as a deterministic map of so many steps."""
    return fill(build(steps=steps), tensors("avatar-ldm"))
