"""A run that is killed again and again, at any moment, is the undisturbed one: draws, trace, cost and notes."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

import recorded
from latentzoo.record import plain

STEPS = 60
RECORD = {
    "generator": "toy",
    "energies": [
        {"energy": "measure", "target": "light.png", "weight": 2.0},
    ],
    "kernel": {"name": "anneal"},
    "chains": 3,
    "steps": STEPS,
    "tries": 2,
    "strength": 1.5,
    "device": "cpu",
}


def start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """Runs `latentzoo WORDS...` over the toys, a state file every ten steps."""
    tests = Path(recorded.__file__).parent
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(tests)]),
        "LATENTZOO_STATE_SECONDS": "0",
        "TOY_DELAY": "0.01",
    }
    command = [sys.executable, str(tests / "recorded.py"), *words, "--quiet"]
    with (folder / "log.txt").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the record, and its undisturbed run."""
    folder = tmp_path_factory.mktemp("killed")
    Image.new("RGB", (4, 4), (230, 230, 230)).save(folder / "light.png")
    (folder / "record.yaml").write_text(yaml.safe_dump(RECORD))
    assert start(folder, "run", "record.yaml", "--out", "whole").wait() == 0
    return folder


def seconds(folder: Path) -> float:
    """The seconds that a run has taken so far, by its state file."""
    try:
        with safe_open(folder / "state.safetensors", framework="np") as file:
            return float(file.metadata()["seconds"])
    except FileNotFoundError:
        return 0.0


def go_on(place: Path, name: str) -> subprocess.Popen[bytes]:
    """Resumes the run if there is one, or begins it."""
    if (place / name / "run.yaml").exists():
        return start(place, "resume", name)
    return start(place, "run", "record.yaml", "--out", name)


def read(folder: Path) -> tuple[dict[str, bytes], str, list[str]]:
    """What must be the same: latents, trace, and what was noted."""
    latents = {name: z.tobytes() for name, z in load_file(folder / "latents.safetensors").items()}
    told = json.loads((folder / "diagnosis.json").read_text())
    return latents, (folder / "trace.csv").read_text(), told["notes"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_run_killed_at_random_moments_is_the_undisturbed_one(place: Path, seed: int) -> None:
    chance, name, spent, kills = random.Random(seed), f"killed{seed}", 0.0, 0
    begun = time.monotonic()
    assert start(place, "run", "record.yaml", "--out", f"timed{seed}").wait() == 0
    lasts = time.monotonic() - begun
    while kills < 6:
        process = go_on(place, name)
        time.sleep(chance.uniform(0.2, 0.8) * lasts)
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0 and kills:
            break
        if process.returncode == 0:  # it was quicker than it had been: once more
            shutil.rmtree(place / name)
            continue
        kills += 1
        assert seconds(place / name) >= spent, "time that was spent is forgotten"
        spent = seconds(place / name)
    assert go_on(place, name).wait() == 0, (place / "log.txt").read_text()
    assert kills > 0 and read(place / name) == read(place / "whole")
    assert any("nats of guidance" in note for note in read(place / name)[2])
    assert plain.read(place / name / "run.yaml").record["seconds"] >= spent


def test_a_run_killed_once_after_its_first_state_is_the_undisturbed_one(place: Path) -> None:
    process = go_on(place, "once")
    state = place / "once" / "state.safetensors"
    while not state.exists() and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, (place / "log.txt").read_text()
    assert not (place / "once" / "latents.safetensors").exists()
    spent = seconds(place / "once")
    assert start(place, "resume", "once").wait() == 0
    assert read(place / "once") == read(place / "whole")
    assert plain.read(place / "once" / "run.yaml").record["seconds"] >= spent > 0
