"""Listing, showing and checking."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import latentzoo as lz
from cli.conftest import Command
from latentzoo import kernels, zoo
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


@pytest.mark.parametrize("words", [["--help"], ["list"]])
def test_help_and_the_list_import_nothing_that_computes_or_fetches(words: list[str]) -> None:
    code = f"import sys; from latentzoo.cli import app; app({words}, standalone_mode=False); "
    code += "print({'torch', 'numpy', 'latentzoo.hub.fetch'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("name", ["avatar-turbo", "stylegan2-ffhq-1024", "mala", "clip"])
def test_one_is_shown(command: Command, name: str) -> None:
    done = command("show", name)
    assert done.returncode == 0 and name in done.stdout


def test_the_list_fits_a_screen_and_takes_a_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    whole = CliRunner().invoke(app, ["list"]).output
    assert len(whole.splitlines()) <= 44 and max(map(len, whole.splitlines())) <= 90
    for word in (
        "avatar-turbo",
        "stylegan2 14",
        "imagereward:ImageReward.pt",
        "clip",
        "anneal",
        "pipelines",
    ):
        assert word in whole
    some = CliRunner().invoke(app, ["list", "StyleGAN2"]).output.splitlines()
    shown = {line.split()[0] for line in some[1:]}
    assert shown == {n for n in zoo.names() if "stylegan2" in n + zoo.card(n).family}
    assert "kernel mala" in CliRunner().invoke(app, ["list", "mala"]).output
    kernels_ = CliRunner().invoke(app, ["list", "kernels"]).output
    assert all(f"kernel {name} " in kernels_ for name in kernels.known())
    assert "pipeline avatar-t2i" in CliRunner().invoke(app, ["list", "t2i"]).output
    wrong = CliRunner().invoke(app, ["list", "stylegun2"])
    assert wrong.exit_code == 2 and "did you mean" in wrong.output


def test_nothing_heavy_is_imported_for_a_list(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['latentzoo', 'list']\n"
        "from latentzoo.cli import main\n"
        "try: main()\n"
        "finally: sys.stderr.write(str({'torch', 'numpy', 'huggingface_hub'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stderr == "set()"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("measure", ["operator", "sigma", "0.1", "clean", "size"]),
        ("clip", ["copies", "per_chain", "antialias", "openai/clip-vit-base-patch32"]),
        ("anneal", ["step_size", "gamma", "tail", "0.25"]),
        ("eg3d", ["near", "2.25", "eg3d-ffhq-512"]),
        ("builtin.ldm", ["avatar-ldm"]),
    ],
)
def test_options_and_settings_are_shown_in_words(name: str, words: list[str]) -> None:
    shown = CliRunner().invoke(app, ["show", name], env={"COLUMNS": "80"}).output
    assert all(word in shown for word in words)
    assert ":math:" not in shown and "\\" not in shown and ".. math" not in shown


@pytest.mark.parametrize("kernel", sorted(kernels.known()))
def test_every_setting_of_every_kernel_is_explained(kernel: str) -> None:
    shown = json.loads(CliRunner().invoke(app, ["show", kernel, "--json"]).output)["settings"]
    bare = [name for name, words in shown.items() if ". " not in words]
    assert not bare, shown


def test_the_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"latentzoo {lz.__version__}\n"


def test_a_reader_who_has_read_enough(tmp_path: Path) -> None:
    command = f"{sys.executable} -m latentzoo list --json | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout.count("\n") == 1 and done.stderr == ""


def test_check_passes_on_the_built_in(command: Command) -> None:
    done = command("check", "avatar-turbo", "--json")
    laws = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and all(law["holds"] for law in laws)
    assert any("gradient reaches" in law["name"] for law in laws)


OWN = """
import latentzoo as lz
from torch import nn

class Own(lz.Generator):
    def __init__(self, side: int = 4, grey: bool = False) -> None:
        super().__init__()
        self.space, self.size, self.channels = lz.Space(z=(3,)), (side, side), 1 if grey else 3
        self.net = nn.Linear(3, self.channels * side * side)

    def forward(self, z):
        return self.net(z).sigmoid().unflatten(1, (self.channels, *self.size))

grey = Own(grey=True)
"""


def test_check_takes_a_class_and_an_object_of_ones_own(command: Command, tmp_path: Path) -> None:
    (tmp_path / "maps.py").write_text(OWN)
    made = command("check", "maps:Own", "--option", "side=8")
    assert made.returncode == 0 and "shape (B, 3, 8, 8)" in made.stdout, made.stderr
    broken = command("check", "maps:grey", "--json")
    why = [json.loads(line)["why"] for line in broken.stdout.splitlines()]
    assert broken.returncode == 1 and any("returned shape (3, 1, 4, 4)" in words for words in why)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("maps:Owl",), "the module 'maps' has no 'Owl'"),
        (("mops:Own",), "'mops:Own' cannot be imported"),
        (("maps:Own", "--option", "sides=8"), "maps:Own cannot be made"),
    ],
)
def test_an_object_that_is_not_there_is_one_line(
    command: Command, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "maps.py").write_text(OWN)
    done = command("check", *words)
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1


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
    told = shown["guides"]["model_ir_se50.pth"]
    assert "112x112 pixels, 43.8 M parameters, 12.6 GFLOP a picture; licence:" in told
    guide = json.loads(
        CliRunner().invoke(app, ["show", "openai/clip-vit-base-patch32", "--json"]).output
    )
    use = guide["uses"]["clip"]
    assert (use["side"], use["parameters"], guide["licence"]) == (224, 151277313, "MIT")
    face = CliRunner().invoke(app, ["show", "face-api"])
    assert face.exit_code == 0 and all(
        words in face.output for words in ("identity", "expressions", "age", "npm", "MIT")
    )
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


def test_the_help_shows_the_first_command_first() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    places = [shown.index(f"│ {name} ") for name in ("sample", "run", "list", "show", "evaluate")]
    assert places == sorted(places)


def test_what_was_never_compared_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    own = replace(zoo.card("avatar-turbo"), caveat="its layers were never seen")
    monkeypatch.setattr(zoo, "card", lambda name: own)
    for command in ("show", "check"):
        done = CliRunner().invoke(app, [command, "avatar-turbo"])
        assert done.exit_code == 0 and "caveat" in done.output
        assert "never seen" in " ".join(done.output.split())
