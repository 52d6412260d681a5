"""Features in which sets of pictures are compared: `(B, 3, H, W)` in [0, 1] to `(B, F)`.

a card's name                     a network that a package brings, or `module:Class`
openai/clip-vit-base-patch32      the picture's embedding, of any CLIP or SigLIP of `transformers`
facebook/dinov2-base              the class token of any other network, or the mean over its places

References:
    | DINOv2: Learning Robust Visual Features without Supervision (Oquab et al., 2023)
    | https://arxiv.org/abs/2304.07193
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.errors import CheckpointError
from latentzoo.guides import compared, declared, networks, pretrained, text_image
from latentzoo.guides.preprocess import Preprocess, in_type_of
from latentzoo.guides.roles import Features

DEFAULT = "facebook/dinov2-base"
CLASS = ("cls_token", "class_embedding", "class_token")
"""What the parameter of a class token is called."""


class Summary(Features):
    """Creates the features of a network of `transformers`.

    Arguments:
        network: The network.
        preprocess: From pictures in [0, 1] to its input.
    """

    def __init__(self, network: Any, preprocess: Preprocess) -> None:
        super().__init__()
        self.network, self.preprocess = network, preprocess
        self.joint = hasattr(network, "get_image_features")

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F"]:
        pixels = self.preprocess(in_type_of(image, self.network))
        if self.joint:
            return text_image.features(self.network.get_image_features(pixel_values=pixels))
        return summary(self.network, self.network(pixel_values=pixels))


def summary(network: nn.Module, output: Any) -> Float[Tensor, "B F"]:
    """One vector a picture: what the network calls so, its class tokens, what it pools, or the mean over all places."""
    if (whole := getattr(output, "summary", None)) is not None:  # RADIO
        return whole
    if (token := getattr(output, "cls_token_value", None)) is not None:  # CvT
        return token[:, 0]
    states = output.last_hidden_state
    if states.ndim == 4:
        return states.mean((2, 3))
    if count := class_tokens(network):
        return states[:, :count].mean(1)
    pooled = getattr(output, "pooler_output", None)
    return states.mean(1) if pooled is None else pooled.flatten(1)


def class_tokens(network: nn.Module) -> int:
    """How many class tokens a network puts before the places; 0 if it has none."""
    for name, value in network.named_parameters():
        if name.rsplit(".", 1)[-1] in CLASS:
            return 1 if value.ndim == 1 else value.shape[-2]
    return 0


def load(name: str) -> Features:
    """Loads features by name; see the top of this file for the grammar.

    Raises:
        CheckpointError: If the network cannot be had.
    """
    if (found := networks.load(name, "features", Features)) is not None:
        return found
    network = pretrained.load("AutoModel", name, spare="pooler")
    found = Summary(network, declared.load(name))
    if not torch.equal(compared.tried(found, source=name), compared.tried(found, source=name)):
        raise CheckpointError(
            f"'{name}' draws random numbers (it hides a part of every picture?), so its features are no function; "
            "take another"
        )
    return found
