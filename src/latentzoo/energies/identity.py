r"""How far the person in a picture is from a reference.

.. math:: E(x) = 1 - \frac{1}{R} \sum_r \langle f(x), f(x_r) \rangle

:math:`f` embeds faces as unit vectors. The references are read and embedded once, when the energy is made.

References:
    | ArcFace: Additive Angular Margin Loss for Deep Face Recognition (Deng et al., 2018)
    | https://arxiv.org/abs/1801.07698
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo import picture
from latentzoo.energies.base import Energy
from latentzoo.errors import SpecError
from latentzoo.guides import faces, networks
from latentzoo.guides.arcface import Cropped, load
from latentzoo.guides.preprocess import at_least_single, in_type_of
from latentzoo.guides.roles import Faces


class Identity(Energy):
    """Creates the identity energy.

    Arguments:
        network: A network that embeds pictures by the faces in them; or any from faces of 112 x 112 pixels in [0, 1] to
            unit vectors, which then sees what ArcFace sees of a picture.
        references: Pictures of the person, each (1, 3, h, w) in [0, 1], with the face as FFHQ aligns it.

    Raises:
        SpecError: If there is no reference.
    """

    embedded: Tensor

    def __init__(self, network: nn.Module, references: Sequence[Float[Tensor, "1 3 h w"]]) -> None:
        super().__init__()
        if not references:
            raise SpecError("an identity needs at least one reference picture; give its path")
        faces = network if isinstance(network, Faces) else Cropped(network)
        self.network, self.usual = faces.eval().requires_grad_(False), faces.usual
        with torch.no_grad():
            each = torch.cat([self._embed(reference) for reference in references])
            embedded = self.network.merge(each)
        self.register_buffer("embedded", embedded, persistent=False)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        seen = self._embed(image)
        return 1 - (seen @ self.embedded.to(seen).T).mean(1)

    def _embed(self, image: Tensor) -> Tensor:
        return at_least_single(self.network.embed(in_type_of(image, self.network)))


class Person(Energy):
    r"""Creates the energy of the distance to a person, in the units of a network whose threshold is known.

    .. math:: E(x) = \frac{1}{R} \sum_r |f(x) - f(x_r)|^2

    Arguments:
        network: Embeds faces of any size, (B, 3, h, w), as numbers; not of unit length.
        references: Faces of the person, each (1, 3, h, w) in [0, 1], cut out.
        cut: Takes the face out of a picture.

    Raises:
        SpecError: If there is no reference.
    """

    embedded: Tensor
    usual = 200.0

    def __init__(
        self,
        network: nn.Module,
        references: Sequence[Float[Tensor, "1 3 h w"]],
        *,
        cut: Callable[[Tensor], Tensor] = faces.FFHQ,
    ) -> None:
        super().__init__()
        if not references:
            raise SpecError("an identity needs at least one reference picture; give its path")
        self.network, self.cut = network.eval().requires_grad_(False), cut
        with torch.no_grad():
            embedded = torch.cat([self.network(face) for face in references])
        self.register_buffer("embedded", embedded, persistent=False)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        f = at_least_single(self.network(self.cut(in_type_of(image, self.network))))
        return (f[:, None] - self.embedded).square().sum(2).mean(1)


def build(
    target: str,
    *,
    model: str | None = None,
    landmarks: Sequence[Any] | None = None,
    face: str | None = None,
    **options: Any,
) -> Energy:
    """Reads references, paths with commas between them.

    Arguments:
        target: The paths of the references.
        model: The network: a file of IR-SE50, `face-api`, which finds the face of a reference itself, a card's name,
            or `module:Class`.
        landmarks: Five landmarks of each reference that is not aligned as FFHQ is, ten numbers x, y, ... in pixels:
            left eye, right eye, nose, left and right corner of the mouth, as seen.
        face: Where the face is in the guided pictures, for `face-api`: ffhq (the default) or whole.
        options: Further arguments of the energy.

    Raises:
        SpecError: If no network is named, or there are not ten numbers for each reference.
    """
    paths = [path.strip() for path in target.split(",")]
    if model == faces.MODEL:
        cut = faces.cut(face or "ffhq")
        find = faces.Finding()  # a picture without a face is told before the run
        pictures = [(path, picture.read(path)) for path in paths]
        found = [find(image, source=path)(image) for path, image in pictures]
        return Person(faces.recognition(), found, cut=cut, **options)
    if face is not None:
        raise SpecError(f"'{model}' has its own cut of a face; leave out face={face}")
    if model is None:
        raise SpecError(
            "an identity needs its network; give the path of model_ir_se50.pth as the model"
        )
    network = networks.load(model, Faces) or load(model)
    if landmarks is None:
        return Identity(network, [network.read(path) for path in paths], **options)
    numbers = torch.tensor(landmarks, dtype=torch.float64).flatten()
    if numbers.numel() != 10 * len(paths):
        raise SpecError(
            f"{numbers.numel()} numbers are given for the landmarks of {len(paths)} references; give ten for each"
        )
    five = numbers.view(len(paths), 5, 2)
    aligned = [network.align(picture.read(path), at) for path, at in zip(paths, five, strict=True)]
    return Identity(network, aligned, **options)
