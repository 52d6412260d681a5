"""The settings of a family: those of a file or a card, options over them, and what of both is taken for granted."""

from collections.abc import Mapping
from typing import Any

from latentzoo import options
from latentzoo.errors import UnknownName
from latentzoo.zoo import shelf


def accept(family: str, given: Mapping[str, Any]) -> None:
    """Checks options against the annotations of a family's `build`.

    Raises:
        UnknownName: If there is no such option.
        SpecError: If a value is of a wrong type, or out of range.
    """
    known = options.parameters(shelf.family(family).build)
    shown = f"latentzoo show {family}"
    options.check(given, known, owner=f"the family '{family}'", shown=shown)


def require_names(family: str, config: Mapping[str, Any]) -> None:
    """Checks the names of a configuration.

    Raises:
        UnknownName: If the family's `build` does not have one.
    """
    known = options.parameters(shelf.family(family).build)
    any_name = any(p.kind is p.VAR_KEYWORD for p in known.values())
    for name in config:
        if name not in known and not any_name:
            raise UnknownName(f"option of the family '{family}'", name, known)


def merged(config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with options over it; of a table, such as `scheduler`, only the keys that are given."""
    both = {
        name: {**config[name], **value}
        for name, value in given.items()
        if isinstance(value, Mapping) and isinstance(config.get(name), Mapping)
    }
    return {**config, **given, **both}


def unanswered(assumed: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, str]:
    """What is still taken for granted when some options are given, also inside of tables."""
    tables = (value for value in given.values() if isinstance(value, Mapping))
    answers = {*given, *(name for table in tables for name in table)}
    return {
        names: said for names, said in assumed.items() if not answers & set(names.split(" or "))
    }
