r"""How improbable an attribute is, by a classifier.

.. math:: E(x) = \sum_i w_i \cdot \bigl(-\log p_i(x)\bigr), \qquad p_i = \sigma(\pm f_i(x))

The official classifiers of CelebA's attributes, one network each. Every other network reads the words itself: the
avatars' own, or an image classifier, which finds a label by its name.

References:
    | Deep Learning Face Attributes in the Wild (Liu et al., 2014), https://arxiv.org/abs/1411.7766
    | Generative Visual Prompt: Unifying Distributional Control of Pre-Trained Generative Models
    | (Wu et al., 2022), https://arxiv.org/abs/2209.06970
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.energies.base import Energy
from latentzoo.errors import SpecError
from latentzoo.guides import networks, resnet
from latentzoo.guides.classifier import TIMM, Classifier, signed
from latentzoo.guides.classifier import load as load_named
from latentzoo.guides.preprocess import at_least_single, in_type_of
from latentzoo.guides.resnet import PREPROCESS
from latentzoo.guides.resnet import load as load_celeba
from latentzoo.guides.roles import Attributes

SATURATION = 1e-8
FILES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")


class Attribute(Energy):
    """Creates the energy of attributes that are wanted, or not.

    Arguments:
        classifiers: Networks from normalised 224x224 pictures to one logit each.
        wanted: Whether each attribute should be there.
        weights: Their weights; None weighs all by 1.
        antialias: Whether larger pictures are smoothed when they are shrunk; the paper's were not.
        exact: Whether -log p is computed stably; the official form, -log(p + 1e-8), has no gradient where p is 0.

    Raises:
        SpecError: If the lists have different lengths.
    """

    usual = 5.0  # the paper's

    def __init__(
        self,
        classifiers: Sequence[nn.Module],
        wanted: Sequence[bool],
        weights: Sequence[float] | None = None,
        *,
        antialias: bool = True,
        exact: bool = True,
    ) -> None:
        super().__init__()
        weights = [1.0] * len(classifiers) if weights is None else weights
        if not len(classifiers) == len(wanted) == len(weights):
            raise SpecError(
                "attributes, signs and weights have different lengths; give one of each per attribute"
            )
        self.classifiers = nn.ModuleList(c.eval().requires_grad_(False) for c in classifiers)
        self.wanted, self.weights = tuple(wanted), tuple(weights)
        self.antialias, self.exact = antialias, exact

    def logits(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K"]:
        """The logit of each attribute."""
        pixels = PREPROCESS(in_type_of(image, self.classifiers), antialias=self.antialias)
        return torch.stack([classifier(pixels) for classifier in self.classifiers], 1)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        logits = at_least_single(self.logits(image))
        sign = logits.new_tensor([1.0 if w else -1.0 for w in self.wanted])
        if self.exact:
            surprise = F.softplus(-sign * logits)
        else:
            p = logits.sigmoid()
            surprise = -torch.log(torch.where(sign > 0, p, 1 - p) + SATURATION)
        return surprise @ surprise.new_tensor(self.weights)


class Described(Energy):
    """Creates the energy of what words say, by a network that reads them itself.

    Arguments:
        network: The network.
        words: What is wanted, in the network's own grammar.

    Raises:
        LatentzooError: If the words say nothing that the network knows.
    """

    def __init__(self, network: Attributes, words: str) -> None:
        super().__init__()
        self.network, self.usual = network, network.usual
        self.understood = network.understand(words)

    def about(self, target: str) -> "Described":
        return Described(self.network, target)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        return at_least_single(
            self.network.surprise(in_type_of(image, self.network), self.understood)
        )

    def readings(self, image: Float[Tensor, "B 3 H W"]) -> dict[str, Float[Tensor, "B"]]:
        return {"probability": (-self(image)).exp()}

    @property
    def settled(self) -> Mapping[str, Any]:
        return self.network.settled


class Label(Described):
    """Creates the energy of a label that is wanted, or not.

    Arguments:
        classifier: The classifier, or its name: a repository of `transformers`, a folder, or `timm:NAME`.
        label: The label's name; one of its synonyms is enough. Several labels of one name count together.
        wanted: Whether the picture should show it.

    Raises:
        UnknownName: If there is no such label; the nearest are named.
        SpecError: If every label is called so, which says nothing.
    """

    def __init__(self, classifier: str | Classifier, label: str, *, wanted: bool = True) -> None:
        network = load_named(classifier) if isinstance(classifier, str) else classifier
        super().__init__(network, label if wanted else f"{label}=0")


def build(
    target: str,
    *,
    model: str | None = None,
    face: str | Sequence[float] | None = None,
    **options: Any,
) -> Energy:
    """Reads an attribute: `hat_color=yellow` of avatars, `Young=0` for a CelebA classifier, `tabby cat` for any other.

    Arguments:
        target: The attribute; `=0` after it says that it is not wanted.
        model: A card's name (`latentzoo show attribute`), the file of a CelebA classifier, a folder of several
            (`<attribute>/best.pth`, the target is then `Young,Eyeglasses=0`), a repository or folder of
            `transformers`, `timm:NAME`, or `module:Class`.
        face: Where the face is in a picture, for networks of faces: "ffhq" (their default) as FFHQ aligns it, "whole",
            or its left, top and side in shares of the longer side.
        options: Further arguments of the energy.

    Raises:
        SpecError: If no network is named.
    """
    if model is None:
        raise SpecError(
            "an attribute needs its classifier; give the path of its best.pth, or a repository, as the model"
        )
    if is_ensemble(model, target):
        return ensemble(model, target, **options)
    judge = None
    if not model.startswith(TIMM):
        judge = networks.load(model, "attribute", Attributes, face=face)
    if judge is not None:
        return Described(judge, target, **options)
    if face is not None:
        raise SpecError(f"'{model}' sees the whole picture; leave out face={face}")
    if Path(model).is_file() or Path(model).suffix in FILES:
        return Attribute([load_celeba(model)], [signed(target)[1]], **options)
    return Described(load_named(model), target, **options)


def is_ensemble(model: str, target: str) -> bool:
    """Whether a target is of several CelebA classifiers: of a folder, or named for those of one file."""
    path = Path(model)
    return any(path.glob(resnet.FILES)) or (path.is_file() and "," in target)


def ensemble(model: str, target: str, **options: Any) -> Attribute:
    """Reads `Young,Eyeglasses=0` for several CelebA classifiers, which are one energy.

    Arguments:
        model: A folder with `<attribute>/best.pth`, or one file of all of them in the order of the target.
        target: The attributes; `=0` after one says that it is not wanted.
        options: Further arguments of the energy.

    Raises:
        SpecError: If an attribute has another value than 0 or 1, or is given twice.
    """
    parts = [signed(part.strip()) for part in target.split(",")]
    names = [name for name, _ in parts]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SpecError(f"the attribute '{twice}' is given twice in '{target}'; leave one out")
    if Path(model).is_dir():
        found = [resnet.in_folder(model, name) for name in names]
    else:
        found = resnet.load_all(model, count=len(parts))
    return Attribute(found, [there for _, there in parts], **options)
