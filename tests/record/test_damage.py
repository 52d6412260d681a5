"""A run folder that was damaged, whatever was done to it: one line says which file, and nothing is told wrongly."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import ones
from typer.testing import CliRunner

from latentzoo.cli import app
from latentzoo.record import execute, spec

COMMANDS = {
    "resume": ["resume", "run", "--quiet"],
    "extend": ["resume", "run", "--steps", "3", "--quiet"],
    "status": ["status", "run"],
    "report": ["report", "run", "--out", "page.html"],
    "export": ["export", "run", "--out", "data"],
    "decode": ["decode", "run", "avatar-gan", "--out", "decoded"],
}


def put(name: str, text: str) -> Callable[[Path], None]:
    return lambda run: [(run / name).write_text(text), None][1]


def changed(name: str, change: Callable[[str], str]) -> Callable[[Path], None]:
    return lambda run: put(name, change((run / name).read_text()))(run)


def cut(name: str) -> Callable[[Path], None]:
    def half(run: Path) -> None:
        content = (run / name).read_bytes()
        (run / name).write_bytes(content[: len(content) // 2])

    return half


def measured(text: str) -> Callable[[Path], None]:
    return changed("run.yaml", lambda told: told.split("record:")[0] + f"record: {text}\n")


DAMAGE: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "measurements of other types": (
        measured("{finished: true, seeds: abc}"),
        {*COMMANDS},
    ),
    "hashes that are none": (measured("{finished: true, inputs: 3}"), {*COMMANDS}),
    "no trace at all": (put("trace.csv", ""), {"report", "export"}),
    "a trace of nothing": (
        changed("trace.csv", lambda told: told.splitlines()[0] + "\n"),
        {"report", "export"},
    ),
    "half a trace": (cut("trace.csv"), {"report", "export"}),
    "a trace without its last row": (
        changed("trace.csv", lambda told: told.rstrip().rpartition("\n")[0] + "\n"),
        {"report", "export"},
    ),
    "a trace of other columns": (
        changed("trace.csv", lambda told: told.replace("phi", "psi")),
        {"report", "export"},
    ),
    "no state": (lambda run: (run / "state.safetensors").unlink(), {"extend"}),
    "half a state": (cut("state.safetensors"), {"extend"}),
    "a state of something else": (
        lambda run: save_file({"q": ones(2)}, run / "state.safetensors", {"step": "x"}),
        {"extend"},
    ),
    "no latents": (lambda run: (run / "latents.safetensors").unlink(), {"decode"}),
    "half a verdict": (cut("diagnosis.json"), {"resume", "report", "export"}),
    "a verdict that is none": (put("diagnosis.json", "{}"), {"resume", "report", "export"}),
    "an evaluation that is none": (put("evaluation.json", "[1]"), {"report"}),
    "the first picture gone": (
        lambda run: (run / "images" / "00000.png").unlink(),
        {"report", "export"},
    ),
    "somebody else's picture": (put("images/mine.png", "x"), set()),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    hat = spec.Term(energy="attribute", target="hat=beanie", weight=5.0)
    run = spec.Run(generator="avatar-gan", energies=[hat], chains=2, steps=6, keep=2)
    out = tmp_path_factory.mktemp("made") / "run"
    execute.make(spec.replace(run, kernel=spec.KernelSettings(name="mala")), out)
    return out


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_said_in_one_line_by_each_command(
    damage: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    do, fails = DAMAGE[damage]
    found = set()
    for name, words in COMMANDS.items():
        shutil.rmtree("run", ignore_errors=True)
        shutil.copytree(made, "run")
        do(Path("run"))
        done = CliRunner().invoke(app, words)
        assert done.exit_code in (0, 2), f"{name}: {done.output}{done.exception!r}"
        if done.exit_code == 2:
            found.add(name)
            assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("error: run")
    assert found == fails


def test_an_evaluation_of_fewer_steps_goes_with_them(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made, tmp_path / "run")
    (tmp_path / "run" / "evaluation.json").write_text('{"numbers": {}}')
    execute.resume(tmp_path / "run", steps=3)
    assert not (tmp_path / "run" / "evaluation.json").exists()
