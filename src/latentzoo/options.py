"""Options by name: which ones a function takes, their types and ranges, and what is said of other values.

Values come from a command line, a record or a card, where any name and any type can be written. The annotations of the
function say what is allowed; nothing else lists its options. What a function passes on (`Network(**config)`) belongs
to its options too.
"""

import ast
import inspect
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from latentzoo.errors import SpecError, UnknownName

Made = Callable[..., Any]
Count = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]
Weight = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Portion = Annotated[float, Meta(gt=0, le=1)]
"""The ranges of numbers: what an option's annotation says is checked with its type."""
PASSED = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
SIMPLE = (NoneType, bool, int, float, str, bytes, list, tuple, dict, set)


def parameters(function: Made) -> dict[str, Parameter]:
    """The arguments of a function or a class by name, with resolved annotations; also of those it passes some on to.

    Where it cannot be seen to whom it passes `**options`, that parameter is among them, and stands for any name.
    """
    own = inspect.signature(function).parameters
    hints, further = _hints(function), [*receivers(function)]
    hidden = PASSED if further else (Parameter.VAR_POSITIONAL,)
    found = {
        name: p.replace(annotation=hints.get(name, Any))
        for name, p in own.items()
        if p.kind not in hidden
    }
    for receiver, taken in further:
        found |= {k: p for k, p in parameters(receiver).items() if k not in taken | found.keys()}
    return found


def defaults(function: Made, *names: str, why: str) -> dict[str, str]:
    """The default of some options in words, with the reason why it is taken, as `Generator.assumed` has them."""
    known = parameters(function)
    return {name: f"{known[name].default}, {why}" for name in names}


def receivers(function: Made) -> Iterator[tuple[Made, set[str]]]:
    """The functions to which a function passes its `**options`, and which of their arguments it gives itself."""
    kinds = inspect.signature(function).parameters
    rest = next((name for name, p in kinds.items() if p.kind is Parameter.VAR_KEYWORD), None)
    if rest is None or isinstance(function, type):
        return
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        named = {k.arg for k in call.keywords if k.arg is not None}
        starred = [k.value for k in call.keywords if k.arg is None]
        if not any(isinstance(value, ast.Name) and value.id == rest for value in starred):
            continue
        first, *rest_of = ast.unparse(call.func).split(".")
        receiver = getattr(inspect.unwrap(function), "__globals__", {}).get(first)
        for part in rest_of:
            receiver = getattr(receiver, part, None)
        if callable(receiver):
            names = list(inspect.signature(receiver).parameters)
            yield receiver, named | set(names[: len(call.args)])


def check(
    given: Mapping[str, Any], known: Mapping[str, Parameter], *, owner: str, shown: str
) -> None:
    """Checks options by name, type and range.

    Arguments:
        given: The options.
        known: What is allowed, see `parameters`.
        owner: Whose options they are, e.g. "the energy 'clip'".
        shown: What to call to see all of them.

    Raises:
        UnknownName: If there is no option of a name; the nearest is named.
        SpecError: If a value is of a wrong type, or out of range.
    """
    any_name = any(p.kind is Parameter.VAR_KEYWORD for p in known.values())
    for name, value in given.items():
        if name not in known and any_name:
            continue
        if name not in known:
            raise UnknownName(f"option of {owner}", str(name), known, shown=f"`{shown}`")
        try:
            fit(value, known[name].annotation)
        except msgspec.ValidationError as error:
            said, short = str(error).replace("`", "'"), f"{value!s:.60}"
            raise SpecError(f"the option {name}={short} of {owner}: {said}; `{shown}`") from None


def fit(value: Any, hint: Any) -> None:
    """Checks that a value is of a type, as plain data is: a list where a sequence is asked for, 1 where a float is.

    Raises:
        ValidationError: If it is not.
    """
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    classes = tuple(m for m in members if isinstance(m, type) and _is_object(m))
    if isinstance(value, classes):
        return
    plain = tuple(m for m in members if m not in classes)
    if not plain:
        names = " or ".join(kind.__name__ for kind in classes)
        raise msgspec.ValidationError(f"Expected '{names}', got '{type(value).__name__}'")
    value = value.item() if hasattr(value, "item") else value  # a number of numpy or torch
    if not finite(value):
        raise msgspec.ValidationError("Expected finite numbers, got NaN or an infinite one")
    try:
        msgspec.convert(value, Union[plain])  # noqa: UP007
    except msgspec.ValidationError as error:
        choices = [str(c) for m in plain if get_origin(m) is Literal for c in get_args(m)]
        if not choices or not isinstance(value, str):
            raise
        raise msgspec.ValidationError(f"Expected one of {', '.join(choices)}") from error


def require(name: str, value: Any, hint: Any) -> None:
    """Checks a value of a file as `fit` does, e.g. "the scheduler's steps_offset".

    Raises:
        SpecError: If it is not of this type.
    """
    try:
        fit(value, hint)
    except msgspec.ValidationError as error:
        said = str(error).replace("`", "'")
        raise SpecError(f"{name}={value!s:.60}: {said}") from None


def finite(value: Any) -> bool:
    """Whether a value is, and a list holds, no NaN and no infinite number; a table is judged by who reads it."""
    if isinstance(value, list | tuple):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _is_object(kind: type) -> bool:
    return get_origin(kind) is None and kind not in SIMPLE and kind is not object


def _hints(function: Made) -> dict[str, Any]:
    record = hasattr(function, "__dataclass_fields__") or not isinstance(function, type)
    try:
        return get_type_hints(function if record else function.__init__, include_extras=True)
    except NameError:  # a name that is there for type checkers alone
        return {}
