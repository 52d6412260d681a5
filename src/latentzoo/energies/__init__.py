"""Energies of images, one file each; the file's name is the energy's kind on the command line."""

from typing import TYPE_CHECKING, Any

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
    """
    return find("energy", kind, known()).load()(target, model=model, **options)
