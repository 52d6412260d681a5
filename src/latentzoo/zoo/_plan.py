"""From what a user names to a generator: find the file, read it, see of which family it is, build, and fit."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor
from torch.nn import Module

from latentzoo import options
from latentzoo.errors import CheckpointError, SpecError, UnknownName
from latentzoo.files import write_atomic
from latentzoo.generator import Generator
from latentzoo.hub import card as cards
from latentzoo.hub import fetch, fit
from latentzoo.hub.cache import sha256
from latentzoo.hub.card import Card
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule, first
from latentzoo.hub.read import read
from latentzoo.hub.safe import CARD
from latentzoo.nn.style import DRAWN, NOISE
from latentzoo.rng import Domain, Rng
from latentzoo.zoo import shelf
from latentzoo.zoo._family import network, recognise
from latentzoo.zoo._find import find, place
from latentzoo.zoo._settings import accept, merged, require_names, unanswered


@dataclass(frozen=True)
class Plan:
    """What is needed to build one generator.

    Arguments:
        family: The family's name.
        keys: The dialect of the file's names.
        config: The arguments of the family's `build`.
        checkpoint: The file's content.
        card: The card, if there is one.
        assumed: What the file does not say and the configuration takes for granted, see `Generator.assumed`.
    """

    family: str
    keys: str
    config: dict[str, Any]
    checkpoint: Checkpoint
    card: Card | None
    assumed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        x: str,
        *,
        family: str | None = None,
        card: str | None = None,
        progress: fetch.Progress | None = None,
    ) -> "Plan":
        """Finds and reads what a user named, see `latentzoo.zoo.load`.

        Raises:
            SpecError: If a card is given with the name of another card, or a family with a card of another.
            CheckpointError: If the container is not that of the card.
        """
        plan = cls._found(x, family, card, progress)
        if family not in (None, plan.family):
            raise SpecError(
                f"{x} is of the family '{plan.family}' by its card; leave out family={family}"
            )
        return plan

    @classmethod
    def _found(
        cls, x: str, family: str | None, card: str | None, progress: fetch.Progress | None
    ) -> "Plan":
        told, path = find(x, progress)
        if told is not None and card is not None:
            raise SpecError(f"'{x}' is a card itself; give card='{card}' with a file of your own")
        checkpoint = read(path)
        if card is not None:
            return cls.joined(checkpoint, shelf.card(card), progress)
        if told is None and "card" in checkpoint.records:
            told = cards.parse(path.stem, checkpoint.records["card"], source=str(path))
        if told is None:
            name, seen, inner = recognise(checkpoint, family)
            return cls(name, seen["keys"], seen["config"], inner, None, seen.get("assumed", {}))
        if checkpoint.container != told.container:
            fact = f"is a file of the container '{checkpoint.container}', its card says '{told.container}'"
            raise CheckpointError(f"{path}: {fact}; was it exchanged?")
        checkpoint = over_base(checkpoint, told, progress)
        _, seen, inner = network(checkpoint, [told.family]) or ("", {"config": {}}, checkpoint)
        config = {**seen["config"], **told.config}
        return cls(told.family, told.keys, config, inner, told, told.assumed)

    @classmethod
    def joined(
        cls, checkpoint: Checkpoint, card: Card, progress: fetch.Progress | None = None
    ) -> "Plan":
        """The settings of a card with a file that somebody has, in whatever container and dialect it is.

        Raises:
            CheckpointError: If the file is not of the card's family.
        """
        checkpoint = over_base(checkpoint, card, progress)
        _, seen, inner = recognise(checkpoint, card.family)
        config = {**seen["config"], **card.config}
        return cls(card.family, seen["keys"], config, inner, card, card.assumed)

    @property
    def source(self) -> str:
        """What to call the file in errors."""
        return str(self.checkpoint.path)

    def build(self, **given: Any) -> Generator:
        """Builds the generator and gives it the file's tensors.

        Raises:
            UnknownName: If an option or the dialect does not exist.
            SpecError: If an option has a value of a wrong type, or out of range.
            CheckpointError: If what the file says of one has, or the tensors are not those of the network.
        """
        accept(self.family, given)
        require_names(self.family, self.config)
        config = merged(self.config, given)
        try:
            accept(self.family, {k: v for k, v in config.items() if k not in given})
        except SpecError as error:
            raise CheckpointError(f"{self.source}: {error}") from error
        try:
            generator, assumed = self.filled(config)
        except CheckpointError as error:
            raise self.blamed(error, given) from error
        generator.assumed = unanswered({**self.assumed, **assumed}, given) | self.checkpoint.aside
        generator.configuration = self.config
        return generator

    def filled(self, config: Mapping[str, Any]) -> tuple[Generator, dict[str, str]]:
        """The network of a configuration with the file's tensors, and what of it is assumed besides `assumed`.

        Raises:
            CheckpointError: If the tensors are not those of the network.
            SpecError: If the configuration cannot be meant.
        """
        with fit.uninitialised():
            generator = shelf.family(self.family).build(**config)
        tensors, rules = self.checkpoint.tensors, self.rules(generator)
        lacking = lacks_noise(generator, tensors, rules)
        noise = drawn(generator) if lacking else {}
        fit.fit(generator, tensors, rules, source=self.source, others=noise)
        # a network that draws its own maps has an option for their seed
        return generator, {"noise" if noise else "noise or seed": DRAWN} if lacking else {}

    def blamed(self, error: CheckpointError, given: Mapping[str, Any]) -> CheckpointError:
        """The error of a network that the file does not fit: that of an option, if it fits without."""
        unfit = [name for name in given if not self._fits({name: given[name]})]
        if not unfit or not self._fits({}):
            return error
        known = options.parameters(shelf.family(self.family).build)
        own = {name: self.config.get(name, known[name].default) for name in unfit}
        asked = ", ".join(f"{name}={given[name]!r}" for name in unfit)
        has = ", ".join(f"{name}={value!r}" for name, value in own.items())
        return CheckpointError(
            f"{self.source}: its tensors do not fit {asked}; they fit {has}: leave the option out"
        )

    def _fits(self, given: Mapping[str, Any]) -> bool:
        try:
            self.filled(merged(self.config, given))
        except (CheckpointError, SpecError):
            return False
        return True

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
        tensors = self.checkpoint.tensors
        used = {
            name: value.clone().contiguous()
            for name, value in tensors.items()
            if ours(name, rules) is not None
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
            "assumed": {
                names: said
                for names, said in generator.assumed.items()
                if names not in self.checkpoint.aside  # what is not written needs no word
            },
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


def over_base(checkpoint: Checkpoint, card: Card, progress: fetch.Progress | None) -> Checkpoint:
    """A file with the tensors of its card's base where it has none of its own."""
    if card.base is None:
        return checkpoint
    return checkpoint.over(read(place(card.base, progress)))


def ours(name: str, rules: Iterable[Rule]) -> str | None:
    """Our name for a tensor of a file; None if it is not loaded."""
    found = first(rules, name)
    return None if found is None else found[1]


def lacks_noise(network: Module, tensors: Iterable[str], rules: Sequence[Rule]) -> bool:
    """Whether a network has maps of noise, and no tensor of its file becomes one."""
    has = any(name.endswith(NOISE) for name, _ in network.named_buffers())
    return has and not any((ours(name, rules) or "").endswith(NOISE) for name in tensors)


def drawn(generator: Generator) -> dict[str, Tensor]:
    """The maps of noise of a network whose file holds its parameters alone, of a fixed seed."""
    own = {name: x for name, x in generator.state_dict().items() if name.endswith(NOISE)}
    maps = Rng(0, domain=Domain.MAP)
    return {name: maps.normal(*x.shape)[0].to(x) for name, x in own.items()}
