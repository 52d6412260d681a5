"""Cards: what is known of a checkpoint before it is there."""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from latentzoo import markup
from latentzoo.errors import SpecError, UnknownName
from latentzoo.hub.package import Package


@dataclass(frozen=True, kw_only=True)
class Card:
    """Creates the description of one checkpoint; written as a table in `zoo/cards/<family>.yaml`.

    Arguments:
        name: The name under which `latentzoo.load` finds it, `family-dataset-size`.
        family: The family whose `build` makes the network.
        url: Where the official file is ("https://...", "https://.../archive.zip#member", "hf://owner/repo/file",
            "package:NAME/PATH" of an installed package); None if it must be given by path.
        mirrors: Other places of the same file.
        source: The package of a registry in which the files stand, in the place of `url`; see `hub.package`.
        base: Where the file is that this one changes, as `url`: the weights are those of `base`, with the tensors of
            this file in the places of theirs; None if the file is whole.
        sha256: The file's hash, or None: then the first download's hash is recorded and must match from then on.
        container: The reader: "torch", "safetensors", "nvidia", "folder", "openvino", "tfjs" or "equinox".
        keys: The dialect of tensor names, a key of the family's `KEYS`.
        config: The arguments of the family's `build`.
        assumed: What of it no file said, as `Generator.assumed`.
        companions: The model that judges this generator's images, for a kind of energy: `{"clip": "avatar-clip"}`.
        licence: The licence of the weights.
        paper: The paper, as "arXiv:2210.05559" or a link.
        dataset: What it was trained on.
        resolution: The image's side in pixels.
        latent: The blocks of the latent in words, as `str(generator.space)` has them.
        notes: What a user should know.
        caveat: What of it was never compared with the official file.
    """

    name: str
    family: str
    url: str | None
    mirrors: tuple[str, ...] = ()
    source: Package | None = None
    base: str | None = None
    sha256: str | None = None
    container: str
    keys: str
    config: dict[str, Any] = field(default_factory=dict)
    assumed: dict[str, str] = field(default_factory=dict)
    companions: dict[str, str] = field(default_factory=dict)
    licence: str
    paper: str
    dataset: str
    resolution: int
    latent: str = ""
    notes: str = ""
    caveat: str = ""


Kind = TypeVar("Kind")


def parse(name: str, table: Mapping[str, Any], *, source: str, kind: type[Kind] = Card) -> Kind:
    """Makes a card of a table.

    Arguments:
        name: The card's name.
        table: Its fields.
        source: Where it was found, for errors.
        kind: The dataclass of the card.

    Raises:
        UnknownName: If there is a field that cards do not have; the nearest is named.
        SpecError: If a field is missing, or is of another type than the card's.
    """
    known = {f.name: f for f in fields(kind)}  # pyright: ignore[reportArgumentType]
    for key in table:
        if key not in known:
            raise UnknownName(f"field in the card '{name}' of {source}:", str(key), known)
    required = (
        k for k, f in known.items() if f.default is MISSING and f.default_factory is MISSING
    )
    if missing := [k for k in required if k not in table and k != "name"]:
        raise SpecError(
            f"{source}: the card '{name}' lacks {', '.join(missing)}; write null where unknown"
        )
    try:
        return msgspec.convert({**table, "name": name}, kind)
    except msgspec.ValidationError as error:
        raise SpecError(f"{source}: the card '{name}' has a wrong value ({error})") from error


def read(path: Path, kind: type[Kind] = Card) -> dict[str, Kind]:
    """Reads a file of cards, a mapping from names to tables.

    A table whose name begins with "_" is no card (it may hold an anchor); `family` is the file's name where left out.

    Raises:
        SpecError, UnknownName: If the file is not sound; it and the card are named.
    """
    try:
        tables = markup.load(path.read_text(encoding="utf-8"), quick=True) or {}
    except yaml.YAMLError as error:
        raise SpecError(f"{path}: not sound YAML ({' '.join(str(error).split())})") from error
    if not isinstance(tables, dict) or not all(isinstance(t, dict) for t in tables.values()):
        raise SpecError(f"{path}: not a mapping from names to cards")
    implied = {"family": path.stem} if kind is Card else {}
    named = {str(name): {**implied, **table} for name, table in tables.items()}
    return {
        name: parse(name, table, source=path.name, kind=kind)
        for name, table in named.items()
        if name[:1] != "_"
    }


def read_all(paths: Iterable[Path], kind: type[Kind] = Card) -> dict[str, Kind]:
    """Reads several files of cards.

    Raises:
        SpecError: If two cards have one name.
    """
    cards: dict[str, Kind] = {}
    for path in paths:
        found = read(path, kind)
        if twice := cards.keys() & found.keys():
            raise SpecError(f"{path}: the card '{min(twice)}' is there twice; rename one")
        cards |= found
    return cards
