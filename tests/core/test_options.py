"""Options of wrong types or out of range are one line, for every family, energy and kernel, and every kind of value."""

import inspect
import math
import typing
from types import UnionType
from typing import Annotated, Any, Union

import msgspec
import pytest

from latentzoo import energies, kernels, options, zoo
from latentzoo.errors import SpecError, UnknownName
from latentzoo.zoo import _settings

WRONG: tuple[Any, ...] = (
    "0,7",
    "left",
    2.5,
    True,
    [],
    ["x"],
    [[1, 2]],
    {},
    {"a": 1},
    math.nan,
    math.inf,
)
"""What people write where something else was asked for."""


def refused(hint: Any) -> list[Any]:
    """The values that an annotation does not allow."""
    found = []
    for value in WRONG:
        try:
            options.fit(value, hint)
        except msgspec.ValidationError:
            found.append(value)
    return found


FAMILIES = [
    (name, option, p.annotation)
    for name in zoo.families()
    for option, p in options.parameters(zoo.family(name).build).items()
]
ENERGIES = [
    (kind, option, p.annotation)
    for kind in energies.known()
    for option, p in energies.arguments(kind).items()
]
KERNELS = [
    (name, setting, p.annotation)
    for name in kernels.known()
    for setting, p in options.parameters(type(kernels.load(name))).items()
    if setting != "budget"  # the run's
]
MADE = {
    "family": _settings.accept,
    "energy": lambda kind, given: energies.load(kind, "target", **given),
    "kernel": lambda name, given: kernels.load(name, **given),
}
"""What takes the options of each kind of part."""


OPTIONS = [
    (kind, *each)
    for kind, known in (("family", FAMILIES), ("energy", ENERGIES), ("kernel", KERNELS))
    for each in known
]


@pytest.mark.parametrize(("kind", "owner", "option", "hint"), OPTIONS)
def test_an_option_refuses_values_of_wrong_types(kind, owner, option, hint):
    values = refused(hint)
    assert values
    for value in values:
        with pytest.raises(SpecError) as error:
            MADE[kind](owner, {option: value})
        assert f"the option {option}=" in str(error.value)
        assert f"'{owner}'" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("wrong", [math.inf, -math.inf, math.nan, [1.0, math.inf], [[math.nan]]])
def test_no_option_takes_numbers_that_are_not_finite(wrong):
    for _, owner, option, hint in OPTIONS:
        with pytest.raises(msgspec.ValidationError):
            options.fit(wrong, hint)
            pytest.fail(f"{owner} takes {option}={wrong}")


def test_what_is_no_choice_is_answered_with_the_choices():
    for name in ("auto", "anneal"):
        with pytest.raises(SpecError, match=r"precondition=always .*one of auto, none"):
            kernels.load(name, precondition="always")


ANY = {
    "truncation": "negative, it is the other side of the mean style",
    "guidance": "negative, it leads away from the class",
    "mean": "of colours in any unit",
    "qk_scale": "a factor",
    "output_scale": "a factor",
    "condition": "a factor",
    "end": "a factor",
    "near": "along a ray from any place",
    "far": "along a ray from any place",
    "nearest": "along a ray from any place",
    "radius": "a camera may stand behind its pivot",
}
"""Options for which every number is meant, and why."""


def ranges(hint: Any) -> list[msgspec.Meta] | None:
    """The ranges of a hint that is one number or none; None for hints of another kind."""
    members = typing.get_args(hint) if typing.get_origin(hint) in (Union, UnionType) else (hint,)
    numbers = [m for m in members if m is not type(None)]
    plain = [typing.get_args(m)[0] if typing.get_origin(m) is Annotated else m for m in numbers]
    if not plain or not set(plain) <= {int, float}:
        return None
    return [r for m in numbers for r in getattr(m, "__metadata__", ())]


NUMBERS = [
    (kind, owner, option, found)
    for kind, owner, option, hint in OPTIONS
    if (found := ranges(hint)) is not None
]


def test_every_number_has_a_range_or_a_reason_why_not():
    free = {option for _, _, option, found in NUMBERS if not found}
    assert free == ANY.keys()
    assert len({option for *_, option, found in NUMBERS if found}) > 50


@pytest.mark.parametrize(("kind", "owner", "option", "found"), [n for n in NUMBERS if n[-1]])
def test_a_number_out_of_range_is_one_line(kind, owner, option, found):
    (r,) = found
    outside = [x for x in (r.gt, r.lt) if x is not None]
    outside += [r.ge - 1] if r.ge is not None else []
    outside += [r.le + 1] if r.le is not None else []
    assert outside
    for value in outside:
        with pytest.raises(
            SpecError, match=rf"the option {option}=.* of the {kind} '{owner}': Ex"
        ) as error:
            MADE[kind](owner, {option: value})
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("family", zoo.families())
def test_an_option_that_a_family_does_not_have_is_answered_with_those_it_has(family):
    known = options.parameters(zoo.family(family).build)
    assert not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values())
    name = next(iter(known))
    with pytest.raises(UnknownName, match=f"'{name}'"):
        _settings.accept(family, {f"{name}x": 1})


def outer(a: int, *, b: float = 1.0, **rest: Any) -> Any:
    return inner(a, d=2, **rest)


def inner(x: int, *, c: list[int] | None = None, d: int = 0, e: "str" = "") -> Any:
    return x, c, d, e


def test_what_a_function_passes_on_is_among_its_options():
    known = options.parameters(outer)
    assert list(known) == ["a", "b", "c", "e"]  # x and d are given by the function itself
    assert known["e"].annotation is str


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (1, float),
        ((1, 2), "list[int]"),
        ({"a": 1}, dict[str, Any]),
        (None, int | None),
        ("latent", int | str),
    ],
)
def test_values_that_plain_data_has_are_taken(value, hint):
    options.fit(value, eval(hint) if isinstance(hint, str) else hint)


def test_numbers_of_arrays_are_numbers():
    import numpy as np

    options.fit(np.float64(0.5), float)
    options.fit(np.int64(3), int)
    with pytest.raises(msgspec.ValidationError):
        options.fit(np.float64(0.5), int)
