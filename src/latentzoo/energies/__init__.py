"""Energies of images, one file each; the file's name is the energy's kind on the command line."""

from inspect import Parameter, signature
from sys import modules
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from latentzoo.errors import SpecError, UnknownName
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
        target: What the picture should be, in the grammar of the kind: a text, `hat_color=yellow`, a
            reference's path.
        model: The network that judges; None takes the kind's default.
        options: Further arguments of the kind's `build`.

    Raises:
        UnknownName: If there is no such kind, or the kind does not have such an option.
        SpecError: If an option has a value of a wrong type.
    """
    from latentzoo.energies.base import Energy

    build = find("energy", kind, known()).maker(Energy)
    for name, value in options.items():
        _check(kind, name, value)
    given = options if model is None else {"model": model, **options}
    made = build(target, **given)
    if not isinstance(made, Energy):
        raise SpecError(f"'{kind}' makes a {type(made).__name__}; return an Energy")
    return made


def described(kind: str) -> tuple[Any, ...]:
    """The functions whose arguments are the options of a kind: its class, if `build` passes options on, and `build`."""
    build = find("energy", kind, known()).load()
    passes = any(p.kind is Parameter.VAR_KEYWORD for p in signature(build).parameters.values())
    own = getattr(modules[build.__module__], kind.title(), None)
    return (own, build) if passes and own is not None else (build,)


def arguments(kind: str) -> dict[str, Parameter]:
    """The options of a kind of energy by name, beside its target and its model."""
    found = {}
    for function in described(kind):
        for name, parameter in signature(function).parameters.items():
            if parameter.default is not Parameter.empty and name not in ("target", "model"):
                hints = get_type_hints(
                    function.__init__ if isinstance(function, type) else function
                )
                found[name] = parameter.replace(annotation=hints.get(name, Any))
    return found


def _check(kind: str, name: str, value: Any) -> None:
    known = arguments(kind)
    if name not in known:
        raise UnknownName(
            f"option of the energy '{kind}'", name, known, shown=f"`latentzoo show {kind}`"
        )
    try:
        msgspec.convert(value, known[name].annotation)
    except msgspec.ValidationError as error:
        said = str(error).replace("`", "'")
        raise SpecError(
            f"the option {name}={value} of the energy '{kind}': {said}; `latentzoo show {kind}`"
        ) from None
