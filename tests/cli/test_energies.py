"""Energies with options, and sweeps, from the command line to run folders."""

import csv
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import Result
from typer.testing import CliRunner

from latentzoo import energies, picture
from latentzoo.cli import app
from latentzoo.guides import networks
from latentzoo.record import execute, spec, words


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LATENTZOO_OFFLINE", "1")


def call(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def column(run: Path, name: str) -> list[float]:
    """The mean over chains of a column of the trace, per step."""
    rows = list(csv.DictReader((run / "trace.csv").read_text().splitlines()))
    steps = sorted({int(row["step"]) for row in rows})
    at = lambda step: [float(row[name]) for row in rows if int(row["step"]) == step]
    return [sum(at(step)) / len(at(step)) for step in steps]


def test_a_measurement(tmp_path: Path) -> None:
    grey = torch.full((1, 3, 16, 16), 0.5)
    picture.write(tmp_path / "y.png", picture.to_uint8(grey)[0])
    energy = "measure(operator=downsample:4, sigma=0.3)=y.png:1"
    words = ("--energy", energy, "--chains", "2", "--steps", "6", "--kernel", "adam")
    done = call("sample", "avatar-turbo", *words, "--out", "run")
    assert done.exit_code == 0, done.output
    record = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    (term,) = record["energies"]
    assert term["options"] == {"operator": "downsample:4", "sigma": 0.3} and term["weight"] == 1
    energies = column(tmp_path / "run", "term.measure")
    assert energies[-1] < energies[0]


def test_a_text_per_chain(tmp_path: Path) -> None:
    texts = "a bald person | a person with a yellow hat"
    energy = f"clip(model=avatar-clip, per_chain=true)={texts}:300"
    words = ("--energy", energy, "--steps", "3", "--kernel", "ula", "--micro-batch", "1")
    assert call("sample", "avatar-turbo", *words, "--chains", "2", "--out", "run").exit_code == 0
    assert (tmp_path / "run" / "report.html").exists()
    done = call("sample", "avatar-turbo", *words, "--chains", "3", "--out", "other")
    assert done.exit_code == 2 and "give chains=2" in done.output


def test_a_sweep_makes_what_matches_once(tmp_path: Path) -> None:
    picture.write(tmp_path / "y.png", picture.to_uint8(torch.ones(1, 3, 64, 64) / 2)[0])
    sweep = {
        "name": "grey_{strength}_{draw}",
        "axes": {
            "strength": {"weak": {"weight": 0.1}, "strong": {"weight": 1}},
            "draw": {"first": {"seed": 1}, "other": {}},
        },
        "run": {
            "generator": "avatar-turbo",
            "seed": "$seed",
            "energies": [{"energy": "measure", "target": "y.png", "weight": "$weight"}],
            "kernel": {"name": "ula"},
        },
    }
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({"groups": [sweep]}))
    listed = call("sweep", "sweep.yaml", "--list", "--only", "*_weak_*")
    assert listed.output.split() == ["grey_weak_first", "grey_weak_other"]
    words = ("sweep", "sweep.yaml", "--only", "*_weak_*", "--set", "chains=1", "--set", "steps=2")
    done = call(*words, "--out", "runs")
    assert done.exit_code == 0, done.output
    made = sorted((tmp_path / "runs").iterdir())
    assert [run.name for run in made] == ["grey_weak_first", "grey_weak_other"]
    times = [(run / "report.html").stat().st_mtime_ns for run in made]
    records = [yaml.safe_load((run / "run.yaml").read_text()) for run in made]
    assert [(r["seed"], r["energies"][0]["weight"]) for r in records] == [(1, 0.1), (0, 0.1)]
    again = call(*words, "--out", "runs")
    assert again.exit_code == 0 and not again.output
    assert times == [(run / "report.html").stat().st_mtime_ns for run in made]


def sweep_of(place: Path, **labels: dict) -> None:
    """A sweep of draws from the prior, one for each label."""
    run = {"generator": "$generator", "chains": 1, "energies": [], "seed": "$seed"}
    group = {"name": "{who}", "axes": {"who": labels}, "run": run}
    (place / "sweep.yaml").write_text(yaml.safe_dump({"groups": [group]}))


def test_a_sweep_goes_on_after_a_failure_and_says_so(tmp_path: Path) -> None:
    sweep_of(tmp_path, bad={"generator": "avatar-trubo"}, good={"generator": "avatar-turbo"})
    done = call("sweep", "sweep.yaml", "--quiet")
    assert done.exit_code == 2
    first, last = done.output.strip().splitlines()
    assert first.startswith("error: bad: unknown generator 'avatar-trubo'")
    assert last == "1 of 2 experiments failed: bad"
    assert (tmp_path / "runs" / "good" / "report.html").exists()
    assert not (tmp_path / "runs" / "bad").exists()


def test_a_sweep_goes_on_after_memory_was_not_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep_of(tmp_path, a={"generator": "avatar-turbo", "seed": 1}, b={"generator": "avatar-turbo"})
    whole = execute.make

    def narrow(run: spec.Run, *words: Any, **more: Any) -> Any:
        if run.seed == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
        return whole(run, *words, **more)

    monkeypatch.setattr(execute, "make", narrow)
    done = call("sweep", "sweep.yaml", "--quiet")
    assert done.exit_code == 2 and "error: a: out of memory; give a smaller" in done.output
    assert (tmp_path / "runs" / "b" / "report.html").exists()


def test_a_sweep_cannot_change_what_is_there(tmp_path: Path) -> None:
    sweep_of(tmp_path, one={"generator": "avatar-turbo"})
    assert call("sweep", "sweep.yaml", "--set", "chains=2").exit_code == 0
    record = tmp_path / "runs" / "one" / "run.yaml"
    before = record.read_bytes()
    assert call("sweep", "sweep.yaml", "--set", "chains=2").exit_code == 0
    assert call("sweep", "sweep.yaml", "--set", "kernel=auto").exit_code == 0
    done = call("sweep", "sweep.yaml", "--set", "chains=3")
    assert done.exit_code == 2 and "with other values than --set gives" in done.output
    assert record.read_bytes() == before


def test_every_energy_that_the_documents_name_is_one() -> None:
    root = Path(__file__).parents[2]
    named = [root / "README.md", root / "Makefile", *(root / "docs").glob("*.md")]
    for path in filter(Path.exists, named):  # a copy may lack the Makefile
        for written in re.findall(r'--(?:energy|held-out) "([^"]+)"', path.read_text()):
            term = words.term(written, energy="")
            assert term.energy in energies.known(), (path.name, written)
            card = networks.known().get(term.model or "")
            assert card is None or term.energy in card.uses, (path.name, written)
