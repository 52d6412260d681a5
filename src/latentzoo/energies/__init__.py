"""Energies of images, one file each; the file's name is the energy's kind on the command line."""

from typing import TYPE_CHECKING, Any

from latentzoo.errors import SpecError
from latentzoo.registry import Entry, added, entries, find

if TYPE_CHECKING:
    from latentzoo.energies.base import Energy


def known() -> dict[str, Entry]:
    """The kinds of energy by name, without importing them."""
    return added("energies") | entries("latentzoo.energies", function="build")


def load(kind: str, target: str, *, model: str | None = None, **options: Any) -> "Energy":
    """Creates an energy from words, as the command line and the run records do.

    Arguments:
        kind: The kind, e.g. "clip" or "attribute"; or "module:Class" of one that takes a target.
        target: What the picture should be, in the grammar of the kind: a text, `hat=yellow`, a
            reference's path.
        model: The network that judges; None takes the kind's default.
        options: Further arguments of the kind's `build`.

    Raises:
        UnknownName: If there is no such kind.
        SpecError: If the kind does not have such an option.
    """
    from latentzoo.energies.base import Energy

    build = find("energy", kind, known()).maker(Energy)
    given = options if model is None else {"model": model, **options}
    try:
        made = build(target, **given)
    except TypeError as error:
        if "keyword argument" not in str(error):
            raise
        reason = str(error).partition("got ")[2] or error
        raise SpecError(f"the energy '{kind}' got {reason}; `latentzoo show {kind}`") from None
    if not isinstance(made, Energy):
        raise SpecError(f"'{kind}' makes a {type(made).__name__}; return an Energy")
    return made
