"""Runs by workers are those of one process, bit for bit, whoever is killed: a worker, or the driver."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.numpy import load_file
from typer.testing import CliRunner

import latentzoo as lz
import recorded
from latentzoo.cli import app
from latentzoo.errors import LatentzooError, SpecError
from latentzoo.record import execute, plain, spec, workers
from latentzoo.record.workers import Crew
from latentzoo.run.progress import Progress
from toys import Affine, Bright

psutil = pytest.importorskip("psutil", reason="needs the extra latentzoo[dev]")
pytestmark = pytest.mark.filterwarnings("ignore:.*workers share")
RECORD = spec.Run(
    generator="recorded:Toy",
    energies=[spec.Term(energy="measure", target="light.png", weight=1.0)],
    chains=10,
    steps=40,
    micro_batch=1,
    device="cpu",
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (4, 4), (230, 230, 230)).save("light.png")
    return tmp_path


def read(folder: Path) -> dict[str, Any]:
    """All that a run leaves but how it was made and how long it took."""
    pictures = sorted([*folder.glob("images/*.png"), *folder.glob("start/*.png")])
    run = plain.read(folder / "run.yaml")
    return {
        "latents": {k: z.tobytes() for k, z in load_file(folder / "latents.safetensors").items()},
        "trace": (folder / "trace.csv").read_text(),
        "diagnosis": (folder / "diagnosis.json").read_text(),
        "pictures": [np.asarray(Image.open(p)).tobytes() for p in pictures],
        "grid": np.asarray(Image.open(folder / "grid.png")).tobytes(),
        "record": spec.to_yaml(spec.replace(run, record={})),
    }


def same(folder: str, whole: str = "whole") -> None:
    """Compares a run of workers with what one process makes of its record."""
    if not Path(whole).exists():
        run = plain.read(Path(folder, "run.yaml"))
        execute.make(spec.replace(run, record={}), Path(whole))
    a, b = read(Path(folder)), read(Path(whole))
    assert [key for key in a if a[key] != b[key]] == []


def actors() -> list[Any]:
    """The workers of the cluster that the tests share."""
    every = psutil.Process().children(recursive=True)
    return [
        process
        for process in every
        if "ray::Worker" in process.name() + "".join(process.cmdline())
    ]


def test_a_run_is_that_of_one_process_though_workers_are_killed(
    nodes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four times a worker is killed at a moment of chance, from the pilot to the last shard."""
    chance, seen = random.Random(1), list[Progress]()
    kills, due = [0], [0.0]

    def kill(progress: Progress) -> None:
        seen.append(progress)
        if kills[0] < 4 and time.monotonic() > due[0] and (found := actors()):
            chance.choice(found).kill()
            kills[0], due[0] = kills[0] + 1, time.monotonic() + chance.uniform(1, 3)

    slow = spec.replace(RECORD, steps=60)
    monkeypatch.setattr("latentzoo.machines.team.TRIES", 9)
    result = workers.make(slow, Path("run"), Crew(3), watch=kill)
    assert kills[0] > 0 and len(result.z) == 10
    record = plain.read(Path("run/run.yaml"))
    assert record.record["workers"] == 3 and record.record["shards"] == 10
    assert record.schedule == str(Path("run/pilot").resolve()) and not Path("run/parts").exists()
    assert [p.done for p in seen] == sorted(p.done for p in seen) or record.record["lost"]
    same("run")


def test_no_number_of_workers_changes_a_chain(nodes: Any) -> None:
    target = lz.Posterior(Affine(), {"bright": 3.0 * Bright()})
    words: dict[str, Any] = {"chains": 11, "steps": 30, "progress": False, "keep": 3}
    one, five = (lz.sample(target, workers=n, **words) for n in (1, 5))
    for other in (five,):
        assert torch.equal(one.z, other.z) and torch.equal(one.start, other.start)
        assert np.array_equal(one.trace.array, other.trace.array, equal_nan=True)
        assert torch.equal(one.draws, other.draws) and str(one.diagnosis) == str(other.diagnosis)
        assert torch.equal(one.images, other.images)
    assert "the chains followed the schedule of a pilot of 4" in one.notes
    batched = lz.Posterior(Affine(), {"bright": 3.0 * Bright()}, micro_batch=1)
    here = lz.sample(batched, kernel=one.kernel, tries=8 if one.trace else None, **words)
    assert torch.equal(one.z, here.z)


def test_a_bare_potential_and_a_kernel_that_adapts_to_nobody(nodes: Any) -> None:
    kernel, start = lz.MALA(step_size=0.2), torch.zeros(1, 3)
    words: dict[str, Any] = {"dim": 3, "chains": 6, "steps": 20, "kernel": kernel, "start": start}
    phi = lambda z: (z - 1).square().sum(1)
    a, b = (lz.sample(phi, progress=False, **words, **more) for more in ({"workers": 2}, {}))
    assert torch.equal(a.z, b.z)
    assert np.array_equal(a.trace.array, b.trace.array, equal_nan=True)


def test_a_mistake_in_a_worker_is_the_mistake_of_the_run(nodes: Any) -> None:
    execute.make(spec.replace(RECORD, energies=[], chains=2), Path("run"))
    before = (Path("run/run.yaml")).read_bytes()
    wrong = spec.replace(RECORD, generator="avatar-gam")
    with pytest.raises(
        LatentzooError, match="unknown generator 'avatar-gam'; did you mean"
    ) as error:
        workers.make(wrong, Path("run"), Crew(1), force=True)
    assert "\n" not in str(error.value)
    assert (Path("run/run.yaml")).read_bytes() == before


def test_a_full_disk_ends_the_run_and_what_is_finished_stays(nodes: Any) -> None:
    """A shard's folder that cannot be made: a file is in its place."""
    run = spec.replace(
        RECORD, kernel=spec.KernelSettings(name="mala", settings={"step_size": 0.1})
    )

    def block(progress: Progress) -> None:
        where = Path("run/parts/00003-of-00004")
        if not where.exists() and Path("run/parts").exists():
            where.write_text("no folder")

    with pytest.raises(NotADirectoryError):
        workers.make(run, Path("run"), Crew(1), watch=block)
    done = [
        p for p in Path("run/parts").glob("*/run.yaml") if plain.read(p).record.get("finished")
    ]
    assert len(done) == 3
    stamps = {p: p.stat().st_mtime_ns for p in done}
    Path("run/parts/00003-of-00004").unlink()
    seen: list[bool] = []
    workers.resume(
        Path("run"),
        Crew(2),
        watch=lambda progress: seen.append(
            all(p.exists() and p.stat().st_mtime_ns == s for p, s in stamps.items())
        ),
    )
    assert seen and seen[0], "what was finished was made again"
    execute.make(run, Path("whole"))
    a, b = read(Path("run")), read(Path("whole"))
    assert [key for key in a if a[key] != b[key]] == [
        "diagnosis"
    ]  # without a pilot: `run.join.APART`


def test_sweeps_and_comparisons_are_shared(nodes: Any) -> None:
    Path("sweep.yaml").write_text(
        yaml.safe_dump(
            {
                "groups": [
                    {
                        "name": "run_{seed}",
                        "axes": {"seed": {0: {"s": 0}, 1: {"s": 1}, 2: {"s": -1}}},
                        "run": yaml.safe_load(spec.to_yaml(spec.replace(RECORD, chains=2)))
                        | {"seed": "$s"},
                    }
                ]
            }
        )
    )
    call = lambda *words: CliRunner().invoke(app, [*words], catch_exceptions=False)
    refused = call("sweep", "sweep.yaml", "--workers", "2")
    assert refused.exit_code == 2  # a seed below 0 is no record, whoever makes it
    text = Path("sweep.yaml").read_text().replace("s: -1", "s: 7")
    Path("sweep.yaml").write_text(text)
    done = call("sweep", "sweep.yaml", "--workers", "2", "--set", "chains=3")
    assert done.exit_code == 0, done.output
    for seed in (0, 1, 7):
        name = {0: 0, 1: 1, 7: 2}[seed]
        assert Path(f"runs/run_{name}/report.html").exists()
        execute.make(spec.replace(RECORD, chains=3, seed=seed), Path(f"alone{seed}"))
        same(f"runs/run_{name}", f"alone{seed}")
    again = call("sweep", "sweep.yaml", "--workers", "2", "--set", "chains=3")
    assert again.exit_code == 0 and "run_" not in again.output


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Runs `latentzoo WORDS...` with a Ray of its own, a state file every ten steps."""
    tests = Path(recorded.__file__).parent
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment |= {
        "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(tests)]),
        "LATENTZOO_STATE_SECONDS": "0",
        "TOY_DELAY": "0.01",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "latentzoo", *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def family(process: subprocess.Popen[str]) -> list[Any]:
    return psutil.Process(process.pid).children(recursive=True)


def until(happened: Any, process: subprocess.Popen[str]) -> None:
    """Waits for something that a process does."""
    end = time.monotonic() + 150
    while not happened() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert happened(), process.communicate()[0] if process.poll() is not None else "too slow"


def test_the_driver_is_stopped_and_killed_and_goes_on(place: Path) -> None:
    """Also: who listens, who is left, what status says, and that Ray says nothing of its own."""
    pytest.importorskip("ray", reason="needs the extra latentzoo[ray]")
    Path("record.yaml").write_text(spec.to_yaml(RECORD))
    parts = lambda: list(Path("run/parts").glob("*-of-*/state.safetensors"))
    process = start(place, "run", "record.yaml", "--workers", "2", "--out", "run", "--json")
    until(lambda: len(parts()) >= 2, process)
    children = family(process)
    listening = [
        c.laddr.ip
        for p in [psutil.Process(process.pid), *children]
        if p.is_running()
        for c in p.net_connections("inet")
        if c.status == psutil.CONN_LISTEN
    ]
    assert listening and set(listening) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    told = CliRunner().invoke(app, ["status", "run"]).output
    assert " of 10 chains done" in told and "running" in told
    assert CliRunner().invoke(app, ["report", "run"]).exit_code == 0
    with pytest.raises(
        SpecError, match=r"workers make this run|a running process works in this folder"
    ):
        execute.resume(Path("run"))
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 130, said
    assert "stopped; go on with: latentzoo resume run" in said
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive, f"orphans: {alive}"
    with pytest.raises(
        SpecError, match="workers make this run; go on with `latentzoo resume run --work"
    ):
        execute.resume(Path("run"))

    process = start(place, "resume", "run", "--json")
    before = {p: p.stat().st_mtime_ns for p in parts()}
    until(
        lambda: {p: p.stat().st_mtime_ns for p in parts()} != before or len(parts()) == 0, process
    )
    children = family(process)
    process.kill()
    process.communicate()
    # Ray's own agents outlive a killed driver by minutes; those who work do not
    working = [p for p in children if p.is_running() and "agent" not in p.name().lower()]
    _, alive = psutil.wait_procs(working, timeout=40)
    assert not alive, f"orphans: {alive}"
    for agent in psutil.wait_procs(children, timeout=0)[1]:
        agent.kill()

    process = start(place, "resume", "run", "--json", "--workers", "1")
    said = process.communicate(timeout=150)[0]
    assert process.returncode == 0, said
    lines = [json.loads(line) for line in said.splitlines() if line]
    assert {line["event"] for line in lines} <= {"progress", "done"}, said
    same("run")
