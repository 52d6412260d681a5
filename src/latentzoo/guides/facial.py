"""Networks of faces as guides: the face is cut out of a picture, the same way for a whole run, and then judged.

The loaders of the cards are here; each takes `face`, where the face is (see `faces.cut`), and the record of a run tells
it. A reference of an identity is a picture of any framing: its face is found once, or is at `reference`.
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo import picture
from latentzoo.errors import SpecError
from latentzoo.guides import faceapi, faces, human, networks
from latentzoo.guides.classifier import Classifier
from latentzoo.guides.preprocess import in_type_of
from latentzoo.guides.roles import Ages, Faces

SMALLEST = 1e-12  # a probability whose logarithm is taken


class Years(Ages):
    """Creates the guide of a network from faces to years.

    Arguments:
        network: From faces of any size, (B, 3, h, w) in [0, 1], to a tuple that begins with years, (B,).
        face: Where the face is in a picture.
    """

    def __init__(self, network: nn.Module, face: faces.Face = "ffhq") -> None:
        super().__init__()
        self.network, self.cut, self.settled = network, faces.cut(face), {"face": face}

    def years(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        return self.network(self.cut(in_type_of(image, self.network)))[0]


class Expressions(Classifier):
    """Creates the guide of a network from faces to the logits of expressions.

    Arguments:
        network: From faces of any size, (B, 3, h, w) in [0, 1], to logits, (B, K).
        labels: The names of the expressions.
        face: Where the face is in a picture.
    """

    def __init__(
        self, network: nn.Module, labels: Sequence[str], face: faces.Face = "ffhq"
    ) -> None:
        super().__init__(network, faces.cut(face), labels)
        self.settled = {"face": face}


class Recognition(Faces):
    """Creates the guide of a network that embeds faces.

    Arguments:
        network: From faces of any size, (B, 3, h, w) in [0, 1], to vectors, (B, d).
        finder: Finds the face of a reference.
        face: Where the face is in a guided picture.
        reference: Where it is in each reference; None finds it.
    """

    usual = 400.0
    cuts = True

    def __init__(
        self,
        network: nn.Module,
        finder: Callable[..., faces.Cut],
        face: faces.Face = "ffhq",
        reference: Sequence[faces.Face] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.cut, self.reference = network, faces.cut(face), reference
        self.finding = (finder,)  # no part of what is hashed and moved: it guides nothing
        self.settled = {"face": face}

    def embed(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B d"]:
        return F.normalize(self.network(self.cut(image)), dim=1)

    def references(self, paths: Sequence[str | Path]) -> list[Float[Tensor, "1 3 h w"]]:
        """Reads references and frames each so that its face is where it is in the guided pictures.

        Raises:
            ImageError: If one is no picture, or has no face.
            SpecError: If there is not one place of a face for each.
        """
        images = [picture.read(path) for path in paths]
        if self.reference is None:
            (find,) = self.finding
            found = [find(i, source=str(path)) for i, path in zip(images, paths, strict=True)]
            for image, path, face in zip(images, paths, found, strict=True):
                _tell(image, path, face)
        elif len(self.reference) == len(images):
            found = [faces.cut(face) for face in self.reference]
        else:
            raise SpecError(
                f"reference tells {len(self.reference)} faces and there are {len(images)} pictures; give one for each"
            )
        self.settled = {**self.settled, "reference": [list(face) for face in found]}
        return [self.cut.framed(i, face) for i, face in zip(images, found, strict=True)]


def _tell(image: Float[Tensor, "1 3 H W"], path: str | Path, face: faces.Cut) -> None:
    """Warns of a reference that is no square, of which a square is taken."""
    height, width = image.shape[2:]
    if height != width:
        left, top, side = (round(n * max(height, width)) for n in face)
        warnings.warn(
            f"{path}: of its {width} x {height} pixels the face is looked at, {side} x {side} from ({left}, {top}); "
            "give another place as reference=",
            stacklevel=3,
        )


class Distances(Recognition):
    r"""Creates the guide of dlib's network, whose vectors are not of unit length.

    Faces of one person are less than 0.6 apart; the distance is :math:`|f(x) - f(x_r)|^2`. As the likelihood of a
    Gaussian in 128 numbers, :math:`\lambda |f(x) - f(x_r)|^2` asks for a distance near
    :math:`\sqrt{128 / (2 \lambda)}`: the usual weight asks for 0.4, well inside of these 0.6.
    """

    usual = 400.0
    cosine = False

    def embed(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B d"]:
        return self.network(self.cut(image))

    def distance(
        self, seen: Float[Tensor, "B d"], others: Float[Tensor, "R d"]
    ) -> Float[Tensor, "B R"]:
        return (seen[:, None] - others).square().sum(2)


class Only(nn.Module):
    """Creates a network that gives one output of another.

    Arguments:
        network: Gives a tuple.
        place: Which of it.
    """

    def __init__(self, network: nn.Module, place: int) -> None:
        super().__init__()
        self.network, self.place = network, place

    def forward(self, face: Tensor) -> Tensor:
        return self.network(face)[self.place]


class Logarithm(nn.Module):
    """Creates a network that gives the logarithms of another's probabilities."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, face: Tensor) -> Tensor:
        return torch.log(self.network(face).clamp_min(SMALLEST))


def dlib_identity(
    folder: str, *, face: faces.Face = "ffhq", reference: Sequence[faces.Face] | None = None
) -> Recognition:
    """Loads dlib's network of identity, by face-api."""
    network = faceapi.load("recognition", folder)
    return Distances(network, faces.Finding(folder), face, reference)


def faceapi_age(folder: str, *, face: faces.Face = "ffhq") -> Years:
    """Loads face-api's network of age."""
    return Years(faceapi.load("age", folder), face)


def faceapi_expressions(folder: str, *, face: faces.Face = "ffhq") -> Expressions:
    """Loads face-api's network of expressions."""
    return Expressions(faceapi.load("expression", folder), faceapi.EXPRESSIONS, face)


def human_age(folder: str, *, face: faces.Face = "ffhq") -> Years:
    """Loads the age of FaceRes."""
    return Years(human.FaceRes(folder), face)


def human_expressions(folder: str, *, face: faces.Face = "ffhq") -> Expressions:
    """Loads Emotion."""
    return Expressions(Logarithm(human.Emotion(folder)), human.EMOTIONS, face)


def human_identity(
    folder: str,
    *,
    network: str,
    finder: str,
    face: faces.Face = "ffhq",
    reference: Sequence[faces.Face] | None = None,
) -> Recognition:
    """Loads MobileFace, or the features of FaceRes.

    Arguments:
        folder: The folder of the files.
        network: "mobileface" or "faceres".
        finder: The card of what finds the face of a reference.
        face, reference: See `Recognition`.
    """
    embed = {"mobileface": human.MobileFace, "faceres": lambda f: Only(human.FaceRes(f), 2)}
    find = networks.need(finder, "finder", faces.Finding)
    return Recognition(embed[network](folder), find, face, reference)
