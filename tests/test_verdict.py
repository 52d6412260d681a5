"""A short cut of the table of `benchmarks/verdict.py`: what is wrong is not trusted, and what is right is."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import verdict
from known import KNOWN

NAMED = {target.name: target for target in KNOWN}
SEEDS = 4

RIGHT = [
    ("linear, 8 of 32, stiffest 10", "anneal", 16, 200),
    ("linear, all of 32, stiffest 100", "anneal", 16, 200),
    ("kink", "anneal", 16, 200),
    ("double well, low wall", "anneal", 16, 200),
    ("Student's t, 2 degrees", "anneal", 16, 200),
    ("modes .7 : .3, wide", "anneal", 16, 200),
    ("banana, width .2", "anneal", 16, 200),
    ("classifier", "anneal", 16, 200),
    ("modes .9 : .1", "auto", 16, 200),
    ("ring, k 6, width .05", "auto", 16, 200),
    ("soft wall", "auto", 16, 200),
    ("cosine 100, four modes", "auto", 64, 200),
    ("modes .9 : .1", "smc", 64, 200),
    ("stairs", "slice", 16, 400),
    ("weak slope", "mala", 16, 200),
]
WRONG = [
    ("linear, 16 of 32, stiffest 1000", "anneal", 16, 24),
    ("linear, 64 of 256, stiffest 100", "anneal", 1, 20),
    ("mixed, noise 0.02", "anneal", 4, 40),
    ("soft wall", "anneal", 16, 24),
    ("soft wall", "auto", 16, 24),
    ("long slope", "auto", 16, 80),
    ("modes .9 : .1", "anneal", 16, 200),
    ("modes .97 : .03", "anneal", 16, 80),
    ("modes .6 : .3 : .1", "anneal", 64, 80),
    ("ring, k 6, width .05", "anneal", 16, 24),
    ("linear, all of 32, stiffest 100", "ula", 16, 80),
]


def row(name: str, *size) -> verdict.Row:
    runs = [verdict.run(NAMED[name], *size, seed) for seed in range(SEEDS)]
    return verdict.judge(NAMED[name], *size, runs)


@pytest.mark.parametrize("size", RIGHT, ids=lambda size: f"{size[0]}-{size[1]}")
def test_what_is_right_is_trusted_three_times_of_four(size: tuple[str, str, int, int]) -> None:
    found = row(*size)
    assert found.answer == "right" and found.trusted >= 3, verdict.line(found)


@pytest.mark.parametrize("size", WRONG, ids=lambda size: f"{size[0]}-{size[1]}")
def test_what_is_wrong_is_never_trusted(size: tuple[str, str, int, int]) -> None:
    found = row(*size)
    assert found.answer == "wrong" and found.false == 0, verdict.line(found)


@pytest.mark.parametrize(
    "name", ["modes .5 : .5", "modes .9 : .1", "kink", "linear, 8 of 32, stiffest 10"]
)
def test_more_steps_never_turn_trust_into_distrust(name: str) -> None:
    """The groups that make a long run distrusted are there, and named, in the short one."""
    known = [
        verdict.run(NAMED[name], "anneal", 32, steps, 0).diagnosis for steps in (80, 200, 400)
    ]
    verdicts = [found.verdict for found in known]
    assert len(set(verdicts)) == 1, verdicts


def test_what_was_right_by_luck_is_not_counted() -> None:
    found = row("modes .5 : .5", "anneal", 16, 80)
    assert found.answer == "right" and found.mark == "=" and found.trusted == 0
    assert verdict.rates([found]) == {"false trust": (0, 0), "false alarm": (0, 0)}
