"""The command line is the record: a field of a run is a YAML key, a schema entry, an option with help and default."""

import inspect
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
import typer
import yaml
from msgspec import Meta
from msgspec.structs import FieldInfo
from rich.text import Text
from typer.main import get_command
from typer.testing import CliRunner

from latentzoo.cli import app, fields
from latentzoo.record import spec

RUNNER = CliRunner()
SAMPLE: Any = get_command(app).commands["sample"]  # pyright: ignore[reportAttributeAccessIssue]
SHOWN = {parameter.name: parameter for parameter in SAMPLE.params}
ALL = msgspec.structs.fields(spec.Run)
SAID: dict[str, tuple[list[str], Any]] = {
    "generator": ([], "avatar-turbo"),
    "family": (["--family", "turbo"], "turbo"),
    "options": (["--option", "truncation=0.7"], {"truncation": 0.7}),
    "vary": (["--vary", "a", "--vary", "b"], ["a", "b"]),
    "energies": (["--text", "a hat:3", "--energy", "attribute=hat=red:2"], None),
    "kernel": (
        ["--kernel", "ula", "--step-size", "0.2"],
        {"name": "ula", "settings": {"step_size": 0.2}},
    ),
    "strength": (["--strength", "12nats"], 12.0),
    "scale": (["--scale", "2.5"], 2.5),
    "compile": (["--compile"], True),
}
"""Words and the value they mean, where a number is not enough."""


def saved(folder: Path, *words: str) -> dict[str, Any]:
    path = folder / "run.yaml"
    done = RUNNER.invoke(app, ["sample", "avatar-turbo", *words, "--save-spec", str(path)])
    assert done.exit_code == 0, done.output
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("field", ALL, ids=lambda field: field.name)
def test_a_field_is_in_all_five_places(field: FieldInfo, tmp_path: Path) -> None:
    name, properties = field.name, spec.schema()["$defs"]["Run"]["properties"]
    assert name in saved(tmp_path)
    assert len(properties[name]["description"]) > 10
    if name == "record":  # measured, not asked for
        return
    composed = fields.COMPOSED.get(name)
    for option in [p.name for p in composed.parameters] if composed else [name]:
        assert SHOWN[option].help
    if composed is None and not field.required:
        assert SHOWN[name].help == properties[name]["description"]
        assert SHOWN[name].default == field.default
        flag = f"--{name.replace('_', '-')}"
        assert flag in SHOWN[name].opts
        value = "7" if "integer" in str(properties[name]) else "word"
        words, meant = SAID.get(name, ([flag, value], 7 if value == "7" else value))
    else:
        words, meant = SAID[name]
    assert saved(tmp_path, *words)[name] == meant or name == "energies"


def test_energies_are_read_in_their_order(tmp_path: Path) -> None:
    words, _ = SAID["energies"]
    terms = saved(tmp_path, *words, "--weight", "9", "--model", "other")["energies"]
    assert [(t["energy"], t["target"], t["weight"], t["model"]) for t in terms] == [
        ("clip", "a hat", 3.0, "other"),
        ("attribute", "hat=red", 2.0, None),
    ]


def test_a_new_field_is_an_option_at_once(tmp_path: Path) -> None:
    class More(spec.Run, frozen=True, kw_only=True):
        colours: Annotated[int, Meta(ge=1, description="How many colours.")] = 7

    own = typer.Typer()
    seen = []

    @own.command()
    @lambda function: fields.asked(function, More)
    def sample(record: More, loud: bool = False) -> None:
        seen.append((record, loud))

    shown = RUNNER.invoke(own, ["--help"]).output
    assert "--colours" in shown and "How many colours." in shown and "[default: 7]" in shown
    assert RUNNER.invoke(own, ["x", "--colours", "3", "--loud"]).exit_code == 0
    assert seen == [(More(generator="x", colours=3), True)]
    assert RUNNER.invoke(own, ["x", "--colours", "0"]).exit_code == 2


def test_defaults_are_written_once() -> None:
    for parameter in fields.parameters():
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
    plain = [field for field in ALL if field.name not in fields.COMPOSED and not field.required]
    assert {f.name: SHOWN[f.name].default for f in plain} == {f.name: f.default for f in plain}


def test_whatever_is_in_the_record_can_be_set(tmp_path: Path) -> None:
    words = (
        "--text",
        "a hat",
        "--set",
        "energies.0.name=hat",
        "--set",
        "kernel.settings.cess=0.9",
    )
    record = saved(tmp_path, *words)
    assert record["energies"][0]["name"] == "hat"
    assert record["kernel"]["settings"] == {"cess": 0.9}


def test_a_shell_completes_the_names_of_generators_and_kernels() -> None:
    for command, begun, wanted in (
        ("latentzoo sample avatar-tu", "2", "avatar-turbo"),
        ("latentzoo sample x --kernel an", "4", "anneal"),
        ("latentzoo show styl", "2", "stylegan2"),
    ):
        variables = {
            "_LATENTZOO_COMPLETE": "complete_bash",
            "COMP_WORDS": command,
            "COMP_CWORD": begun,
        }
        done = RUNNER.invoke(app, [], prog_name="latentzoo", env=variables)
        assert wanted in done.output.split(), done.output


def test_no_word_of_a_help_is_read_as_markup() -> None:
    """As `[ray]` is, unless it is written `\\[ray]`."""
    commands = vars(typer.main.get_command(app))["commands"].values()
    helps = [
        option.help for one in commands for option in one.params if getattr(option, "help", "")
    ]
    assert any("\\[" in text for text in helps)
    for text in helps:
        assert Text.from_markup(text).plain == text.replace("\\[", "[")
