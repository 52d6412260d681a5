"""Mistakes end in one line that says what and the cure, with a status, no traceback, and nothing half-written."""

import sys
from pathlib import Path

import pytest
import torch
import typer
import yaml
from typer.testing import CliRunner

from cli.conftest import Command
from latentzoo.cli import app
from latentzoo.cli.app import is_out_of_memory, mistakes_in_one_line, one_line
from latentzoo.errors import LatentzooError, MissingExtra, UnknownName

HAT = "a person with a yellow hat"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["sample", "avatar-trubo"],
            "unknown generator 'avatar-trubo'; did you mean 'avatar-turbo'",
        ),
        (
            ["sample", "avatar-turbo", "--energy", "clap=x"],
            "unknown energy 'clap'; did you mean 'clip'",
        ),
        (["sample", "avatar-turbo", "--energy", "yellow"], "is no KIND=TARGET"),
        (["sample", "avatar-turbo", "--energy", "attribute"], "'attribute' is no KIND=TARGET"),
        (["sample", "avatar-turbo", "--energy", "clip(=hat"], "'clip(=hat' is no KIND=TARGET"),
        (["sample", ""], "no generator is named"),
        (
            ["sample", "avatar-turbo", "--text", HAT, "--kernel", "mela"],
            "unknown kernel 'mela'; did you mean 'mala'",
        ),
        (["sample", "avatar-turbo", "--text", f"{HAT}:-3"], "the weight -3"),
        (["sample", "avatar-turbo", "--text", "zzz qqq"], "vocabulary"),
        (["sample", "avatar-turbo", "--text", HAT, "--option", "stepps=3"], "stepps"),
        (["sample", "avatar-turbo", "--text", HAT, "--option", "steps"], "no KEY=VALUE"),
        (
            ["sample", "avatar-turbo", "--text", HAT, "--device", "tpu9"],
            "the device 'tpu9' cannot be used",
        ),
        (
            ["sample", "avatar-turbo", "--text", HAT, "--dtype", "int3"],
            "the dtype 'int3' is unknown",
        ),
        (["sample", "avatar-turbo", "--text", HAT, "--vary", "sytle"], "sytle"),
        (["sample", "avatar-turbo", "--text", HAT, "--best", "clap"], "clap"),
        (
            ["sample", "avatar-turbo", "--text", HAT, "--strength", "much"],
            "not an amount of information",
        ),
        (
            ["sample", "avatar-ldm", "--text", HAT, "--init", "none.png"],
            "there is no such picture",
        ),
        (["sample", "none.safetensors"], "none.safetensors"),
        (["sample", "avatar-turbo", "--text", HAT, "--option", "steps=["], "cannot be read"),
        (["sample", "avatar-turbo", "--text", HAT, "--set", "chain=3"], "did you mean 'chains'"),
        (["sample", "avatar-turbo", "--text", HAT, "--strength", "-3"], "amount of information"),
        (["sample", "avatar-turbo", "--text", HAT, "--scale", "0"], "Expected 'float' > 0"),
        (
            ["sample", "avatar-turbo", "--energy", "clip(copies=many)=a hat"],
            "the option copies=many of the energy 'clip': Expected 'int', got 'str'",
        ),
        (
            ["sample", "avatar-turbo", "--energy", "clip(name=a.b)=a hat"],
            "an energy cannot be called 'a.b'",
        ),
        (
            ["sample", "avatar-gan", "--energy", "clip(copies=2, copies=3)=a hat"],
            "the option 'copies' of the energy 'clip(copies=2, copies=3)=a hat' is given twice",
        ),
        (
            ["sample", "avatar-turbo", "--option", "steps=2", "--option", "steps=3"],
            "the option 'steps' is given twice",
        ),
        (["sample", "avatar-gan", "--energy", "clip(model=)=a hat"], "is empty; write one"),
        (
            ["sample", "avatar-gan", "--energy", "attribute=hat_color=red, hat_color=blue"],
            "gives hat_color twice",
        ),
        (["sample", "avatar-turbo", "--text", "hat:10:"], "ends in a colon without a weight"),
        (["sample", "avatar-turbo", "--chains", "0"], "greater than or equal to 1; `"),
        (["sample", "avatar-turbo", "--chains", "two"], "invalid value for '--chains'"),
        (["sample"], "missing argument 'generator'"),
        (["sample", "avatar-turbo", "--bogus"], "no such option: --bogus"),
        (["smaple"], "no such command 'smaple'. Did you mean 'sample'?"),
        (["--bogus"], "no such option: --bogus"),
        (["run", "none.yaml"], "there is no such file"),
        (["resume", "none"], "there is no such folder"),
        (["show", "avatar-trubo"], "did you mean 'avatar-turbo'"),
        (["check", "avatar-trubo"], "did you mean 'avatar-turbo'"),
    ],
)
def test_a_mistake_is_one_line(
    command: Command, tmp_path: Path, words: list[str], message: str
) -> None:
    done = command(*words)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ") and message in line
    left = (
        [p for p in (tmp_path / "runs").rglob("*") if p.is_file()]
        if (tmp_path / "runs").exists()
        else []
    )
    assert not left


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"generator": "avatar-turbo", "chainz": 3}, "did you mean 'chains'"),
        ({"generator": "avatar-turbo", "chains": "three"}, "chains"),
        ({"generator": "avatar-turbo", "energies": [{"target": HAT, "weight": -1}]}, "weight"),
        (
            {
                "generator": "avatar-turbo",
                "energies": [{"target": HAT}],
                "kernel": {"name": "ula", "settings": {"stepsize": 1}},
            },
            "step_size",
        ),
    ],
)
def test_a_bad_record_is_one_line(
    command: Command, tmp_path: Path, record: dict, message: str
) -> None:
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(record))
    done = command("run", "bad.yaml")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ") and message in line


def test_debug_shows_the_traceback(command: Command) -> None:
    done = command("sample", "avatar-trubo", "--debug")
    assert done.returncode == 1 and "Traceback" in done.stderr


def test_a_folder_is_not_overwritten_without_force(command: Command, tmp_path: Path) -> None:
    words = ("sample", "avatar-turbo", "--chains", "2", "--out", "run")
    assert command(*words).returncode == 0
    before = (tmp_path / "run" / "run.yaml").read_bytes()
    again = command(*words, "--seed", "1")
    assert again.returncode == 2 and "--force" in again.stderr
    assert (tmp_path / "run" / "run.yaml").read_bytes() == before
    assert command(*words, "--seed", "1", "--force").returncode == 0


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "]
)
def test_a_file_that_is_no_checkpoint(command: Command, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.safetensors").write_bytes(content)
    done = command("check", "bad.safetensors")
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 2 and "bad.safetensors" in line


def test_a_truncated_checkpoint_of_a_run(command: Command, tmp_path: Path) -> None:
    words = (
        "sample",
        "avatar-turbo",
        "--text",
        HAT,
        "--chains",
        "2",
        "--steps",
        "3",
        "--out",
        "run",
    )
    assert command(*words).returncode == 0
    path = tmp_path / "run" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    done = command("resume", "run", "--steps", "2")
    (line,) = done.stderr.strip().splitlines()
    assert done.returncode == 2 and "not a readable state" in line


def test_no_space_left_leaves_nothing_half_written(tmp_path: Path) -> None:
    """A file system that is full: the file keeps its old content, and no temporary file stays."""
    import errno

    from latentzoo.cli.app import one_line
    from latentzoo.files import write_atomic

    path = tmp_path / "run.yaml"
    path.write_text("old")

    def full(temporary: Path) -> None:
        temporary.write_text("ne")
        raise OSError(errno.ENOSPC, "No space left on device", str(temporary))

    with pytest.raises(OSError, match="No space left") as caught:
        write_atomic(path, full)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    assert "no space left" in one_line(caught.value) and "resume" in one_line(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate"),
        RuntimeError("not enough memory: you tried to allocate 1099511627776 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_too_little_memory_is_one_line_with_the_cure(error: Exception) -> None:
    own = typer.Typer()

    @own.command()
    def fail() -> None:
        with mistakes_in_one_line():
            raise error

    done = CliRunner().invoke(own, [])
    assert done.exit_code == 2
    assert done.output.startswith("error: out of memory; give a smaller --micro-batch")


def test_torch_says_what_we_look_for() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.float64)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 must have the same dtype"))


def test_a_warning_is_one_line_and_quiet_hides_it(command: Command) -> None:
    words = ["sample", "avatar-turbo", "--text", "an astronaut with a hat", "--chains", "2"]
    words += ["--steps", "2", "--kernel", "ula"]
    done = command(*words, "--out", "a")
    lines = done.stderr.strip().splitlines()
    assert lines and all(line.startswith("warning: ") for line in lines), done.stderr
    assert any("astronaut" in line for line in lines) and ".py" not in done.stderr
    assert command(*words, "--out", "b", "--quiet").stderr == ""


def test_a_mesh_that_cannot_be_made_is_said_before_views_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--option", "size=8", "--option", "samples=2", "--quiet"]
    words = ["sample", "avatar-3d", "--chains", "1", "--out", "run", *small]
    assert CliRunner().invoke(app, words).exit_code == 0
    monkeypatch.setitem(sys.modules, "skimage", None)
    done = CliRunner().invoke(app, ["orbit", "run", "--mesh", "head.ply", "--out", "sides"])
    assert done.exit_code == 2 and "latentzoo[mesh]" in done.output
    assert not (tmp_path / "sides").exists()


def below(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(each for sub in kind.__subclasses__() for each in below(sub))]


@pytest.mark.parametrize("kind", sorted(set(below(LatentzooError)), key=str))
def test_no_mistake_says_where_in_memory_an_object_is(kind: type[Exception]) -> None:
    words = [f"{object()} is no {test_torch_says_what_we_look_for}"] * 3
    error = kind(*words[: 3 if kind in (MissingExtra, UnknownName) else 1])
    assert "<object object>" in str(error) and " at 0x" not in str(error)


def test_foreign_mistakes_do_not_say_it_either() -> None:
    assert one_line(OSError(f"{object()}")) == "<object object>"
