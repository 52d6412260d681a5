"""Text-image models of every origin, seen as one: texts and pictures into one space.

a card's name                    a model that a package brings, or `module:Class`
owner/repository, or a folder    any CLIP or SigLIP of `transformers`
file.pt, file.safetensors        an archive with OpenAI's tensor names
open_clip:ViT-B-32/laion2b_s34b_b79k   any model of open_clip
open_clip:hf-hub:owner/repository, open_clip:local-dir:FOLDER   the same, in its own layout
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.errors import CheckpointError
from latentzoo.guides import compared, declared, networks, pretrained, tables, words
from latentzoo.guides.clip import CLIP, config
from latentzoo.guides.preprocess import Preprocess, at_least_single, centred, in_type_of
from latentzoo.hub import offline
from latentzoo.hub.fit import fit
from latentzoo.hub.read import read

TOKENS = "openai/clip-vit-base-patch32"
OPENAI = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
UNMASKED = ("siglip", "siglip2")  # trained without attention masks: padding is read too


class TextImage(nn.Module, ABC):
    """A pair of frozen encoders.

    Arguments:
        preprocess: From pictures in [0, 1] to the picture encoder's input.

    Attributes:
        usual: The weight that suits the spread of its cosines; 500, the paper's, suits CLIP's.
    """

    usual: float = 500.0
    network: Any

    def __init__(self, preprocess: Preprocess) -> None:
        super().__init__()
        self.preprocess = preprocess

    @abstractmethod
    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "N d"]:
        """Embeds texts; not of unit length."""

    def repeated(self) -> Iterator[nn.Module]:
        """The network that sees pictures, if it is one module; see `compiling`."""
        seeing = (getattr(self.network, name, None) for name in ("visual", "vision_model"))
        return (module for module in seeing if isinstance(module, nn.Module))

    @abstractmethod
    def encode_image(self, pixels: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B d"]:
        """Embeds preprocessed pictures; not of unit length."""

    def embed(
        self, image: Float[Tensor, "B 3 H W"], *, antialias: bool = True
    ) -> Float[Tensor, "B d"]:
        """Embeds pictures in [0, 1] as unit vectors, at least in single precision.

        Arguments:
            image: The pictures; nothing is clamped.
            antialias: Whether they are smoothed when they shrink.
        """
        pixels = self.preprocess(in_type_of(image, self), antialias=antialias)
        return F.normalize(at_least_single(self.encode_image(pixels)), dim=1)


class OpenAI(TextImage):
    """Creates a model with OpenAI's tensor names.

    Arguments:
        network: The network.
        tokenizer: Makes token numbers of texts; None takes the one of OpenAI's repository at first use.
        bytes: Whether its library sees pictures as bytes; the code of 2022 sees CLIP's as numbers.
    """

    def __init__(self, network: CLIP, tokenizer: Any = None, *, bytes: bool = False) -> None:
        super().__init__(centred(network.side, *OPENAI, bytes=bytes))
        self.network, self.tokenizer = network, tokenizer

    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "N d"]:
        self.tokenizer = self.tokenizer or pretrained.load("AutoTokenizer", TOKENS)
        table = self.network.positional_embedding
        made = words.tokens(self.tokenizer, [words.cleaned(text) for text in texts], len(table))
        return self.network.encode_text(made["input_ids"].to(table.device))

    def encode_image(self, pixels: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B d"]:
        return self.network.encode_image(pixels)


class Transformers(TextImage):
    """Creates a text-image model of `transformers` with its tokenizer.

    Arguments:
        network: The model.
        tokenizer: Its tokenizer.
        preprocess: From pictures in [0, 1] to its input.
    """

    def __init__(self, network: Any, tokenizer: Any, preprocess: Preprocess) -> None:
        super().__init__(preprocess)
        self.network, self.tokenizer = network.eval().requires_grad_(False), tokenizer
        config = network.config
        self.length = getattr(config.text_config, "max_position_embeddings", None)
        self.unmasked = config.model_type in UNMASKED
        asked = getattr(tokenizer, "init_kwargs", {}).get("do_lower_case", False)
        self.lower = self.unmasked and (asked or "Gemma" in type(tokenizer).__name__)

    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "N d"]:
        made = words.tokens(
            self.tokenizer, [t.lower() if self.lower else t for t in texts], self.length
        )
        taken = ("input_ids",) if self.unmasked else ("input_ids", "attention_mask")
        known = {k: made[k].to(self.network.device) for k in taken if k in made}
        return features(self.network.get_text_features(**known))

    def encode_image(self, pixels: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B d"]:
        return features(self.network.get_image_features(pixel_values=pixels))


class OpenClip(TextImage):
    """Creates a model of open_clip.

    Raises:
        CheckpointError: If its pictures are made ready in a way that is not known here.
    """

    def __init__(self, network: Any, tokenizer: Any, *, source: str = "a model") -> None:
        super().__init__(tables.open_clip(network.visual.preprocess_cfg, source=source))
        self.network, self.tokenizer = network.eval().requires_grad_(False), tokenizer

    def encode_text(self, texts: Sequence[str]) -> Float[Tensor, "N d"]:
        device = next(self.network.parameters()).device
        numbers = self.tokenizer(list(texts))
        for text, row in zip(texts, numbers.tolist(), strict=True):
            words.say(words.unread_by_open_clip(self.tokenizer, text, row), text, stacklevel=2)
        return self.network.encode_text(numbers.to(device))

    def encode_image(self, pixels: Float[Tensor, "B 3 h w"]) -> Float[Tensor, "B d"]:
        return self.network.encode_image(pixels)


def features(output: Any) -> Float[Tensor, "B d"]:
    """The embedding: `transformers` 4 returns the tensor itself, 5 an object that holds it.

    Raises:
        CheckpointError: If there is not one vector for each picture or text.
    """
    embedding = output if isinstance(output, Tensor) else output.pooler_output
    if embedding is None or embedding.ndim != 2:
        raise CheckpointError(
            "the model gives no single vector for a picture or a text (FLAVA gives one per token); take another"
        )
    return embedding


def load(name: str) -> TextImage:
    """Loads a text-image model by name; see the top of this file for the grammar.

    Raises:
        CheckpointError: If a file is not a CLIP of OpenAI's tensor names.
        MissingExtra: If the package that the model needs is not installed.
    """
    if name.startswith("open_clip:"):
        return _open_clip(name.removeprefix("open_clip:"))
    if (found := networks.load(name, "clip", TextImage)) is not None:
        return found
    return openai(name) if Path(name).is_file() else from_transformers(name)


def openai(
    path: str | Path, tokenizer: Any = None, *, exact: bool = False, bytes: bool = False
) -> OpenAI:
    """Reads an archive with OpenAI's tensor names; it computes in float32, as the official code does on a CPU.

    Arguments:
        path: The file.
        tokenizer: Makes token numbers of texts; None takes OpenAI's at first use.
        exact: Whether the activation is the exact GELU, as in the models of LAION.
        bytes: Whether its library sees pictures as bytes; the code of 2022 sees CLIP's as numbers.

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
    return OpenAI(fit(network, tensors, source=str(path)), tokenizer, bytes=bytes)


def from_transformers(repository: str, processor: str | None = None) -> Transformers:
    """Loads a CLIP or SigLIP of `transformers`.

    Arguments:
        repository: The repository or folder of the network.
        processor: That of its tokenizer and preprocessing, where they are elsewhere.

    Raises:
        CheckpointError: If it cannot be had.
    """
    network = pretrained.load("AutoModel", repository)
    if not all(hasattr(network, f"get_{kind}_features") for kind in ("text", "image")):
        raise CheckpointError(f"'{repository}' is no text-image model; give a CLIP or a SigLIP")
    ready = declared.load(processor or repository)
    tokenizer = pretrained.load("AutoTokenizer", processor or repository)
    found = Transformers(network, tokenizer, ready)
    seen = compared.tried(found.embed, source=repository)
    read = compared.tried(lambda _: found.encode_text([""]), source=repository, what="texts")
    if seen.shape != read.shape:
        raise CheckpointError(
            f"'{repository}' has pictures of {seen.shape[1]} numbers and texts of {read.shape[1]}; take another"
        )
    return found


def _open_clip(name: str) -> OpenClip:
    model, _, weights = name.partition("/")
    pretrained_on: str | None = weights or "openai"
    if model.startswith(("hf-hub:", "local-dir:")):
        model, pretrained_on = name, None  # they bring their own
    try:
        with offline.obeyed(), pretrained.hushed():
            purpose = f"the text-image model '{model}'"
            package = pretrained.package("open_clip", "open_clip", purpose)
            network, _, theirs = package.create_model_and_transforms(
                model, pretrained=pretrained_on
            )
            tokenizer = package.get_tokenizer(model)
    except (OSError, RuntimeError, ValueError) as error:
        line = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"open_clip cannot make '{name}' ({line}); {offline.cure()}"
        ) from error
    made = OpenClip(network, tokenizer, source=model)
    compared.agree(made.preprocess, theirs, source=f"'{model}' of open_clip")
    return made
