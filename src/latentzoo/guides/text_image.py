"""Text-image models of every origin, seen as one: texts and pictures into one space.

avatar-clip                      the built-in model of the avatars
owner/repository, or a folder    any CLIP or SigLIP of `transformers`
file.pt, file.safetensors        an archive with OpenAI's tensor names
open_clip:ViT-B-32/laion2b_s34b_b79k   any model of open_clip
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.errors import CheckpointError
from latentzoo.guides import pretrained
from latentzoo.guides.clip import CLIP, config
from latentzoo.guides.files import fill
from latentzoo.hub.read import read

TOKENS = "openai/clip-vit-base-patch32"
OPENAI = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class TextImage(nn.Module, ABC):
    """A pair of frozen encoders.

    Attributes:
        side: The picture's side in pixels.
        mean, std: The normalisation of the picture's channels, three numbers each.
        usual: The weight that suits the spread of its cosines; 500, the paper's, suits CLIP's.
    """

    usual: float = 500.0

    side: int
    mean: Tensor
    std: Tensor

    def __init__(self, side: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.side = side
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    @abstractmethod
    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "N d"]:
        """Embeds texts; not of unit length."""

    @abstractmethod
    def encode_image(self, pixels: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B d"]:
        """Embeds preprocessed pictures; not of unit length."""

    def preprocess(
        self, image: Float[Tensor, "B 3 H W"], *, antialias: bool = True
    ) -> Float[Tensor, "B 3 S S"]:
        """Resizes the shorter edge to the model's side (bicubic), crops the centre and normalises.

        Arguments:
            image: Pictures in [0, 1]; nothing is clamped.
            antialias: Whether the resize smooths; its kernel differs for enlarging too.
        """
        height, width = image.shape[2:]
        short = min(height, width)
        if short != self.side:
            size = [int(self.side * height / short), int(self.side * width / short)]
            image = F.interpolate(
                image, size, mode="bicubic", align_corners=False, antialias=antialias
            )
        top, left = (round((n - self.side) / 2) for n in image.shape[2:])
        image = image[:, :, top : top + self.side, left : left + self.side]
        return (image - self.mean.to(image)) / self.std.to(image)


class OpenAI(TextImage):
    """Creates a model with OpenAI's tensor names.

    Arguments:
        network: The network.
        tokenizer: Makes token numbers of texts; None takes the one of OpenAI's repository at first use.
    """

    def __init__(self, network: CLIP, tokenizer: Any = None) -> None:
        super().__init__(network.side, *OPENAI)
        self.network, self.tokenizer = network, tokenizer

    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "N d"]:
        self.tokenizer = self.tokenizer or pretrained.load("AutoTokenizer", TOKENS)
        length = len(self.network.positional_embedding)
        tokens = self.tokenizer(
            list(texts),
            padding="max_length",
            max_length=length,
            truncation=True,
            return_tensors="pt",
        )
        return self.network.encode_text(tokens["input_ids"].to(self.mean.device))

    def encode_image(self, pixels: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B d"]:
        return self.network.encode_image(pixels)


class Transformers(TextImage):
    """Creates a CLIP or SigLIP of `transformers` with its tokenizer.

    Arguments:
        network: The model.
        tokenizer: Its tokenizer.
        mean, std: The normalisation of its pictures.
    """

    def __init__(
        self, network: Any, tokenizer: Any, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__(network.config.vision_config.image_size, mean, std)
        self.network, self.tokenizer = network.eval().requires_grad_(False), tokenizer
        self.length = network.config.text_config.max_position_embeddings

    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "N d"]:
        tokens = self.tokenizer(
            list(texts),
            padding="max_length",
            max_length=self.length,
            truncation=True,
            return_tensors="pt",
        )
        known = {
            k: v.to(self.mean.device)
            for k, v in tokens.items()
            if k in ("input_ids", "attention_mask")
        }
        return features(self.network.get_text_features(**known))

    def encode_image(self, pixels: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B d"]:
        return features(self.network.get_image_features(pixel_values=pixels))


class OpenClip(TextImage):
    """Creates a model of open_clip."""

    def __init__(self, network: Any, tokenizer: Any) -> None:
        visual = network.visual
        side = visual.image_size[0] if isinstance(visual.image_size, tuple) else visual.image_size
        super().__init__(side, visual.image_mean or OPENAI[0], visual.image_std or OPENAI[1])
        self.network, self.tokenizer = network.eval().requires_grad_(False), tokenizer

    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "N d"]:
        return self.network.encode_text(self.tokenizer(list(texts)).to(self.mean.device))

    def encode_image(self, pixels: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B d"]:
        return self.network.encode_image(pixels)


def features(output: Any) -> Tensor:
    """The embedding: `transformers` 4 returns the tensor itself, 5 an object that holds it."""
    return output if isinstance(output, Tensor) else output.pooler_output


def load(name: str) -> TextImage:
    """Loads a text-image model by name; see the top of this file for the grammar.

    Raises:
        CheckpointError: If a file is not a CLIP of OpenAI's tensor names.
        MissingExtra: If the package that the model needs is not installed.
    """
    if name == "avatar-clip":
        from latentzoo.builtin.clip import AvatarTextImage

        return AvatarTextImage()
    if name.startswith("open_clip:"):
        return _open_clip(*name.removeprefix("open_clip:").split("/", 1))
    return openai(name) if Path(name).is_file() else from_transformers(name)


def openai(path: str | Path, tokenizer: Any = None, *, exact: bool = False) -> OpenAI:
    """Reads an archive with OpenAI's tensor names; it computes in float32, as the official code does on a CPU.

    Arguments:
        path: The file.
        tokenizer: Makes token numbers of texts; None takes OpenAI's at first use.
        exact: Whether the activation is the exact GELU, as in the models of LAION.

    Raises:
        CheckpointError: If the tensors are not those of a CLIP.
    """
    tensors = read(path).tensors
    sizes = ("input_resolution", "context_length", "vocab_size")
    tensors = {k: v for k, v in tensors.items() if k not in sizes and not k.endswith("mask")}
    try:
        network = CLIP(**config(tensors), exact=exact)
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not a CLIP of OpenAI's tensor names ({error} is missing)"
        ) from error
    return OpenAI(fill(network, tensors, source=str(path)), tokenizer)


def from_transformers(repository: str, processor: str | None = None) -> Transformers:
    """Loads a CLIP or SigLIP of `transformers`.

    Arguments:
        repository: The repository or folder of the network.
        processor: That of its tokenizer and preprocessing, where they are elsewhere.

    Raises:
        CheckpointError: If it cannot be had.
    """
    network = pretrained.load("AutoModel", repository)
    if not hasattr(network, "get_text_features"):
        raise CheckpointError(f"'{repository}' is no text-image model; give a CLIP or a SigLIP")
    ready = pretrained.load("AutoImageProcessor", processor or repository)
    tokenizer = pretrained.load("AutoTokenizer", processor or repository)
    return Transformers(network, tokenizer, ready.image_mean, ready.image_std)


def _open_clip(model: str, pretrained_on: str = "openai") -> OpenClip:
    package = pretrained.package("open_clip", "open_clip", f"the text-image model '{model}'")
    network, _, _ = package.create_model_and_transforms(model, pretrained=pretrained_on)
    return OpenClip(network, package.get_tokenizer(model))
