r"""The attributes of a face, read by a network: to guide by, and to judge by.

.. math:: E(x) = -\sum_k \log \sum_{v \in V_k} q_k(v \mid x)

for a predicate that allows attribute :math:`k` the values :math:`V_k`. The *guide* has seen shifted, blurred, noisy
and regenerated faces, so that its gradient means something; the *judge*, of another architecture and seed, is never
used for guidance and counts what came out.
"""

import re
from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentzoo.builtin.avatars import NAMES, VALUES, Predicate
from latentzoo.builtin.captions import parse
from latentzoo.builtin.networks.recognizer import Guide, Judge
from latentzoo.builtin.weights import fill, tensors
from latentzoo.errors import EnergyError, SpecError, UnknownName
from latentzoo.guides.roles import Attributes, Features
from latentzoo.hub import read as checkpoint
from latentzoo.hub.fit import fit

SIZES = {name: len(VALUES[name]) for name in NAMES}
Reading = Mapping[str, Float[Tensor, "B K"]]
"""The log-probabilities of the values of each attribute."""


def guide() -> Guide:
    """The attribute network to guide by."""
    return fill(Guide(SIZES), tensors("avatar-attributes"))


def judge() -> Judge:
    """The held-out attribute network."""
    return fill(Judge(SIZES), tensors("avatar-judge"))


def read(text: str) -> dict[str, frozenset[str]]:
    """The predicate of "hat=brimmed|beanie, hat_color=yellow", or of a caption: "a person with a yellow hat".

    Raises:
        UnknownName: An attribute or a value does not exist.
        SpecError: The text says nothing about any attribute, or two things about one.
    """
    if "=" not in text:
        predicate = parse(text)
    else:
        predicate = {}
        for clause in re.split(r"\s*[,;]\s*", text.strip()):
            name, _, given = (part.strip() for part in clause.partition("="))
            if name not in VALUES:
                raise UnknownName("attribute of avatars", name, VALUES)
            if name in predicate:
                raise SpecError(
                    f"'{text}' gives {name} twice; write one, e.g. {name}=A|B for either"
                )
            values = [value.strip() for value in given.split("|")]
            for value in values:
                if value not in VALUES[name]:
                    raise UnknownName(f"value of '{name}'", value, VALUES[name])
            predicate[name] = frozenset(values)
    if not predicate:
        raise SpecError(
            f"the text '{text}' says nothing about an attribute of avatars; "
            "try 'hat_color=yellow' or 'a person with a yellow hat'"
        )
    return predicate


def log_probability(reading: Reading, predicate: Predicate) -> dict[str, Float[Tensor, "B"]]:
    """For each attribute of the predicate, the log-probability that its value is allowed."""
    return {
        name: reading[name][:, [VALUES[name].index(v) for v in sorted(values)]].logsumexp(1)
        for name, values in predicate.items()
    }


def satisfied(reading: Reading, predicate: Predicate) -> Bool[Tensor, "B"]:
    """Which pictures satisfy a predicate: each of its attributes more likely than not."""
    parts = log_probability(reading, predicate).values()
    return torch.stack([part.exp() > 0.5 for part in parts]).all(dim=0)


class AvatarAttributes(Attributes):
    """Creates the network of the avatars' attributes, to guide by; it understands what :func:`read` does."""

    usual = 10.0

    def __init__(self, network: Guide) -> None:
        super().__init__()
        self.network = network

    def understand(self, words: str) -> Predicate:
        return read(words)

    def surprise(
        self, image: Float[Tensor, "B 3 H W"], understood: Predicate
    ) -> Float[Tensor, "B"]:
        """The negative log-probability of the attributes.

        Raises:
            EnergyError: The pictures are not 64x64.
        """
        if image.shape[-2:] != (64, 64):
            raise EnergyError(
                f"the avatars' attributes are read from 64x64, not {image.shape[-2]}x{image.shape[-1]}; "
                "use them with the avatar generators"
            )
        each = log_probability(self.network(image), understood).values()
        return -torch.stack(list(each)).sum(dim=0)


class AvatarFeatures(Features):
    """Creates the features of the avatars' judge."""

    def __init__(self, network: Judge) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B F"]:
        """The features of avatars.

        Raises:
            SpecError: If the pictures are not 64x64.
        """
        if image.shape[2:] != (64, 64):
            raise SpecError(
                f"'avatar-judge' sees avatars of 64x64, not {image.shape[2]}x{image.shape[3]}; give other --features"
            )
        return self.network.features(image)


def load(path: str) -> AvatarAttributes:
    """Reads the attribute network of a weight file."""
    return AvatarAttributes(fit(Guide(SIZES), checkpoint.read(path).tensors, source=path))


def features(path: str) -> AvatarFeatures:
    """Reads the judge of a weight file."""
    return AvatarFeatures(fit(Judge(SIZES), checkpoint.read(path).tensors, source=path))
