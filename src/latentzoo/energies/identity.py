r"""How far the person in a picture is from a reference.

.. math:: E(x) = \frac{1}{R} \sum_r d\bigl(f(x), f(x_r)\bigr), \qquad
    d(u, v) = 1 - \langle u, v \rangle \quad\text{where}\quad |u| = |v| = 1

:math:`f` embeds faces; a network whose vectors are not of unit length has a distance of its own. The references are
read and embedded once, when the energy is made.

References:
    | ArcFace: Additive Angular Margin Loss for Deep Face Recognition (Deng et al., 2018)
    | https://arxiv.org/abs/1801.07698
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo import picture
from latentzoo.energies.base import Energy
from latentzoo.errors import SpecError
from latentzoo.guides import networks, references
from latentzoo.guides.arcface import Cropped, load
from latentzoo.guides.preprocess import at_least_single, in_type_of
from latentzoo.guides.roles import Faces


class Identity(Energy):
    """Creates the identity energy.

    Arguments:
        network: A network that embeds pictures by the faces in them; or any from faces of 112 x 112 pixels in [0, 1] to
            unit vectors, which then sees what ArcFace sees of a picture.
        references: Pictures of the person, each (1, 3, h, w) in [0, 1], with the face as FFHQ aligns it.
        assumed: What of them nobody examined, as `Energy.assumed`.

    Raises:
        SpecError: If there is no reference.
    """

    embedded: Tensor

    def __init__(
        self,
        network: nn.Module,
        references: Sequence[Float[Tensor, "1 3 h w"]],
        *,
        assumed: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._assumed = dict(assumed or {})
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
        return self.network.distance(seen, self.embedded.to(seen)).mean(1)

    def readings(self, image: Float[Tensor, "B 3 H W"]) -> dict[str, Float[Tensor, "B"]]:
        value = self(image)
        return {"similarity": 1 - value} if self.network.cosine else {"distance": value.sqrt()}

    @property
    def assumed(self) -> Mapping[str, str]:
        return self._assumed

    @property
    def settled(self) -> Mapping[str, Any]:
        return self.network.settled

    def _embed(self, image: Tensor) -> Tensor:
        return at_least_single(self.network.embed(in_type_of(image, self.network)))


def build(
    target: str,
    *,
    model: str | None = None,
    landmarks: Sequence[Any] | None = None,
    face: str | Sequence[float] | None = None,
    reference: Sequence[Any] | None = None,
    **options: Any,
) -> Energy:
    """Reads references, paths with commas between them.

    Arguments:
        target: The paths of the references.
        model: The network: a card's name (`latentzoo show identity`), a file of IR-SE50, or `module:Class`. Those that
            see a face cut out find that of a reference themselves.
        landmarks: Five landmarks of each reference that is not aligned as FFHQ is, ten numbers x, y, ... in pixels:
            left eye, right eye, nose, left and right corner of the mouth, as seen.
        face: Where the face is in the guided pictures: "ffhq" (the default of networks that ask) as FFHQ aligns it,
            "whole", or its left, top and side in shares of the longer side.
        reference: Where the face is in each reference, as `face`; it is found where this is left out.
        options: Further arguments of the energy.

    Raises:
        SpecError: If no network is named, or there are not ten numbers for each reference.
        ImageError: If a reference is no picture, or no face is found in it.
    """
    paths = [path.strip() for path in target.split(",")]
    if model is None:
        raise SpecError(
            "an identity needs its network; give the path of model_ir_se50.pth as the model"
        )
    network = networks.load(model, "identity", Faces, face=face, reference=reference)
    if network is None:
        if face is not None or reference is not None:
            raise SpecError(f"'{model}' has its own cut of a face; leave out face and reference")
        network = load(model)
    if landmarks is None:
        found = network.references(paths)
        assumed = {} if network.cuts else references.examine(network, paths)
        return Identity(network, found, assumed=assumed, **options)
    numbers = torch.tensor(landmarks, dtype=torch.float64).flatten()
    if numbers.numel() != 10 * len(paths):
        raise SpecError(
            f"{numbers.numel()} numbers are given for the landmarks of {len(paths)} references; give ten for each"
        )
    five = numbers.view(len(paths), 5, 2)
    aligned = [network.align(picture.read(path), at) for path, at in zip(paths, five, strict=True)]
    return Identity(network, aligned, assumed={}, **options)
