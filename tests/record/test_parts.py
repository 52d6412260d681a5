"""A run that is made in shards and merged is the run of one process, bit for bit: draws, trace, pictures, verdict."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.numpy import load_file
from torch import Tensor
from typer.testing import CliRunner

import recorded
from latentzoo import kernels, zoo
from latentzoo.cli import app
from latentzoo.errors import LatentzooError, SpecError
from latentzoo.record import execute, parts, plain, shard, spec, workers
from latentzoo.run.walk import Walk

LIGHT = spec.Term(energy="measure", target="light.png", weight=1.0)
SPLIT = [name for name in kernels.known() if name != "smc"]
CHAINS = 5


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures, in which the zoo has toys only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(zoo, "load", recorded.load)
    Image.new("RGB", (4, 4), (230, 230, 230)).save("light.png")
    Image.new("RGB", (4, 4), (160, 110, 110)).save("red.png")
    return tmp_path


def record(name: str = "mala", **changes: Any) -> spec.Run:
    """A run of the toy for some twenty steps; `steps` is in gradients."""
    steps = int(12 * kernels.load(name).gradients)
    plain = {"generator": "toy", "energies": [LIGHT], "chains": CHAINS, "steps": steps}
    plain |= {"device": "cpu", "kernel": spec.KernelSettings(name=name), "micro_batch": 1}
    return spec.Run(**{**plain, **changes})


def following(run: spec.Run, folder: str = "pilot") -> spec.Run:
    """The same run that follows a pilot of four chains."""
    if not Path(folder).exists():
        execute.make(spec.replace(run, chains=4, keep=None, best=None, seed=9), Path(folder))
    return spec.replace(run, schedule=folder)


def split(run: spec.Run, count: int, out: str = "merged", order: int = 1) -> Path:
    """Makes a run in shards and merges them."""
    for index in range(count)[::order]:
        chosen = shard.Shard(index, count)
        execute.make(run, parts.place(Path(out), chosen), shard=chosen)
    parts.merge([Path(out)], Path(out))
    return Path(out)


def contents(folder: Path) -> dict[str, Any]:
    """All that a run leaves but how long it took and how it was made."""
    read = plain.read(folder / "run.yaml")
    measured = {key: read.record[key] for key in ("seeds", "inputs", "versions", "gradients")}
    pictures = sorted([*folder.glob("images/*.png"), *folder.glob("start/*.png")])
    diagnosis = folder / "diagnosis.json"
    return {
        "latents": {k: z.tobytes() for k, z in load_file(folder / "latents.safetensors").items()},
        "trace": (folder / "trace.csv").read_text(),
        "diagnosis": json.loads(diagnosis.read_text()) if diagnosis.exists() else None,
        "pictures": [(p.name, np.asarray(Image.open(p)).tobytes()) for p in pictures],
        "said": [Image.open(p).text["chain"] for p in pictures],  # pyright: ignore
        "grid": np.asarray(Image.open(folder / "grid.png")).tobytes(),
        "record": yaml.safe_load(spec.to_yaml(spec.replace(read, record={}))),
        "measured": measured,
    }


def differ(one: Path, other: Path) -> list[str]:
    a, b = contents(one), contents(other)
    return [key for key in a if a[key] != b[key]]


@pytest.mark.parametrize("name", SPLIT)
def test_a_merged_run_is_that_of_one_process(name: str) -> None:
    run = following(record(name, keep=2, tries=2))
    execute.make(run, Path("whole"))
    for count, order in ((2, -1), (5, 1)):
        merged = split(run, count, f"merged{count}", order)
        # what slice sampling costs is what the slowest chain of a step costs, and a shard has its own
        assert differ(merged, Path("whole")) == (["measured"] if name == "slice" else [])
        assert not (merged / "parts").exists()
        assert plain.read(merged / "run.yaml").record["shards"] == count


@pytest.mark.parametrize(
    "change",
    [
        {"energies": []},
        {"micro_batch": 3},
        {"best": "measure"},
        {"init": "red.png"},
        {"vary": ["style"], "rest_seed": 3},
        {"energy_views": 2},
        {"dtype": "float64"},
        {"strength": 1.0, "scale": 2.0},
        {"steps": 0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_the_record_says(change: dict[str, Any]) -> None:
    run = record("mala", **change)
    run = following(run) if run.energies and run.steps else run
    execute.make(run, Path("whole"))
    assert differ(split(run, 2), Path("whole")) == []


def test_each_chain_keeps_its_own_target(monkeypatch: pytest.MonkeyPatch) -> None:
    load = lambda *a, prompt, **options: recorded.load(*a, **options)
    monkeypatch.setattr(zoo, "load", load)
    prompts = ["light.png", "red.png", "light.png", "red.png", "red.png"]
    each = spec.Term(energy="measure", weight=1.0)
    run = record(energies=[each], chains=5, options={"prompt": prompts})
    run = spec.replace(run, schedule="pilot")
    pilot = spec.replace(run, schedule=None, chains=5, seed=2)
    execute.make(pilot, Path("pilot"))
    execute.make(run, Path("whole"))
    assert differ(split(run, 3), Path("whole")) == []


@pytest.mark.filterwarnings("ignore:the ")  # what is said of such maps before they are sampled
@pytest.mark.parametrize("limit", [0.5, -9.0], ids=["some", "all"])
def test_chains_that_fail_are_the_same_in_the_whole(
    monkeypatch: pytest.MonkeyPatch, limit: float
) -> None:
    """They fail where the first number of the latent is above a limit, from the start or on the way."""
    run = following(record(keep=2))
    scene = recorded.Toy.scene

    def broken(self: Any, blocks: Any) -> Tensor:
        seen = scene(self, blocks)
        bad = blocks["style"][:, 0] > limit
        return seen.masked_fill(bad[:, None, None, None], float("nan"))

    monkeypatch.setattr(recorded.Toy, "scene", broken)
    if limit < 0:  # a whole run refuses this at its start; a shard cannot know what the others are
        chosen = shard.Shard(0, 2)
        made = execute.make(run, parts.place(Path("merged"), chosen), shard=chosen)
        assert len(made.failures) == 2
        return
    execute.make(run, Path("whole"))
    merged = split(run, 5)
    failed = json.loads((merged / "diagnosis.json").read_text())["failed"]
    assert 0 < failed < CHAINS
    a, b = contents(merged), contents(Path("whole"))
    # a step that is made again costs its shard a gradient more, and not the others
    assert [key for key in a if a[key] != b[key]] in ([], ["measured"])


def test_a_shard_that_was_killed_goes_on_and_is_merged() -> None:
    run = following(record("anneal"))
    execute.make(run, Path("whole"))
    chosen = shard.Shard(0, 2)

    def kill(frame: Any, walk: Walk) -> None:
        if frame.step == 9:
            raise KeyboardInterrupt

    where = parts.place(Path("merged"), chosen)
    with pytest.raises(KeyboardInterrupt):
        execute.make(run, where, shard=chosen, watch=kill)
    other = shard.Shard(1, 2)
    execute.make(run, parts.place(Path("merged"), other), shard=other)
    with pytest.raises(
        SpecError, match=r"the shard 0/2 is not finished; go on with `latentzoo resume"
    ):
        parts.merge([Path("merged")], Path("merged"))
    execute.resume(where)
    parts.merge([Path("merged")], Path("merged"))
    assert differ(Path("merged"), Path("whole")) == []


def test_a_merged_run_goes_on_as_the_whole() -> None:
    run = record("mala", kernel=spec.KernelSettings(name="mala", settings={"step_size": 0.1}))
    for folder in (split(run, 2), Path("whole")):
        if folder.name == "whole":
            execute.make(run, folder)
        execute.resume(folder, steps=6)
    a, b = (load_file(f / "latents.safetensors")["z"] for f in (Path("merged"), Path("whole")))
    assert np.array_equal(a, b)


def test_without_a_pilot_the_verdict_says_what_was_not_looked_at() -> None:
    run = record("mala")
    execute.make(run, Path("whole"))
    merged = split(run, 3)
    assert differ(merged, Path("whole")) == ["diagnosis"]
    assert any("walked apart" in n for n in contents(merged)["diagnosis"]["notes"])


@pytest.mark.parametrize("name", kernels.known())
def test_kernels_whose_chains_depend_on_each_other_are_refused(name: str) -> None:
    run, coupled = record(name), kernels.load(name).coupled
    assert coupled == (name == "smc" or "schedule" in kernels.settings(kernels.load(name)))
    if coupled:
        with pytest.raises(
            SpecError, match=r"cannot be split; (let it follow a pilot|take a kernel)"
        ):
            execute.make(run, Path("out"), shard=shard.Shard(0, 2))
        assert not Path("out").exists()


def test_the_micro_batch_of_a_split_run_does_not_depend_on_the_number_of_shards() -> None:
    run = record(micro_batch=None, chains=16)
    sizes = {split(run, n, f"m{n}"): n for n in (1, 3)}
    assert [plain.read(f / "run.yaml").micro_batch for f in sizes] == [2, 2]
    one, three = sizes
    assert differ(one, three) in ([], ["diagnosis"])
    assert [shard.micro_batch(record(micro_batch=None, chains=n)) for n in (1, 8, 64, 10**6)] == [
        1,
        1,
        8,
        8,
    ]


@pytest.mark.parametrize("chains", [1, 5, 16, 17, 1000])
@pytest.mark.parametrize("size", [1, 3, 8])
def test_shards_cover_every_chain_once_in_whole_micro_batches(chains: int, size: int) -> None:
    run = record(chains=chains, micro_batch=size)
    blocks = -(-chains // size)
    for count in {1, (blocks + 1) // 2, blocks}:
        ranges = [shard.Shard(i, count).chains(run) for i in range(count)]
        assert [c for r in ranges for c in r] == list(range(chains))
        assert all(r[0] % size == 0 for r in ranges)


# what cannot be meant, one line each


@pytest.mark.parametrize("words", ["2/2", "-1/2", "0", "a/b", "0/0", "1/2/3", ""])
def test_no_shard(words: str) -> None:
    with pytest.raises(SpecError, match="is no shard; write i/n with i from 0 to n - 1"):
        shard.read(words)


def test_a_rank_beyond_its_world_is_refused() -> None:
    assert shard.launched({"RANK": "1", "WORLD_SIZE": "4"}) == shard.Shard(1, 4)
    assert shard.launched({"RANK": "0", "WORLD_SIZE": "1"}) is None
    assert shard.launched({}) is shard.launched({"RANK": "x", "WORLD_SIZE": "2"}) is None
    with pytest.raises(SpecError, match="'4/4' is no shard"):
        shard.launched({"RANK": "4", "WORLD_SIZE": "4"})


def test_more_shards_than_micro_batches_are_refused() -> None:
    said = "5 chains in micro-batches of 2 make 3 shards at most, and 5 are asked for"
    with pytest.raises(SpecError, match=said):
        execute.make(record(micro_batch=2), Path("out"), shard=shard.Shard(0, 5))


def test_a_factor_that_each_shard_would_seek_is_refused() -> None:
    with pytest.raises(SpecError, match="the factor for 2 nats would be sought by each shard"):
        execute.make(record(strength=2.0), Path("out"), shard=shard.Shard(0, 2))


def test_shards_that_do_not_belong_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(out: str, index: int, count: int, **changes: Any) -> Path:
        chosen = shard.Shard(index, count)
        where = parts.place(Path(out), chosen)
        execute.make(record(**changes), where, shard=chosen)
        return Path(out)

    def said(*folders: Path | str) -> str:
        with pytest.raises(LatentzooError) as error:
            parts.merge([Path(f) for f in folders], Path("merged"))
        assert not Path("merged").exists() and "\n" not in str(error.value)
        return str(error.value)

    a = made("a", 0, 2)
    assert "the shard 1/2 is missing" in said(a)
    assert "there are no shards of a run here" in said("nowhere")
    assert "is in a/parts/00000-of-00002 and in b/parts/00000-of-00002" in said(a, made("b", 0, 2))
    assert "a shard of 2 and c/parts/00001-of-00003 one of 3" in said(a, made("c", 1, 3))
    assert "their records differ in seed" in said(a, made("d", 1, 2, seed=4))
    assert "their records differ in energies" in said(
        a, made("e", 1, 2, energies=[spec.replace(LIGHT, weight=2.0)])
    )
    monkeypatch.setattr(recorded.torch, "linspace", lambda *_: recorded.torch.ones(240))
    assert "was made with another generator than a/parts" in said(a, made("f", 1, 2))
    monkeypatch.undo()


def test_shards_of_other_versions_are_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    for index in (0, 1):
        chosen = shard.Shard(index, 2)
        where = parts.place(Path("run"), chosen)
        execute.make(record(), where, shard=chosen)
    text = (where / "run.yaml").read_text()
    (where / "run.yaml").write_text(text.replace("latentzoo: 0.1.0", "latentzoo: 0.0.9"))
    with pytest.raises(
        SpecError, match=r"made with another latentzoo than .* \(0.0.9 instead of 0.1.0\)"
    ):
        parts.merge([Path("run")], Path("run"))
    assert len(parts.find(Path("run"))) == 2


def test_a_folder_with_a_whole_run_takes_no_shard() -> None:
    execute.make(record(), Path("whole"))
    with pytest.raises(SpecError, match="the folder holds a whole run already"):
        parts.place(Path("whole"), shard.Shard(0, 2))


def test_the_command_line_says_what_was_made_and_merges() -> None:
    Path("record.yaml").write_text(spec.to_yaml(record()))
    call = lambda *words: CliRunner().invoke(app, [*words])
    for index in (0, 1):
        done = call("run", "record.yaml", "--out", "run", "--shard", f"{index}/2")
        assert done.exit_code == 0, done.output
    assert "shard 1/2: chains 2 to 4" in done.output
    assert "shard 1/2 is made; when all are: latentzoo merge run" in done.output
    assert call("merge", "run").exit_code == 0 and Path("run/report.html").exists()
    again = call("merge", "a", "b")
    assert again.exit_code == 2 and "in several folders; give --out" in again.output
    wrong = call("run", "record.yaml", "--out", "other", "--shard", "2/2")
    assert wrong.exit_code == 2 and "is no shard" in wrong.output and not Path("other").exists()


def test_the_ranks_of_torchrun_take_their_chains() -> None:
    run = following(record())
    Path("record.yaml").write_text(spec.to_yaml(run))
    execute.make(run, Path("whole"))
    tests = Path(recorded.__file__).parent
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), str(tests)]),
    }
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(tests / "recorded.py"), "run", "record.yaml", "--out", "run"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "shard 0/2 is made" in done.stdout and "shard 1/2" not in done.stdout
    parts.merge([Path("run")], Path("run"))
    assert differ(Path("run"), Path("whole")) == []


def test_a_shard_with_other_settings_than_those_that_are_made_is_not_made() -> None:
    """The driver's record may be edited between: two halves of two runs are no run."""
    out, tell = Path("run"), lambda *_: None
    out.mkdir()
    Path("run", "run.yaml").touch()
    making, run = workers.Making(), record()
    making.do(workers.Piece(run, out, shard.Shard(0, 3)), tell)
    other = spec.replace(run, energies=[spec.replace(LIGHT, weight=2.0)])
    with pytest.raises(SpecError, match=r"energies\.0\.weight: 1\.0, and its record says .* 2\.0"):
        making.do(workers.Piece(other, out, shard.Shard(1, 3)), tell)
    making.do(workers.Piece(run, out, shard.Shard(1, 3)), tell)
    assert len([*Path("run", "parts").iterdir()]) == 2


def test_a_run_of_other_latents_is_not_followed() -> None:
    run = following(record("mala"))
    with pytest.raises(SpecError, match=r"pilot: the latents of this run have \d+ numbers, and"):
        execute.make(spec.replace(run, vary=["style"]), Path("other"))
    assert not Path("other").exists()
