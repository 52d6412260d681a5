"""The main job from the command line, on the built-in model: what it leaves, what it prints, how it ends."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors import safe_open
from typer.testing import CliRunner

from cli.conftest import Command
from latentzoo.cli import app
from latentzoo.cli.app import interruptible
from latentzoo.record import experiment

FACE = "avatar-turbo"
HAT = "a person with sunglasses and a yellow hat"
QUICK = ("--text", f"{HAT}:500", "--chains", "4", "--steps", "12")


def test_a_run_leaves_everything(command: Command, tmp_path: Path) -> None:
    done = command("sample", FACE, *QUICK, "--out", "run", "--seed", "7")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    names = {
        "run.yaml",
        "images",
        "start",
        "grid.png",
        "pairs.png",
        "latents.safetensors",
        "trace.csv",
        "diagnosis.json",
    }
    assert names | {"report.html", "state.safetensors", ".lock"} == {p.name for p in run.iterdir()}

    record = yaml.safe_load((run / "run.yaml").read_text())
    seeds = [7 * 2**32 + chain for chain in range(4)]
    assert record["record"]["seeds"] == seeds and set(record["record"]["inputs"]) == {
        "generator",
        "settings of the generator",
        "energy clip",
    }
    assert record["kernel"]["settings"]  # every default of the kernel is written out
    pictures = sorted((run / "images").iterdir())
    assert [p.name for p in pictures] == [f"0000{i}.png" for i in range(4)]
    for picture, seed in zip(pictures, seeds, strict=True):
        chunks = Image.open(picture).text
        told = yaml.safe_load(chunks["latentzoo"])
        assert chunks["seed"] == str(seed) and "seeds" not in told["record"]  # only its own
        assert {**told, "record": {**told["record"], "seeds": seeds}} == record

    rows = table(run)
    assert set(rows[0]) >= {"step", "chain", "phi", "term.clip", "accept", "norm2"}
    assert all(
        float(row["phi"]) == pytest.approx(500 * float(row["term.clip"]), rel=1e-4) for row in rows
    )
    with safe_open(run / "latents.safetensors", "np") as file:
        z = file.get_tensor("z")
    last = [row for row in rows if row["step"] == rows[-1]["step"]]
    assert np.allclose(np.square(z).sum(1), [float(row["norm2"]) for row in last], rtol=1e-4)
    diagnosis = json.loads((run / "diagnosis.json").read_text())
    assert diagnosis["chains"] == 4 and isinstance(diagnosis["trustworthy"], bool)
    assert "grid.png" in done.stdout and not done.stderr


def test_guidance_lowers_the_energy(command: Command, tmp_path: Path) -> None:
    assert command("sample", FACE, *QUICK, "--out", "run").returncode == 0
    rows = table(tmp_path / "run")
    mean = lambda step: np.mean([float(row["term.clip"]) for row in rows if row["step"] == step])
    assert mean(rows[-1]["step"]) < mean("0") - 0.1


def test_with_no_energy_it_draws_from_the_prior(command: Command, tmp_path: Path) -> None:
    assert command("sample", FACE, "--chains", "3", "--out", "run").returncode == 0
    assert len(list((tmp_path / "run" / "images").iterdir())) == 3
    assert not (tmp_path / "run" / "diagnosis.json").exists()


def test_a_record_makes_the_same_pictures(command: Command, tmp_path: Path) -> None:
    assert command("sample", FACE, *QUICK, "--out", "a").returncode == 0
    assert command("sample", FACE, *QUICK, "--save-spec", "hat.yaml").returncode == 0
    assert command("run", "hat.yaml", "--out", "b").returncode == 0
    assert command("run", "a/run.yaml", "--out", "c").returncode == 0
    for other in ("b", "c"):
        assert pixels(tmp_path / "a") == pixels(tmp_path / other)


def test_json_is_one_line_per_event(command: Command) -> None:
    done = command("sample", FACE, *QUICK, "--out", "run", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [e["event"] for e in events] == ["step"] * 12 + ["done"]
    assert {"step", "of", "phi", "clip", "failed"} <= set(events[0])


def test_quiet_says_nothing(command: Command) -> None:
    done = command("sample", FACE, *QUICK, "--out", "run", "--quiet")
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("steps", ["16", "30"], ids=["prior", "picked-starts"])
def test_one_chain_alone_follows_the_schedule_of_its_run(
    command: Command, tmp_path: Path, steps: str
) -> None:
    words = ("sample", FACE, "--text", HAT, "--steps", steps, "--seed", "5")
    assert command(*words, "--chains", "4", "--out", "pilot").returncode == 0
    assert (
        command(*words, "--chains", "1", "--schedule", "pilot", "--out", "alone").returncode == 0
    )
    z = [latents(tmp_path / name)[0] for name in ("pilot", "alone")]
    assert np.allclose(*z, atol=1e-2)
    rows = (tmp_path / "pilot" / "trace.csv").read_text().splitlines()
    assert len(rows) - 1 == 4 * (int(steps) + 1 - 3 * (steps == "30"))


@pytest.mark.parametrize("moment", ["kill", "interrupt"])
def test_a_stopped_run_goes_on_bit_for_bit(command: Command, tmp_path: Path, moment: str) -> None:
    words = ("sample", FACE, "--text", HAT, "--chains", "3", "--steps", "60", "--kernel", "mala")
    assert command(*words, "--out", "whole").returncode == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "latentzoo", *words, "--out", "cut", "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LATENTZOO_STATE_SECONDS": "0"},
    )
    stop = random.Random(os.getpid()).randint(11, 45)
    assert process.stdout is not None
    for _ in range(stop):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL if moment == "kill" else signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (-9 if moment == "kill" else 130)
    if moment == "interrupt":
        assert b"latentzoo resume cut" in errors
    assert (tmp_path / "cut" / "grid.png").exists() == (moment == "interrupt")
    resumed = command("resume", "cut", "--json")
    assert resumed.returncode == 0, resumed.stderr
    made = sum('"step"' in line for line in resumed.stdout.splitlines())
    assert made < 60, "it began again instead of going on"
    assert pixels(tmp_path / "whole") == pixels(tmp_path / "cut")
    assert np.array_equal(latents(tmp_path / "whole"), latents(tmp_path / "cut"))


def test_two_processes_cannot_work_in_one_folder(command: Command, tmp_path: Path) -> None:
    words = ["sample", FACE, "--text", HAT, "--chains", "2", "--steps", "500", "--out", "run"]
    process = subprocess.Popen(
        [sys.executable, "-m", "latentzoo", *words], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    while not (tmp_path / "run" / "run.yaml").exists():
        time.sleep(0.1)
    second = command(*words, "--force")
    process.kill()
    process.wait()
    assert second.returncode == 2 and "a running process works in this folder" in second.stderr


def table(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "trace.csv").read_text().splitlines()))


def pixels(run: Path) -> list[bytes]:
    return [Image.open(p).tobytes() for p in sorted((run / "images").iterdir())]


def latents(run: Path) -> np.ndarray:
    with safe_open(run / "latents.safetensors", "np") as file:
        return file.get_tensor("z")


def press(words: tuple[str, ...], folder: Path, *, after: str) -> tuple[int, str]:
    """Starts a command, presses Ctrl-C after a line that has certain words, and returns how it ended."""
    process = subprocess.Popen(
        [sys.executable, "-m", "latentzoo", *words, "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while after and after not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def test_ctrl_c_is_acknowledged_at_once(tmp_path: Path) -> None:
    words = ("sample", FACE, "--text", HAT, "--chains", "2", "--steps", "2000", "--out", "run")
    status, errors = press(words, tmp_path, after='"step"')
    first, last = errors.strip().splitlines()
    assert status == 130
    assert first == "stopping after this step; again to stop now"
    assert last == "stopped; go on with: latentzoo resume run"


def test_ctrl_c_before_the_first_step_stops_at_once() -> None:
    with interruptible() as interrupt:
        with pytest.raises(KeyboardInterrupt):  # networks load, or a ramp looks for a strength
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        interrupt.between_steps()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)
        with pytest.raises(KeyboardInterrupt):
            interrupt.between_steps()


def test_ctrl_c_in_a_ramp_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def pressed(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

    monkeypatch.setattr(experiment, "find", pressed)
    words = ["sample", FACE, "--text", HAT, "--strength", "3nats", "--out", "run", "--quiet"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 130
    assert done.output == "stopped before the first step; nothing was written\n"
    assert not list(tmp_path.iterdir())


def test_strict_holds_for_a_run_that_was_finished_before(command: Command) -> None:
    assert command("sample", FACE, *QUICK, "--out", "short", "--strict").returncode == 4
    again = command("resume", "short", "--strict")
    assert again.returncode == 4 and "--strict: " in again.stderr
    assert command("resume", "short").returncode == 0
