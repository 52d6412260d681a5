"""Energies of images, one file each; the file's name is the energy's kind on the command line."""

from typing import TYPE_CHECKING, Any

from latentzoo.errors import SpecError
from latentzoo.registry import Entry, entries, find

if TYPE_CHECKING:
    from latentzoo.energies.base import Energy


def known() -> dict[str, Entry]:
    """The kinds of energy by name, without importing them."""
    return entries("energies", function="build")


def load(kind: str, target: str, *, model: str | None = None, **options: Any) -> "Energy":
    """Creates an energy from words, as the command line and the run records do.

    Arguments:
        kind: The kind, e.g. "clip" or "attribute".
        target: What the picture should be, in the grammar of the kind: a text, `hat=yellow`, a
            reference's path.
        model: The network that judges; None takes the kind's default.
        options: Further arguments of the kind's `build`.

    Raises:
        UnknownName: If there is no such kind.
        SpecError: If the kind does not have such an option.
    """
    build = find("energy", kind, known()).load()
    try:
        return build(target, model=model, **options)
    except TypeError as error:
        if "keyword argument" not in str(error):
            raise
        reason = str(error).partition("got ")[2] or error
        raise SpecError(f"the energy '{kind}' got {reason}; `latentzoo show {kind}`") from None
