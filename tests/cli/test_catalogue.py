"""Listing, showing and checking."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import latentzoo as lz
from cli.conftest import Command
from latentzoo import zoo
from latentzoo.cli import app
from latentzoo.hub import cache


def test_everything_is_listed(command: Command) -> None:
    done = command("list", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    generators = {row["name"]: row for row in rows if row["event"] == "generator"}
    assert set(generators) == set(lz.names())
    assert generators["avatar-turbo"]["on_disk"] == "yes" and generators["avatar-turbo"]["latent"]
    assert generators["stylegan2-ffhq-1024"]["on_disk"] == "no"
    assert {"clip", "identity", "attribute"} <= {
        row["name"] for row in rows if row["event"] == "energy"
    }
    assert {"anneal", "ula", "mala"} <= {row["name"] for row in rows if row["event"] == "kernel"}
    assert all(row["summary"] for row in rows if row["event"] in ("energy", "kernel"))


@pytest.mark.parametrize("name", ["avatar-turbo", "stylegan2-ffhq-1024", "mala", "clip"])
def test_one_is_shown(command: Command, name: str) -> None:
    done = command("show", name)
    assert done.returncode == 0 and name in done.stdout


def test_check_passes_on_the_built_in(command: Command) -> None:
    done = command("check", "avatar-turbo", "--json")
    laws = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and all(law["holds"] for law in laws)
    assert any("gradient reaches" in law["name"] for law in laws)


def test_the_schema_describes_a_run(command: Command) -> None:
    schema = json.loads(command("schema").stdout)
    assert "generator" in schema["$defs"]["Run"]["required"]


@pytest.mark.parametrize(
    "words",
    [(), ("sample",), ("run",), ("resume",), ("list",), ("show",), ("check",), ("schema",)],
)
def test_every_command_has_help_with_an_example(command: Command, words: tuple[str, ...]) -> None:
    done = command(*words, "--help")
    assert done.returncode == 0 and "Example" in done.stdout


def test_help_needs_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; sys.argv = ['latentzoo', '--help']\n"
        "from latentzoo.cli import main\n"
        "try: main()\nfinally: sys.stderr.write(str('torch' in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stderr.endswith("False")


def test_an_energy_shows_its_networks_their_cost_and_licence() -> None:
    shown = json.loads(CliRunner().invoke(app, ["show", "identity", "--json"]).output)
    told = shown["model_ir_se50.pth"]
    assert "112x112 pixels, 43.8 M parameters, 12.6 GFLOP a picture; licence:" in told
    guide = json.loads(
        CliRunner().invoke(app, ["show", "openai/clip-vit-base-patch32", "--json"]).output
    )
    assert (guide["side"], guide["parameters"], guide["licence"]) == (224, 151277313, "MIT")
    wrong = CliRunner().invoke(app, ["show", "openai/clip-vit-base-patch33"])
    assert "did you mean 'openai/clip-vit-base-patch32'" in wrong.output


def test_a_card_shows_the_hash_of_the_first_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENTZOO_CACHE", str(tmp_path))
    card = next(
        zoo.card(name)
        for name in zoo.names()
        if zoo.card(name).url and zoo.card(name).sha256 is None
    )
    show = lambda: json.loads(CliRunner().invoke(app, ["show", card.name, "--json"]).output)
    assert show()["sha256"].startswith("not known yet")
    file = tmp_path / "weights"
    file.write_bytes(b"weights")
    cache.verify(file, str(card.url).partition("#")[0], None)
    assert show()["sha256"].startswith(f"{cache.sha256(file)} (recorded at the first download")
