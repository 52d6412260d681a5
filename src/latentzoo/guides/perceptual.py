"""LPIPS: how different two pictures look, of the package lpips.

References:
    | The Unreasonable Effectiveness of Deep Features as a Perceptual Metric (Zhang et al., 2018)
    | https://arxiv.org/abs/1801.03924
"""

import io
from contextlib import redirect_stdout

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.errors import CheckpointError
from latentzoo.guides.pretrained import package
from latentzoo.hub.offline import obeyed

SIDE, BATCH = 256, 16


def load(purpose: str) -> nn.Module:
    """Loads the network on VGG, as the paper takes it.

    Raises:
        MissingExtra: If lpips is not installed.
        CheckpointError: If its weights cannot be had.
    """
    try:
        with obeyed(), redirect_stdout(io.StringIO()):  # torch.hub prints where it downloads to
            library = package("lpips", "lpips", purpose)
            network = library.LPIPS(net="vgg", verbose=False)
    except (OSError, RuntimeError) as error:
        line = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"the weights of lpips cannot be had ({line}); load them once with the network"
        ) from error
    return network.eval().requires_grad_(False)


@torch.no_grad()
def distances(network: nn.Module, image: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N N"]:
    """The distances of all pairs of pictures at 256 pixels, resized as the paper's evaluation does."""
    if image.shape[2:] != (SIDE, SIDE):
        image = F.interpolate(image, (SIDE, SIDE), mode="bicubic", align_corners=False)
    i, j = torch.triu_indices(len(image), len(image), 1)
    pairs = zip(i.split(BATCH), j.split(BATCH), strict=True)
    each = [network(image[a], image[b], normalize=True).flatten() for a, b in pairs]
    matrix = image.new_zeros(len(image), len(image))
    matrix[i, j] = matrix[j, i] = torch.cat(each)
    return matrix
