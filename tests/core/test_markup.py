"""Numbers in YAML are those of Python and JSON, and what is written is read alike by every reader."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from latentzoo import markup, place
from latentzoo.cli import app, fields
from latentzoo.record import plain, spec, words

SAID: dict[str, Any] = {
    **{
        "1e-3": 1e-3,
        "1E3": 1e3,
        "1.5e3": 1.5e3,
        "-2e+2": -2e2,
        ".5": 0.5,
        "1.": 1.0,
        "-.inf": -1e999,
    },
    **{"010": 10, "08": 8, "1_000": 1000, "0x1F": 31, "-7": -7, "0": 0},
    **{"12:30": "12:30", "1:30.5": "1:30.5", "2026-01-01": "2026-01-01", "1e": "1e", "e3": "e3"},
    **{"1.2.3": "1.2.3", "-": ["-"], "1e3 ": 1e3, "true": True, "null": None, "a1": "a1"},
}


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("text", SAID)
def test_a_number_is_what_python_takes_for_one(text: str, quick: bool) -> None:
    meant = [None] if text == "-" else SAID[text]
    found = markup.load(text, quick=quick)
    assert found == meant and type(found) is type(meant)


@pytest.mark.parametrize("text", [*SAID, "0o17", "1e3", "190:20:30", "yes", "nan", ".nan", "<<"])
def test_a_text_stays_a_text_for_both_ways_of_reading(text: str) -> None:
    written = markup.dump({"a": text, "b": [1e-5, 1e22, 10]})
    for read in (markup.load, yaml.safe_load):
        assert read(written) == {"a": text, "b": [1e-5, 1e22, 10]}


def test_a_strength_and_a_small_number_are_read_alike_wherever_they_are_written(
    tmp_path: Path,
) -> None:
    """On the command line, in a file, as a change of a record, and in the words of an energy."""
    text = "generator: avatar-gan\nstrength: 12nats\nscale: 1e-3\noptions: {truncation: 7e-1}\n"
    (tmp_path / "a.yaml").write_text(text)
    of_file = plain.read(tmp_path / "a.yaml")
    said = ["--strength", "12nats", "--scale", "1e-3", "--option", "truncation=7e-1"]
    command = ["sample", "avatar-gan", *said, "--save-spec", str(tmp_path / "b.yaml")]
    assert CliRunner().invoke(app, command).exit_code == 0
    changes = words.table(
        ["strength=12nats", "scale=1e-3", "options.truncation=7e-1"], example="a=1"
    )
    changed = plain.changed(spec.Run(generator="avatar-gan"), changes)
    assert of_file == plain.read(tmp_path / "b.yaml") == changed
    assert words.term("measure(sigma=1e-1)=y.png:1e1", energy="").options == {"sigma": 0.1}


def test_names_of_devices_and_numbers_have_one_owner() -> None:
    assert all(str(place.number_type(name)) == f"torch.{name}" for name in place.NUMBERS)
    assert [*fields.NAMES["dtype"]()] == [*place.NUMBERS]
    described = {
        name: str(field) for name, field in spec.schema()["$defs"]["Run"]["properties"].items()
    }
    assert all(name in described["dtype"] for name in place.NUMBERS)
    assert all(name in described["device"] for name in place.DEVICES)
