"""Features in which sets of pictures are compared: `(B, 3, H, W)` in [0, 1] to `(B, F)`.

avatar-judge                      the held-out judge of the avatars, for pictures of 64x64
openai/clip-vit-base-patch32      the picture's embedding, of any CLIP or SigLIP of `transformers`
facebook/dinov2-base              the class token of any other network, or the mean over its places

References:
    | DINOv2: Learning Robust Visual Features without Supervision (Oquab et al., 2023)
    | https://arxiv.org/abs/2304.07193
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.errors import CheckpointError, SpecError
from latentzoo.guides import declared, pretrained, text_image
from latentzoo.guides.preprocess import Preprocess, in_type_of

DEFAULT, AVATARS = "facebook/dinov2-base", "avatar-judge"
CLASS = ("cls_token", "class_embedding", "class_token")
"""What the parameter of a class token is called."""


class Features(nn.Module):
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
    """One vector a picture: the class token where the network has one, what it pools, or the mean over all places."""
    states = output.last_hidden_state
    if states.ndim == 4:
        return states.mean((2, 3))
    if any(name.rsplit(".", 1)[-1] in CLASS for name, _ in network.named_parameters()):
        return states[:, 0]
    pooled = getattr(output, "pooler_output", None)
    return states.mean(1) if pooled is None else pooled.flatten(1)


class AvatarFeatures(nn.Module):
    """Creates the features of the avatars' judge."""

    def __init__(self) -> None:
        super().__init__()
        from latentzoo.builtin.attributes import judge

        self.network = judge()

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F"]:
        """The features of avatars.

        Raises:
            SpecError: If the pictures are not 64x64.
        """
        if image.shape[2:] != (64, 64):
            raise SpecError(
                f"'{AVATARS}' sees avatars of 64x64, not {image.shape[2]}x{image.shape[3]}; give other --features"
            )
        return self.network.features(image)


def load(name: str) -> nn.Module:
    """Loads features by name; see the top of this file for the grammar.

    Raises:
        CheckpointError: If the network cannot be had.
    """
    if name == AVATARS:
        return AvatarFeatures()
    network = pretrained.load("AutoModel", name)
    if hidden := getattr(network.config, "mask_ratio", 0):
        raise CheckpointError(
            f"'{name}' hides {hidden:.0%} of every picture at random, so its features are no function; take another"
        )
    return Features(network, declared.load(name))
