"""The arguments of a pipeline's own call, checked before it is made."""

import inspect
import math
import os
import re
import types
import typing
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentzoo.errors import SpecError, UnknownName
from latentzoo.zoo.pipelines import ip_adapter, pictures, ranges, schedules
from latentzoo.zoo.pipelines.habits import CALL, EVERYWHERE, INSTEAD, ours

WORDS = {
    **{bool: "true or false", int: "a whole number", float: "a finite number"},
    **{str: "a text", dict: "a table of names and values"},
}
UNIONS = (typing.Union, types.UnionType)
PLAIN = (bool, int, str, list, type(None))
"""Types of values that can be compared."""
CLEANERS = ("bs4", "ftfy")
"""What diffusers cleans a caption by; where it is missing, it only says so in its log."""
SAID = re.compile(r"(negative_)?prompt_\d+")
"""Further texts of a call, one for all prompts."""


def complete(pipe: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call: those that make it a function, and over them the user's.

    Raises:
        UnknownName: If the pipeline's call has no such argument.
        SpecError: If an argument is not the user's, of another type, or out of range.
    """
    call, kind = type(pipe).__call__, type(pipe).__name__
    known = {n: p for n, p in inspect.signature(call).parameters.items() if n != "self"}
    known = {n: p for n, p in known.items() if p.kind is not p.VAR_KEYWORD and n != "prompt"}
    hints = _hints(call)
    given = {name: x for name, x in given.items() if not _left(name, x, known)}
    given = {name: as_numbers(x, hints.get(name)) for name, x in given.items()}
    for name, value in given.items():
        _judge(kind, name, value, known, hints)
    given = {name: paired(pictures.opened(name, x), hints.get(name)) for name, x in given.items()}
    ranges.judge(kind, given, {name: p.default for name, p in known.items()})
    ranges.layers(pipe, given)
    schedules.judge(pipe, given)
    pictures.judge(kind, given)
    ip_adapter.judge(pipe, given)
    _packages(given)
    return {**habits(type(pipe), given), **given}


def habits(kind: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that make a call of a class a function, where nothing else is given."""
    known, name = inspect.signature(kind.__call__).parameters, kind.__name__
    found = {name: value for name, value in EVERYWHERE.items() if name in known}
    for one, others in INSTEAD.get(name, {}).items():
        found |= others if given.get(one) is not None else {}
    return {**found, **CALL.get(name, {})}


def _left(name: str, value: Any, known: Mapping[str, Any]) -> bool:
    """Whether an argument that is not the user's is given as it is where it is left out."""
    if ours(name) is None or name not in known:
        return False
    usual = known[name].default
    return type(value) is type(usual) and isinstance(value, PLAIN) and value == usual


def _judge(
    kind: str, name: str, value: Any, known: Mapping[str, Any], hints: Mapping[str, Any]
) -> None:
    """Looks at one argument: whether it is there, the user's, and of its type."""
    if (why := ours(name)) is not None:
        raise SpecError(f"the option '{name}' is not taken: {why}; leave it out")
    if name not in known:
        theirs = {n for n in known if ours(n) is None}
        raise UnknownName(f"option of {kind}:", name, theirs, shown="see its documentation")
    if SAID.fullmatch(name) and isinstance(value, list | tuple):
        raise SpecError(f"the option {name} of {kind} is a list; give one text for all prompts")
    left_out = value is None and (known[name].default is None or hints.get(name) not in WORDS)
    path = pictures.is_picture(name) and isinstance(value, str | os.PathLike)
    if name in hints and not left_out and not path and not fits(value, hints[name]):
        wanted = describe(hints[name])
        raise SpecError(f"the option {name}={value!r} of {kind} is not {wanted}; give that")


def as_numbers(value: Any, hint: Any = None) -> Any:
    """Numbers as Python has them: those of numpy and torch, and whole ones where only others are read.

    Arguments:
        value: An argument of a call.
        hint: Its annotated type, or None.
    """
    if isinstance(value, np.generic) or (isinstance(value, Tensor) and value.ndim == 0):
        value = value.item()
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    if isinstance(value, list | tuple):
        inside = map(as_numbers, value)
        return tuple(inside) if isinstance(value, tuple) else list(inside)
    read = _either(hint)
    return float(value) if type(value) is int and float in read and int not in read else value


def _packages(given: Mapping[str, Any]) -> None:
    """Looks whether what an argument needs is there, without which it would do nothing."""
    if given.get("clean_caption") and not all(map(find_spec, CLEANERS)):
        raise SpecError(
            "the option clean_caption needs packages without which the text would stay as it is; install "
            "beautifulsoup4 and ftfy by pip, or leave it out"
        )


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type; plain types are looked at, all others pass."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in UNIONS:
        return any(fits(value, h) for h in inside)
    if hint is type(None):
        return value is None
    if hint in (bool, str):
        return isinstance(value, hint)
    if hint in (int, float):  # a whole number given as 2.0 would be an index later
        number = isinstance(value, int | hint) and not isinstance(value, bool)
        return number and math.isfinite(value)
    if _places(hint):
        long = isinstance(value, list | tuple) and len(value) == len(inside)
        return long and all(map(fits, value, inside))
    if origin is dict or hint is dict:
        return isinstance(value, Mapping)
    if origin in (list, tuple):
        return isinstance(value, list | tuple) and (
            not inside or inside[-1] is Ellipsis or all(fits(v, inside[0]) for v in value)
        )
    return not isinstance(value, bool | int | float) or not _closed(hint)


def paired(value: Any, hint: Any) -> Any:
    """A list as a tuple, where an argument is one: a file of options has lists only, and pipelines add tuples up."""
    is_tuple = any(map(_is_tuple, _either(hint)))
    return tuple(value) if isinstance(value, list) and is_tuple else value


def _either(hint: Any) -> tuple[Any, ...]:
    """The types of which a value may be one."""
    return typing.get_args(hint) if typing.get_origin(hint) in UNIONS else (hint,)


def _places(hint: Any) -> bool:
    """Whether a type is a list with a value for each place; tuple[int] is meant as a list of any length."""
    inside = typing.get_args(hint)
    return _is_tuple(hint) and len(inside) > 1 and Ellipsis not in inside


def _is_tuple(hint: Any) -> bool:
    return typing.get_origin(hint) is tuple


def describe(hint: Any) -> str:
    """An annotated type in words."""
    if typing.get_origin(hint) in UNIONS:
        inside = (h for h in typing.get_args(hint) if h is not type(None))
        return " or ".join(dict.fromkeys(map(describe, inside)))
    if _places(hint):
        return "a list of " + " and ".join(map(describe, typing.get_args(hint)))
    if typing.get_origin(hint) in (list, tuple):
        inside = [h for h in typing.get_args(hint) if h is not Ellipsis]
        return f"a list of which each is {describe(inside[0])}" if inside else "a list"
    if typing.get_origin(hint) is dict:
        return WORDS[dict]
    return WORDS.get(hint, str(getattr(hint, "__name__", hint)))


def moved(move: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """A tensor that was given, where the networks go. Its precision is left to the pipeline, but for 64 bits."""
    new = move(x)
    return new if torch.float64 in (x.dtype, new.dtype) else new.to(x.dtype)


def _closed(hint: Any) -> bool:
    """Whether a type is a class that a number cannot be meant for."""
    return isinstance(hint, type) and hint is not object


def _hints(call: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(call)
    except Exception:  # an annotation that only its author can resolve
        return {}
