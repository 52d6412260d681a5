"""From what a user names to a generator: find the file, read it, see of which family it is, build, and fit."""

import inspect
import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from latentzoo.errors import CheckpointError, UnknownName
from latentzoo.files import write_atomic
from latentzoo.generator import Generator
from latentzoo.hub import archive, fetch, fit, package, wrapping
from latentzoo.hub import card as cards
from latentzoo.hub.cache import sha256
from latentzoo.hub.card import Card
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.hub.read import read
from latentzoo.hub.safe import CARD
from latentzoo.zoo import shelf

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+(@[\w.-]+)?(/.+)?", re.ASCII)
FILE = re.compile(r"\.(pt|pth|pkl|ckpt|bin|safetensors|zip)(#.*)?$")


@dataclass(frozen=True)
class Plan:
    """What is needed to build one generator.

    Arguments:
        family: The family's name.
        keys: The dialect of the file's names.
        config: The arguments of the family's `build`.
        checkpoint: The file's content.
        card: The card, if there is one.
    """

    family: str
    keys: str
    config: dict[str, Any]
    checkpoint: Checkpoint
    card: Card | None

    @classmethod
    def of(cls, x: str, *, family: str | None, progress: fetch.Progress | None = None) -> "Plan":
        """Finds and reads what a user named, see `latentzoo.zoo.load`.

        Raises:
            CheckpointError: If the container is not that of the card.
        """
        card, path = find(x, progress)
        checkpoint = read(path)
        if card is None and "card" in checkpoint.records:
            card = cards.parse(path.stem, checkpoint.records["card"], source=str(path))
        if card is None:
            name, seen, checkpoint = recognise(checkpoint, family)
            return cls(name, seen["keys"], seen["config"], checkpoint, None)
        if checkpoint.container != card.container:
            fact = f"is a file of the container '{checkpoint.container}', its card says '{card.container}'"
            raise CheckpointError(f"{path}: {fact}; was it exchanged?")
        if card.base is not None:
            checkpoint = checkpoint.over(read(place(card.base, progress)))
        name, seen, checkpoint = network(checkpoint, [card.family]) or (
            card.family,
            {"config": {}},
            checkpoint,
        )
        return cls(name, card.keys, {**seen["config"], **card.config}, checkpoint, card)

    @property
    def source(self) -> str:
        """What to call the file in errors."""
        return str(self.checkpoint.path)

    def build(self, **options: Any) -> Generator:
        """Builds the generator and gives it the file's tensors.

        Raises:
            UnknownName: If an option or the dialect does not exist.
            CheckpointError: If the tensors are not those of the network.
        """
        family = shelf.family(self.family)
        known = inspect.signature(family.build).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            for name in options:
                if name not in known:
                    raise UnknownName(f"option of the family '{self.family}':", name, known)
        with fit.uninitialised():
            try:
                generator = family.build(**{**self.config, **options})
            except TypeError as error:
                if "unexpected keyword argument" not in str(error):
                    raise
                wrong = str(error).rsplit("'", 2)[-2]
                raise UnknownName(
                    f"option of the family '{self.family}':", wrong, known
                ) from error
        fit.fit(generator, self.checkpoint.tensors, self.rules(generator), source=self.source)
        return generator

    def rules(self, generator: Generator) -> list[Rule]:
        """The key rules of this file.

        Raises:
            UnknownName: If the family has no such dialect.
        """
        dialects = shelf.family(self.family).KEYS
        if self.keys not in dialects:
            raise UnknownName(f"dialect of the family '{self.family}':", self.keys, dialects)
        return dialects[self.keys](generator)

    def write(self, out: Path) -> Card:
        """Writes the file as safetensors with its card inside, see `latentzoo.zoo.convert`.

        Raises:
            CheckpointError: If the file cannot be written.
        """
        generator = self.build()
        rules = self.rules(generator)
        ours = lambda name: next(to for taken, to in (r.rename(name) for r in rules) if taken)
        tensors = self.checkpoint.tensors
        used = {
            name: value.clone().contiguous()
            for name, value in tensors.items()
            if ours(name) is not None
        }
        path = Path(self.source)
        came = f"Converted from {path.name} (sha256 {sha256(path)})."
        known = (
            asdict(self.card)
            if self.card is not None
            else {"licence": "unknown", "paper": "", "dataset": ""}
        )
        made = {
            "family": self.family,
            "keys": self.keys,
            "config": self.config,
            "container": "safetensors",
        }
        made |= {
            "url": None,
            "mirrors": [],
            "source": None,
            "base": None,
            "sha256": None,
            "resolution": generator.size[0],
        }
        made |= {
            "name": known.get("name", out.stem),
            "notes": f"{came} {known.get('notes', '')}".strip(),
        }
        card = cards.parse(made["name"], {**known, **made}, source=self.source)
        texts = {"format": "pt", CARD: json.dumps(asdict(card))}
        try:
            write_atomic(out, lambda place: save_file(used, place, texts))
        except OSError as error:
            raise CheckpointError(
                f"{out}: cannot be written ({error.strerror or error})"
            ) from error
        return card


def find(x: str, progress: fetch.Progress | None) -> tuple[Card | None, Path]:
    """Finds the file of a card's name, a path, an address or a Hugging Face id; downloads it if need be.

    Raises:
        UnknownName: If it is none of them.
        CheckpointError: If there is no such file, or the card has no address.
    """
    if x in shelf.names():
        card = shelf.card(x)
        if card.source is not None:
            return card, package.fetch(card.source, progress)
        if card.url is None:
            where = card.notes or "see its paper"
            raise CheckpointError(
                f"the card '{x}' has no address to download from: load its file itself ({where})"
            )
        return card, place(card.url, progress, mirrors=card.mirrors, sha256=card.sha256)
    file, _, member = x.partition("#")
    if Path(file).exists():
        return None, archive.unpack(Path(file), member) if member else Path(file)
    if "://" in x:
        return None, fetch.fetch(x, progress=progress)
    if HUB_ID.fullmatch(x) and not (FILE.search(x) and x.count("/") == 1):
        return None, fetch.fetch(f"hf://{x}", progress=progress)
    if "/" in x or os.sep in x or FILE.search(x):
        raise CheckpointError(
            f"{x}: there is no such file; check the path, or `latentzoo list` for names"
        )
    raise UnknownName("generator", x, shelf.names())


def place(url: str, progress: fetch.Progress | None, **expected: Any) -> Path:
    """The file of an address: that of the package, or one that is downloaded if need be."""
    return shelf.packaged(url) or fetch.fetch(url, progress=progress, **expected)


def configuration(family: str, checkpoint: Checkpoint) -> dict[str, Any] | None:
    """What a family reads from a file; None if it is of another one, or lacks tensors that tell."""
    try:
        return shelf.family(family).infer(checkpoint)
    except (LookupError, ValueError, TypeError, ArithmeticError):
        return None


def recognise(
    checkpoint: Checkpoint, family: str | None
) -> tuple[str, dict[str, Any], Checkpoint]:
    """Sees of which family a file is, with which configuration, and which of its tensors are the network's.

    Raises:
        CheckpointError: If it is of none, or could be of several.
    """
    candidates = [family] if family is not None else list(shelf.families())
    if (plan := network(checkpoint, candidates)) is not None:
        return plan
    some = ", ".join(list(checkpoint.tensors)[:4])
    if family is not None:
        fact = f"is not of the family '{family}': it has the tensors {some}, ..."
    else:
        fact = f"is of no family that is known: it has the tensors {some}, ...; families: {', '.join(candidates)}"
    raise CheckpointError(f"{checkpoint.path}: {fact}")


def network(
    checkpoint: Checkpoint, families: Iterable[str]
) -> tuple[str, dict[str, Any], Checkpoint] | None:
    """The network of a file that is of one of the families, whatever is wrapped around it; None if there is none.

    Raises:
        CheckpointError: If there are several networks, or one could be of several families.
    """
    for layer in wrapping.layers(checkpoint):
        found = {
            prefix: {name: seen for name in families if (seen := configuration(name, inner))}
            for prefix, inner in layer.items()
        }
        found = {prefix: plans for prefix, plans in found.items() if plans}
        if not found:
            continue
        try:
            prefix = wrapping.choose(list(found))
        except CheckpointError as error:
            raise CheckpointError(f"{checkpoint.path}: {error}") from error
        plans = found[prefix]
        if len(plans) > 1:
            fact = f"could be of the families {', '.join(plans)}; say which with family="
            raise CheckpointError(f"{checkpoint.path}: {fact}")
        return *plans.popitem(), layer[prefix]
    return None
