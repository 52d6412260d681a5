"""The renderer and the declared truth: same avatar, same picture; drawn frequencies are the exact ones."""

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from latentzoo.builtin import drawing
from latentzoo.builtin.avatars import (
    FREQUENCIES,
    NAMES,
    SUNGLASSES,
    VALUES,
    Avatar,
    draw,
    marginals,
    probability,
)
from latentzoo.builtin.drawing import render
from latentzoo.errors import LatentzooError, MissingExtra

COUNT = 4000


@pytest.fixture(scope="module")
def drawn() -> list[Avatar]:
    return [draw(11, index) for index in range(COUNT)]


@pytest.fixture
def renderer() -> None:
    pytest.importorskip("python_avatars", reason="the extra 'avatars' is not installed")
    pytest.importorskip("resvg_py", reason="the extra 'avatars' is not installed")


def test_tables_are_distributions():
    for table in FREQUENCIES.values():
        assert sum(table.values()) == pytest.approx(1)
        assert min(table.values()) > 0


@pytest.mark.parametrize("name", NAMES)
def test_drawn_frequencies_are_the_exact_ones(drawn, name):
    exact = marginals()[name]
    seen = Counter(getattr(avatar, name) for avatar in drawn)
    assert sum(exact.values()) == pytest.approx(1)
    for value, p in exact.items():
        assert abs(seen[value] / COUNT - p) < 4.5 * np.sqrt(p * (1 - p) / COUNT) + 1e-12, value


@pytest.mark.parametrize(
    "predicate",
    [
        {"glasses": SUNGLASSES, "hat": frozenset(["brimmed", "beanie", "trapper", "cat"])},
        {"hair": frozenset(["bald", "hidden"]), "hair_color": frozenset(["none"])},
        {"eyes": frozenset(["happy"]), "glasses": frozenset(["none", "round"])},
        {"facial_hair": frozenset(["none"]), "hat": frozenset(["hijab", "turban"])},
    ],
)
def test_probability_is_what_is_drawn(drawn, predicate):
    p = probability(predicate)
    seen = sum(avatar.satisfies(predicate) for avatar in drawn) / COUNT
    assert abs(seen - p) < 4.5 * np.sqrt(p * (1 - p) / COUNT)


def test_conditional_marginals_follow_bayes():
    bearded = frozenset(VALUES["facial_hair"]) - {"none"}
    given = marginals({"facial_hair": bearded})
    assert given["hat"]["hijab"] == 0
    joint = probability({"facial_hair": bearded, "hat": frozenset(["none"])})
    assert given["hat"]["none"] == pytest.approx(joint / probability({"facial_hair": bearded}))
    assert given["skin"] == pytest.approx(marginals()["skin"])


def test_what_never_happens_has_no_frequencies():
    never = {"hat": frozenset(["hijab"]), "facial_hair": frozenset(["beard"])}
    assert probability(never) == 0
    with pytest.raises(LatentzooError, match="no avatar has these attributes"):
        marginals(never)


def test_an_avatar_is_its_number():
    assert draw(0, 5) == draw(0, 5)
    assert len({draw(0, 5), draw(0, 6), draw(1, 5)}) == 3
    assert draw(0, 0).indices() == [VALUES[n].index(getattr(draw(0, 0), n)) for n in NAMES]


def test_what_is_hidden_is_no_attribute(drawn):
    for avatar in drawn:
        assert (avatar.hair == "hidden") == (avatar.hat != "none")
        assert (avatar.hat_color == "none") == (avatar.hat == "none")
        assert (avatar.eyes == "hidden") == (avatar.glasses in SUNGLASSES)
        assert avatar.hat != "hijab" or avatar.facial_hair == "none"


def test_rendering_is_deterministic_and_a_picture(renderer):
    picture = render(draw(0, 3))
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.uint8
    assert np.array_equal(picture, render(draw(0, 3)))
    assert picture.std() > 20


def test_every_value_changes_the_picture(renderer):
    face = Avatar(
        skin="light", hair="short", hair_color="brown", hat="none", hat_color="none",
        glasses="none", facial_hair="none", eyebrows="natural", eyes="open", mouth="smile",
        clothing="shirt", clothing_color="blue", background="white",
    )  # fmt: skip
    rest = {name: getattr(face, name) for name in NAMES}
    for name in NAMES:
        given = {"hat": "brimmed", "hair": "hidden"} if name == "hat_color" else {}
        pictures = [
            render(Avatar(**{**rest, **given, name: value}))
            for value in random.Random(name).sample(sorted(FREQUENCIES[name]), k=3)
            if name != "hat" or value != "none"
        ]
        for a, b in pairwise(pictures):
            assert np.abs(a.astype(int) - b).sum() > 100, name


def test_a_missing_renderer_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "python_avatars", None)
    with pytest.raises(MissingExtra, match=r"pip install 'latentzoo\[avatars\]'"):
        drawing.draw_svg(draw(0, 0))
