"""Records: complete, strict, and the same after a round trip."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from latentzoo import energies
from latentzoo.errors import SpecError, UnknownName
from latentzoo.record import plain, spec
from latentzoo.record.words import term as read_term

RUN = spec.Run(
    generator="avatar-ldm",
    options={"steps": 10},
    energies=[
        spec.Term(target="a yellow hat: really", weight=12.5),
        spec.Term(energy="attribute", target="hat=yellow"),
    ],
    kernel=spec.KernelSettings(name="ula", settings={"step_size": 0.05}),
    seed=3,
)


def test_a_record_survives_yaml(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(spec.to_yaml(RUN))
    assert plain.read(path) == RUN


def test_a_record_writes_every_default() -> None:
    text = spec.to_yaml(spec.Run(generator="x"))
    assert all(f"\n{key}:" in "\n" + text for key in spec.schema()["$defs"]["Run"]["properties"])


def test_a_kernel_may_be_named_alone() -> None:
    assert plain.parse({"generator": "x", "kernel": "mala"}).kernel == spec.KernelSettings(
        name="mala"
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"generator": "x", "chainz": 3}, "did you mean 'chains'"),
        (
            {"generator": "x", "energies": [{"target": "a", "wieght": 1}]},
            r"energies\[0\].*did you mean 'weight'",
        ),
        ({"generator": "x", "kernel": {"name": "ula", "step": 1}}, "kernel"),
        ({"generator": "x", "chains": "many"}, "Expected `?'?int'?`?, got '?`?str"),
        ({"generator": "x", "chains": 0}, "chains"),
        ({"generator": "x", "energies": [{"target": "a", "weight": -1}]}, "weight"),
        ({"generator": "x", "energies": [{"target": "a", "weight": float("inf")}]}, "not finite"),
        ({"generator": "x", "strength": float("inf")}, "'strength' is not finite"),
        ({"generator": "x", "scale": float("inf")}, "'scale' is not finite"),
        ({"chains": 3}, "generator"),
        (["generator"], "a table of keys"),
    ],
)
def test_a_bad_record_is_one_clear_error(data: object, message: str) -> None:
    with pytest.raises((SpecError, UnknownName), match=message) as caught:
        plain.parse(data)
    assert "\n" not in str(caught.value)


def test_a_missing_or_broken_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no such file"):
        plain.read(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("generator: [x")
    with pytest.raises(SpecError, match="not a YAML file"):
        plain.read(tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("generator: x\nseed: 0\nseed: 1\n", "the key 'seed' is here twice, in line 3 again"),
        (
            "generator: x\nenergies:\n- {target: a, target: b}\n",
            "'target' is here twice, in line 3",
        ),
    ],
)
def test_a_key_that_is_there_twice_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(SpecError, match=message) as caught:
        plain.read(tmp_path / "run.yaml")
    assert "\n" not in str(caught.value)


def test_a_key_may_stand_for_one_that_was_merged(tmp_path: Path) -> None:
    """`<<` brings in the keys of another table, which one's own replace; keys of other types are others."""
    text = "a: &a {seed: 1, x: 2}\nb: &b {<<: *a, seed: 3}\nc: {<<: *b, x: 4}\n1: one\n'1': text\n"
    (tmp_path / "some.yaml").write_text(text)
    read = plain.read_yaml(tmp_path / "some.yaml", "")
    assert read == yaml.safe_load(text) and read["c"] == {"seed": 3, "x": 4}


@pytest.mark.parametrize(
    ("words", "energy", "expected"),
    [
        ("a hat", "clip", ("clip", "a hat", None)),
        ("a hat:30", "clip", ("clip", "a hat", 30.0)),
        ("a clock at 10:30:500", "clip", ("clip", "a clock at 10:30", 500.0)),
        ("a face: smiling", "clip", ("clip", "a face: smiling", None)),
        ("attribute=hat=yellow:2.5", "", ("attribute", "hat=yellow", 2.5)),
        ("identity=C:\\me.png", "", ("identity", "C:\\me.png", None)),
    ],
)
def test_the_grammar_of_weights(
    words: str, energy: str, expected: tuple[str, str, float | None]
) -> None:
    term = read_term(words, energy=energy)
    assert (term.energy, term.target, term.weight) == expected


@given(st.text(min_size=1).filter(str.strip), st.floats(0, 1e6))
def test_any_target_can_be_written_with_its_weight(target: str, weight: float) -> None:
    term = read_term(f"{target}:{weight!r}")
    assert (term.target, term.weight) == (target, weight)


@pytest.mark.parametrize(
    ("words", "energy"),
    [
        ("a hat:-1", "clip"),
        ("yellow", ""),
        (":5", "clip"),
        ("a:inf", "clip"),
        ("a:.inf", "clip"),
        ("a: -.INF", "clip"),
        ("a:.nan", "clip"),
    ],
)
def test_bad_words_are_errors(words: str, energy: str) -> None:
    with pytest.raises(SpecError):
        read_term(words, energy=energy)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            "measure(operator=downsample:4, sigma=0.2, size=[8, 8])=y.png:1",
            (
                "measure",
                "y.png",
                1.0,
                None,
                {"operator": "downsample:4", "sigma": 0.2, "size": [8, 8]},
            ),
        ),
        ("attribute(model=a/b)=tabby cat:10", ("attribute", "tabby cat", 10.0, "a/b", {})),
        (
            "attribute()=hat=yellow; glasses=round",
            ("attribute", "hat=yellow; glasses=round", None, None, {}),
        ),
        ("clip=a (small) cat=dog:2", ("clip", "a (small) cat=dog", 2.0, None, {})),
        ("reward(model=x, name=liked)=a cat:5", ("reward", "a cat", 5.0, "x", {})),
    ],
)
def test_an_energy_takes_options_in_parentheses(words: str, expected: tuple) -> None:
    term = read_term(words, energy="")
    assert (term.energy, term.target, term.weight, term.model, term.options) == expected
    assert term.name == ("liked" if "liked" in words else None)


@pytest.mark.parametrize(
    "words", ["measure(grey)=y.png", "measure(sigma=[)=y.png", "(a=1)y", "a(b=1)"]
)
def test_options_that_cannot_be_read_are_errors(words: str) -> None:
    with pytest.raises(SpecError):
        read_term(words, energy="")


def test_an_option_that_the_energy_does_not_have() -> None:
    for kind, options, near in (
        ("measure", {"sigmma": 1}, "sigma"),
        ("clip", {"model": "avatar-clip", "copis": 3}, "copies"),
    ):
        with pytest.raises(UnknownName, match=f"option of the energy '{kind}'.*'{near}'"):
            energies.load(kind, "a hat", **options)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("clip", {"copies": "many"}),
        ("clip", {"per_chain": "maybe"}),
        ("attribute", {"exact": 3}),
        ("measure", {"sigma": "high"}),
        ("measure", {"size": 8}),
        ("measure", {"operator": 4}),
        ("reward", {"texts": 4}),
    ],
)
def test_an_option_of_another_type(kind: str, options: dict) -> None:
    (name,) = options
    with pytest.raises(SpecError, match=f"the option {name}=.*Expected '.*latentzoo show {kind}"):
        energies.load(kind, "a hat", model=f"avatar-{kind}", **options)


def test_what_was_found_for_a_strength_goes_when_the_run_changes() -> None:
    run = plain.parse(
        {"generator": "x", "energies": [{"target": "a"}], "strength": 3.0, "scale": 2.0}
    )
    for values in ({"strength": 4.0}, {"energies.0.weight": 1.0}, {"options": {"steps": 3}}):
        assert plain.changed(run, values).scale is None
    assert plain.changed(run, {"chains": 3}).scale == 2.0
    assert plain.changed(run, {"strength": 4.0, "scale": 5.0}).scale == 5.0


def test_hashes_of_another_run_are_not_asked_for() -> None:
    record = {"inputs": {"generator": "abc"}, "seeds": [0]}
    run = spec.replace(RUN, record=record)
    for values in ({"generator": "x"}, {"dtype": "float64"}, {"energies.0.target": "b"}):
        assert plain.changed(run, values).record == {"seeds": [0]}
    for values in ({"chains": 3}, {"energies.0.weight": 3.0}, {"options.steps": 5}):
        assert plain.changed(run, values).record == record
    assert run.record == record


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("hat", "hat"), "two energies are called 'hat'"),
        (("a hat",), "cannot be called 'a hat'"),
        (("term.beta",), "cannot be called"),
        (("",), "cannot be called ''"),
    ],
)
def test_terms_have_names_of_their_own(names: tuple[str, ...], message: str) -> None:
    terms = [{"target": "a", "name": name} for name in names]
    with pytest.raises(SpecError, match=message):
        plain.parse({"generator": "x", "energies": terms})
