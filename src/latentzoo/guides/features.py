"""Features in which sets of pictures are compared: `(B, 3, H, W)` in [0, 1] to `(B, F)`.

avatar-judge                      the held-out judge of the avatars, for pictures of 64x64
openai/clip-vit-base-patch32      the picture's embedding, of any CLIP or SigLIP of `transformers`
facebook/dinov2-base              the class token, of any other transformer over patches

References:
    | DINOv2: Learning Robust Visual Features without Supervision (Oquab et al., 2023)
    | https://arxiv.org/abs/2304.07193
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.errors import SpecError
from latentzoo.guides import pretrained
from latentzoo.guides.preprocess import Preprocess

DEFAULT, AVATARS = "facebook/dinov2-base", "avatar-judge"


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
        pixels = self.preprocess(image)
        if not self.joint:
            return self.network(pixel_values=pixels).last_hidden_state[:, 0]
        output = self.network.get_image_features(pixel_values=pixels)
        return output if isinstance(output, Tensor) else output.pooler_output


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
    return Features(pretrained.load("AutoModel", name), pretrained.preprocess(name))
