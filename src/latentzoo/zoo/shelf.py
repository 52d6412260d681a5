"""What the zoo has: cards and families by name, the package's own and those that others add; no torch is needed."""

from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from latentzoo import registry
from latentzoo.errors import SpecError, UnknownName
from latentzoo.hub import card as cards
from latentzoo.hub.card import Card

OWN = "latentzoo.zoo"


@cache
def _cards() -> dict[str, Card]:
    found = cards.read_all(sorted((registry.folder(OWN) / "cards").glob("*.yaml")))
    for package in registry.shelves("generators"):
        shelf = cards.read_all(sorted((registry.folder(package) / "cards").glob("*.yaml")))
        if twice := found.keys() & shelf.keys():
            raise SpecError(f"'{package}' has a card '{min(twice)}', which is there already")
        for name, c in shelf.items():
            # one that is not of its package's families is of a family of the zoo
            own = f"{package.rpartition('.')[2]}.{c.family}"
            found[name] = replace(c, family=own) if own in _families_of(package) else c
    return found


def names() -> list[str]:
    """The names of all generators that have a card, without importing torch."""
    return sorted(_cards())


def added() -> dict[str, registry.Entry]:
    """The single maps that other packages add, by name, without importing them."""
    return registry.added("generators")


def card(name: str) -> Card:
    """The card of a generator.

    Raises:
        UnknownName: If there is none of this name.
    """
    if name not in _cards():
        raise UnknownName("generator", name, names())
    return _cards()[name]


@cache
def families() -> dict[str, str]:
    """The modules of the families by name, without importing them; those of another package are "PACKAGE.NAME"."""
    found = {name: e.module for name, e in registry.entries(OWN, function="infer").items()}
    for package in registry.shelves("generators"):
        found |= _families_of(package)
    return found


def _families_of(package: str) -> dict[str, str]:
    """The families of a package beside the zoo, whose sources are quicker to read than those of all."""
    last, own = package.rpartition(".")[2], registry.entries(package, function="infer")
    return {f"{last}.{name}": entry.module for name, entry in own.items()}


def family(name: str) -> ModuleType:
    """The module of a family.

    Raises:
        UnknownName: If there is none of this name.
    """
    if name not in families():
        raise UnknownName("family", name, families())
    return import_module(families()[name])


def where(card: Card) -> Path | None:
    """The file of a card if it is on this disk already; None if it would have to be downloaded or given."""
    from latentzoo.hub.fetch import local

    def here(url: str) -> Path | None:
        path = packaged(url)
        return local(url) if path is None else path if path.is_file() else None

    if card.source is not None:
        return card.source.path if card.source.here() else None
    if card.url is None or (card.base is not None and here(card.base) is None):
        return None
    return here(card.url)


def packaged(url: str) -> Path | None:
    """The file of a `package:` address, which an installed package ships; None for another address."""
    return registry.packaged(url)
