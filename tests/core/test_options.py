"""Options of wrong types are one line, for every family, every energy and every kind of value."""

import inspect
import math
from typing import Any

import msgspec
import pytest

from latentzoo import energies, options, zoo
from latentzoo.errors import SpecError, UnknownName
from latentzoo.zoo import _plan

WRONG: tuple[Any, ...] = ("0,7", "left", 2.5, True, [], ["x"], [[1, 2]], {}, {"a": 1}, math.nan)
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


@pytest.mark.parametrize(("family", "option", "hint"), FAMILIES)
def test_an_option_of_a_family_refuses_values_of_wrong_types(family, option, hint):
    values = refused(hint)
    assert values
    for value in values:
        with pytest.raises(SpecError) as error:
            _plan.accept(family, {option: value})
        assert f"the option {option}=" in str(error.value)
        assert f"'{family}'" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("kind", "option", "hint"), ENERGIES)
def test_an_option_of_an_energy_refuses_values_of_wrong_types(kind, option, hint):
    values = refused(hint)
    assert values
    for value in values:
        with pytest.raises(SpecError) as error:
            energies.load(kind, "target", **{option: value})
        assert f"the option {option}=" in str(error.value)
        assert f"'{kind}'" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("family", zoo.families())
def test_an_option_that_a_family_does_not_have_is_answered_with_those_it_has(family):
    known = options.parameters(zoo.family(family).build)
    assert not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values())
    name = next(iter(known))
    with pytest.raises(UnknownName, match=f"'{name}'"):
        _plan.accept(family, {f"{name}x": 1})


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
