"""The arguments of a pipeline's own call, checked before it is made."""

import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from latentzoo import picture
from latentzoo.errors import SpecError, UnknownName
from latentzoo.zoo.pipelines.habits import CALL, EVERYWHERE, INSTEAD, OURS

WORDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a text"}
CLEANERS = ("bs4", "ftfy")
"""What diffusers cleans a caption by; where it is missing, it only says so in its log."""
SAID = re.compile(r"(negative_)?prompt_\d+")
"""Further texts of a call, one for all prompts."""


def complete(pipe: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call: those that make it a function, and over them the user's.

    Raises:
        UnknownName: If the pipeline's call has no such argument.
        SpecError: If an argument is not the user's, or of another type.
    """
    call, kind = type(pipe).__call__, type(pipe).__name__
    known = {n: p for n, p in inspect.signature(call).parameters.items() if n != "self"}
    known = {n: p for n, p in known.items() if p.kind is not p.VAR_KEYWORD and n != "prompt"}
    hints = _hints(call)
    for name, value in given.items():
        if name in OURS:
            raise SpecError(f"the option '{name}' is not taken: {OURS[name]}; leave it out")
        if name not in known:
            theirs = {n for n in known if n not in OURS}
            raise UnknownName(f"option of {kind}:", name, theirs, shown="see its documentation")
        if SAID.fullmatch(name) and isinstance(value, list | tuple):
            raise SpecError(
                f"the option {name} of {kind} is a list; give one text for all prompts"
            )
        left_out = value is None and (known[name].default is None or hints.get(name) not in WORDS)
        if name in hints and not left_out and not fits(value, hints[name]):
            wanted = describe(hints[name])
            raise SpecError(f"the option {name}={value!r} of {kind} is not {wanted}; give that")
    for name in ("height", "width"):
        if name in given and given[name] is not None and given[name] < 1:
            raise SpecError(f"{name}={given[name]} is no size in pixels; give a multiple of 8")
    if given.get("clean_caption") and not all(map(find_spec, CLEANERS)):
        raise SpecError(
            "the option clean_caption needs packages without which the text would stay as it is; install "
            "beautifulsoup4 and ftfy by pip, or leave it out"
        )
    steps = given.get("num_inference_steps")
    scheduler = getattr(pipe, "scheduler", None)  # one of a flow knows all times between 0 and 1
    most = getattr(scheduler, "config", {}).get("num_train_timesteps")
    most = most if hasattr(scheduler, "betas") else None
    if steps is not None and not 1 <= steps <= (most or steps):
        raise SpecError(
            f"num_inference_steps={steps} is out of range for {type(scheduler).__name__}; give "
            + (f"1 to {most}" if most else "at least 1")
        )
    habits = {name: value for name, value in EVERYWHERE.items() if name in known}
    for name, others in INSTEAD.get(kind, {}).items():
        habits |= others if given.get(name) is not None else {}
    return {**habits, **CALL.get(kind, {}), **{n: _opened(n, v) for n, v in given.items()}}


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type; plain types are looked at, all others pass."""
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, h) for h in inside)
    if hint is type(None):
        return value is None
    if hint in (bool, str):
        return isinstance(value, hint)
    if hint in (int, float):  # a whole number given as 2.0 would be an index later
        number = isinstance(value, int | hint) and not isinstance(value, bool)
        return number and math.isfinite(value)
    if origin in (list, tuple):
        return isinstance(value, list | tuple) and (
            not inside or inside[-1] is Ellipsis or all(fits(v, inside[0]) for v in value)
        )
    return not isinstance(value, bool | int | float) or not _closed(hint)


def describe(hint: Any) -> str:
    """An annotated type in words."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inside = (h for h in typing.get_args(hint) if h is not type(None))
        return " or ".join(dict.fromkeys(map(describe, inside)))
    if typing.get_origin(hint) in (list, tuple):
        inside = [h for h in typing.get_args(hint) if h is not Ellipsis]
        return f"a list of which each is {describe(inside[0])}" if inside else "a list"
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


def _opened(name: str, value: Any) -> Any:
    """A picture by its path, where the argument is a picture."""
    if isinstance(value, str) and name.split("_")[-1] == "image":
        return Image.fromarray(picture.to_uint8(picture.read(value))[0])
    return value
