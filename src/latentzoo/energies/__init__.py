"""Energies of images, one file each; the file's name is the energy's kind on the command line."""

from inspect import Parameter
from typing import TYPE_CHECKING, Any

from latentzoo import options
from latentzoo.errors import SpecError
from latentzoo.registry import Entry, added, entries, find

if TYPE_CHECKING:
    from latentzoo.energies.base import Energy


def known() -> dict[str, Entry]:
    """The kinds of energy by name, without importing them."""
    return added("energies") | entries("latentzoo.energies", function="build")


def load(kind: str, target: str, *, model: str | None = None, **given: Any) -> "Energy":
    """Creates an energy from words, as the command line and the run records do.

    Arguments:
        kind: The kind, e.g. "clip" or "attribute"; or "module:Class" of one that takes a target.
        target: What the picture should be, in the grammar of the kind: a text, `hat_color=yellow`, a
            reference's path.
        model: The network that judges; None takes the kind's default.
        given: Further arguments of the kind's `build`.

    Raises:
        UnknownName: If there is no such kind, or the kind does not have such an option.
        SpecError: If an option has a value of a wrong type.
    """
    from latentzoo.energies.base import Energy

    build = find("energy", kind, known()).maker(Energy)
    shown = f"latentzoo show {kind}"
    options.check(given, arguments(kind), owner=f"the energy '{kind}'", shown=shown)
    made = build(target, **({} if model is None else {"model": model}), **given)
    if not isinstance(made, Energy):
        raise SpecError(f"'{kind}' makes a {type(made).__name__}; return an Energy")
    return made


def described(kind: str) -> tuple[Any, ...]:
    """The functions whose arguments are the options of a kind: those that `build` passes options on to, and `build`."""
    build = find("energy", kind, known()).load()
    return (*(receiver for receiver, _ in options.receivers(build)), build)


def arguments(kind: str) -> dict[str, Parameter]:
    """The options of a kind of energy by name, beside its target and its model."""
    found = options.parameters(find("energy", kind, known()).load())
    beside = ("target", "model")
    return {
        name: p
        for name, p in found.items()
        if p.default is not Parameter.empty and name not in beside
    }
