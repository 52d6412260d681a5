"""What a network must be able to do to guide: the roles that a plug-in's networks may have.

A text-image model is a `latentzoo.guides.text_image.TextImage`; here are the others.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from latentzoo import picture
from latentzoo.errors import SpecError


class Settling:
    """A network that finds some of its own options, as where a face is.

    Attributes:
        settled: These options by name, as the record of a run tells them: given to what makes the network, they make
            the same one.
    """

    settled: Mapping[str, Any] = MappingProxyType({})


class Attributes(nn.Module, Settling, ABC):
    """A frozen network that says how probable it is that a picture has certain attributes.

    Attributes:
        usual: The weight that suits its energy.
    """

    usual: float = 5.0

    @abstractmethod
    def understand(self, words: str) -> Any:
        """Reads what is wanted, once.

        Raises:
            LatentzooError: If the words say nothing that the network knows.
        """

    @abstractmethod
    def surprise(self, image: Float[Tensor, "B 3 H W"], understood: Any) -> Float[Tensor, "B"]:
        """Minus the logarithm of the probability that pictures in [0, 1] have what was understood."""


class Ages(nn.Module, Settling, ABC):
    """A frozen network that says how old a face looks."""

    @abstractmethod
    def years(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        """The ages of the faces in pictures in [0, 1], in years."""


class Faces(nn.Module, Settling, ABC):
    """A frozen network that embeds faces so that the pictures of one person are near each other.

    Attributes:
        usual: The weight that suits its energy.
        cosine: Whether it embeds as unit vectors, so that one minus the distance is a cosine.
        finder: The card of what finds faces in pictures of its kind; None if nothing does.
        cuts: Whether it finds the face of a reference itself.
    """

    usual: float = 2500.0
    cosine: bool = True
    finder: str | None = None
    cuts: bool = False

    @abstractmethod
    def embed(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B d"]:
        """The vectors of pictures in [0, 1]."""

    def distance(
        self, seen: Float[Tensor, "B d"], others: Float[Tensor, "R d"]
    ) -> Float[Tensor, "B R"]:
        """How far embedded pictures are from others; for unit vectors, one minus their cosine."""
        return 1 - seen @ others.T

    def read(self, path: str | Path) -> Float[Tensor, "1 3 h w"]:
        """Reads a reference as the network expects it; one that is no square is warned of."""
        return picture.read_square(path)

    def references(self, paths: Sequence[str | Path]) -> list[Float[Tensor, "1 3 h w"]]:
        """Reads all references of a person.

        Raises:
            ImageError: If one cannot be read, or used.
        """
        return [self.read(path) for path in paths]

    def align(
        self, image: Float[Tensor, "1 3 h w"], landmarks: Float[Tensor, "5 2"]
    ) -> Float[Tensor, "1 3 H W"]:
        """Moves a picture so that its landmarks are where the network expects them.

        Raises:
            SpecError: If nothing is known of where it expects them.
        """
        raise SpecError(f"{type(self).__name__} has no landmarks; leave them out")

    def merge(self, embedded: Float[Tensor, "R d"]) -> Float[Tensor, "r d"]:
        """What several references of one person are compared as."""
        return embedded


class Features(nn.Module, ABC):
    """A frozen network in whose features sets of pictures are compared."""

    @abstractmethod
    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F"]:
        """The features of pictures in [0, 1]."""


class RewardModel(nn.Module, ABC):
    """A frozen network that rates pictures for a prompt."""

    @abstractmethod
    def understand(self, prompt: str) -> Tensor:
        """Computes what does not depend on the pictures, once."""

    @abstractmethod
    def rate(self, image: Float[Tensor, "B 3 H W"], understood: Tensor) -> Float[Tensor, "B"]:
        """Rates pictures in [0, 1] for a prompt that was understood."""

    def forward(self, image: Float[Tensor, "B 3 H W"], prompt: str) -> Float[Tensor, "B"]:
        """Rates pictures in [0, 1] for a prompt; larger is better."""
        return self.rate(image, self.understand(prompt))
