r"""Image classifiers, seen as one: pictures in [0, 1] to the logits of named labels.

owner/repository, or a folder     any image classifier of `transformers`
timm:resnet50.a1_in1k             any of `timm`

With :math:`S` the labels of the wanted name, all labels exclusive,

.. math:: -\log p(x) = -\log \sum_{k \in S} \operatorname{softmax}(f(x))_k

References:
    | Transformers: State-of-the-Art Natural Language Processing (Wolf et al., 2019)
    | https://arxiv.org/abs/1910.03771
    | PyTorch Image Models (Wightman, 2019), https://github.com/huggingface/pytorch-image-models
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.errors import CheckpointError, SpecError, UnknownName
from latentzoo.guides import compared, declared, tables
from latentzoo.guides.preprocess import at_least_single, in_type_of
from latentzoo.guides.pretrained import hushed, package
from latentzoo.guides.pretrained import load as pretrained
from latentzoo.guides.roles import Attributes
from latentzoo.hub import offline

TIMM = "timm:"


class Wanted(NamedTuple):
    """The places of a label among all, those of the others, and whether it should be there."""

    places: list[int]
    others: list[int]
    there: bool


class Classifier(Attributes):
    """Creates a classifier.

    Arguments:
        network: From normalised pictures to logits, one per label.
        preprocess: From pictures in [0, 1] to normalised ones.
        labels: The labels' names, in the order of the logits.
        exclusive: Whether exactly one label is true (softmax), or each by itself (sigmoid).
    """

    def __init__(
        self,
        network: nn.Module,
        preprocess: Callable[[Tensor], Tensor],
        labels: Sequence[str],
        *,
        exclusive: bool = True,
    ) -> None:
        super().__init__()
        self.network, self.preprocess = network.eval().requires_grad_(False), preprocess
        self.labels, self.exclusive = tuple(labels), exclusive

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K"]:
        """The logits of pictures."""
        output = self.network(self.preprocess(in_type_of(image, self.network)))
        return output if isinstance(output, Tensor) else output.logits

    def understand(self, words: str) -> Wanted:
        """Reads a label; "=0" after it says that it is not wanted.

        Raises:
            UnknownName: If there is no such label; the nearest are named.
            SpecError: If the words are no label, or every label is called so, which says nothing.
        """
        name, there = signed(words)
        places = sorted(set(self.find(name)))
        others = sorted(set(range(len(self.labels))) - set(places))
        if self.exclusive and not others:
            raise SpecError(f"every label of the classifier is called '{name}'; take another")
        return Wanted(places, others, there)

    def surprise(self, image: Float[Tensor, "B 3 H W"], understood: Wanted) -> Float[Tensor, "B"]:
        logits = at_least_single(self(image))
        places, others, there = understood
        if self.exclusive:
            return logits.logsumexp(1) - logits[:, places if there else others].logsumexp(1)
        return F.softplus((-1 if there else 1) * logits[:, places]).sum(1)

    def find(self, label: str) -> list[int]:
        """The places of a label, by its whole name or one of its synonyms ("tabby, tabby cat"), in any case.

        Raises:
            UnknownName: If no label is called so; the nearest are named.
        """
        wanted = label.strip().lower()
        synonyms = [{name.lower(), *_parts(name.lower())} for name in self.labels]
        found = [i for i, names in enumerate(synonyms) if wanted in names]
        if not found:
            known = set().union(*synonyms)
            raise UnknownName("label", wanted, known, shown="its model card lists them")
        return found


def signed(words: str) -> tuple[str, bool]:
    """An attribute's name, and whether it is wanted: `happy` or `happy=1`, or `happy=0`.

    Raises:
        SpecError: If something else stands behind it.
    """
    name, equals, value = words.partition("=")
    if value not in ("0", "1") if equals else value:
        raise SpecError(
            f"the attribute '{words}' is not one of such a classifier; write {name} or {name}=0"
        )
    return name, value != "0"


def load(name: str) -> Classifier:
    """Loads a classifier by name; see the top of this file for the grammar.

    Raises:
        CheckpointError: If it cannot be had.
        MissingExtra: If its package is not installed.
    """
    if name.startswith(TIMM):
        return _timm(name.removeprefix(TIMM))
    network = pretrained("AutoModelForImageClassification", name)
    config = network.config
    labels = [config.id2label[i] for i in range(len(config.id2label))]
    exclusive = config.problem_type != "multi_label_classification"
    return _fit(Classifier(network, declared.load(name), labels, exclusive=exclusive), name)


def _timm(name: str) -> Classifier:
    try:
        with offline.obeyed(), hushed():
            library: Any = package("timm", "timm", f"the classifier '{name}'")
            network = library.create_model(name, pretrained=True)
    except (OSError, RuntimeError) as error:
        line = " ".join(str(error).split())[:200]
        raise CheckpointError(f"timm cannot make '{name}' ({line}); {offline.cure()}") from error
    subset = library.data.infer_imagenet_subset(network)
    if subset is None:
        raise CheckpointError(
            f"timm knows no names for the labels of '{name}'; take another model"
        )
    data = library.data.resolve_model_data_config(network)
    ready = tables.timm(data, source=name)
    theirs = library.data.create_transform(**data, is_training=False)
    compared.agree(ready, theirs, source=f"'{name}' of timm")
    labels = library.data.ImageNetInfo(subset).label_descriptions()
    return _fit(Classifier(network, ready, labels), name)


def _fit(found: Classifier, name: str) -> Classifier:
    logits = compared.tried(found, source=name)
    if logits.shape != (1, len(found.labels)):
        raise CheckpointError(
            f"'{name}' has {len(found.labels)} labels and makes {tuple(logits.shape)} numbers of a picture; "
            "take another model"
        )
    return found


def _parts(name: str) -> list[str]:
    return [part.strip() for part in name.split(",")]
