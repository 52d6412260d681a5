"""Every field of a record changes something that can be seen, or is listed here with the reason why not.

Two values of each field are run on a toy generator by the command line; what is named must differ.
"""

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from torch import nn
from typer.testing import CliRunner

import recorded
from latentzoo import compiling, zoo
from latentzoo.cli import app
from latentzoo.errors import SpecError
from latentzoo.record import plain, spec
from latentzoo.record.decided import FREE
from latentzoo.run.sampling import seeds

LIGHT = {"energy": "measure", "target": "light.png", "weight": 1.0}
LIGHT["options"] = {"operator": "identity", "sigma": 0.5}
RED = {**LIGHT, "target": "red.png", "name": "red"}
MALA = {"name": "mala", "settings": {"step_size": 0.1}}
ANNEAL = {"name": "anneal", "settings": {}}
BASE = {
    "generator": "toy",
    "energies": [LIGHT],
    "kernel": MALA,
    "chains": 3,
    "steps": 6,
    "device": "cpu",
}


class Field(NamedTuple):
    """Two values of a field, what they must change, and what else the record says."""

    one: Any
    other: Any
    changes: tuple[str, ...]
    more: dict[str, Any] = {}


FIELDS = {
    "generator": Field("toy", "another", ("loaded", "z", "images")),
    "family": Field(None, "toys", ("loaded",)),
    "card": Field(None, "toy-4", ("loaded",)),
    "options": Field({}, {"gain": 2.0}, ("z", "images")),
    "vary": Field(None, ["style"], ("shape", "images")),
    "rest_seed": Field(0, 1, ("images",), {"vary": ["style"]}),
    "energies": Field([LIGHT], [LIGHT, RED], ("z", "columns")),
    "kernel": Field(MALA, {"name": "mala", "settings": {"step_size": 0.2}}, ("z",)),
    "strength": Field(0.1, 3.0, ("z",)),
    "scale": Field(None, 3.0, ("z",)),
    "schedule": Field(None, "first", ("z",), {"kernel": ANNEAL, "steps": 40}),
    "chains": Field(3, 4, ("shape", "images", "batch")),
    "steps": Field(6, 7, ("z", "rows")),
    "seed": Field(0, 1, ("z", "start", "images")),
    "stream": Field(0, 2, ("z", "start", "images")),
    "plan": Field(None, 200, ("z",), {"kernel": ANNEAL, "steps": 40}),
    "tries": Field(1, 4, ("start", "calls")),
    "keep": Field(None, 2, ("latents",)),
    "best": Field(None, "measure", ("z",)),
    "init": Field(None, "red.png", ("start", "z")),
    "energy_views": Field(1, 2, ("azimuth", "z")),
    "micro_batch": Field(None, 2, ("batch",)),
    "device": Field("cpu", "cuda:99", ("said",)),
    "dtype": Field("float32", "float64", ("dtype",)),
    "compile": Field(False, True, ("compiled",)),
}
SEEN_IN = {"plan": "steps, as planned", "schedule": "kernel.settings.schedule"}
"""In what a change of a field is seen, if not in itself."""
REASONS = {
    "record": "what was measured when the run was made; it is compared, and decides nothing"
}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with pictures and a finished run, in which the zoo has toys only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(zoo, "load", recorded.load)
    monkeypatch.setattr(compiling, "require_compiler", lambda: None)
    monkeypatch.setattr(
        nn.Module, "compile", lambda self, **how: recorded.note(compiled=type(self))
    )
    Image.new("RGB", (4, 4), (230, 230, 230)).save("light.png")
    Image.new("RGB", (4, 4), (160, 110, 110)).save("red.png")
    return tmp_path


def seen(name: str, **values: Any) -> dict[str, Any]:
    """Makes a run and tells all that can be seen of it."""
    Path(f"{name}.yaml").write_text(yaml.safe_dump({**BASE, **values}))
    recorded.SEEN.clear()
    done = CliRunner().invoke(app, ["run", f"{name}.yaml", "--out", name, "--quiet"])
    if done.exit_code == 2:
        return {"said": done.output}
    assert done.exit_code == 0, done.output + repr(done.exception)
    latents = load_file(f"{name}/latents.safetensors")
    rows = Path(name, "trace.csv").read_text().splitlines()
    return {
        "said": "",
        "z": latents["z"].tobytes(),
        "start": latents["start"].tobytes(),
        "shape": latents["z"].shape,
        "latents": set(latents),
        "images": [
            np.asarray(Image.open(p)).tobytes() for p in sorted(Path(name, "images").iterdir())
        ],
        "rows": len(rows),
        "columns": rows[0],
        "batch": max(recorded.SEEN["batch"]),
        "calls": sum(recorded.SEEN["batch"]),
        "dtype": set(recorded.SEEN["dtype"]),
        "azimuth": set(recorded.SEEN["azimuth"]),
        "loaded": recorded.SEEN["loaded"][0],
        "compiled": recorded.SEEN.get("compiled"),
    }


@pytest.mark.parametrize("field", [f.name for f in msgspec.structs.fields(spec.Run)])
def test_every_field_of_a_record_changes_something(field: str) -> None:
    if field in REASONS:
        return
    one, other, changes, more = FIELDS[field]
    if field == "schedule":
        seen("first", seed=5, energies=[{**LIGHT, "weight": 9.0}], **more)
    a, b = (seen(f"run{k}", **{**more, field: value}) for k, value in enumerate((one, other)))
    assert {what: a[what] != b.get(what) for what in changes} == dict.fromkeys(changes, True)


@pytest.mark.parametrize("field", [*FIELDS])
def test_a_record_that_was_changed_by_hand_does_not_go_on(field: str) -> None:
    """The first steps were made with other settings; what decides no chain may change."""
    one, other, _, more = FIELDS[field]
    if field == "schedule":
        for k, name in enumerate(("first", "second")):
            seen(name, seed=k, **more)
        one, other = "first", "second"
    seen("run", **{**more, field: one})
    record = Path("run", "run.yaml")
    told = yaml.safe_load(record.read_text())
    record.write_text(yaml.safe_dump({**told, field: other, "record": {}}))
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    done = CliRunner().invoke(app, ["resume", "run", "--steps", "3", "--quiet"])
    if field in FREE and field not in ("device", "steps"):
        assert done.exit_code == 0, done.output
        return
    (line,) = done.output.splitlines()
    said = f"its first steps were made with {SEEN_IN.get(field, field)}"
    assert done.exit_code == 2 and (field == "device" or said in line)
    assert before == {path: path.read_bytes() for path in before}


def test_nothing_else_is_listed() -> None:
    assert FIELDS.keys() | REASONS.keys() == {f.name for f in msgspec.structs.fields(spec.Run)}


def test_chains_begin_where_a_chain_of_another_run_ended() -> None:
    other = seen("other", init="red.png")
    found = seen("more", init="other#1")
    of = lambda run, what: np.frombuffer(run[what], np.float32).reshape(run["shape"])
    assert (of(found, "start") == of(other, "z")[1]).all()
    for number in (9, -1):
        assert f"no chain {number}" in seen(f"none{number}", init=f"other#{number}")["said"]
    assert "other.png#1" in seen("neither", init="other.png#1")["said"]
    with safe_open("other/latents.safetensors", "np") as file:
        told = file.metadata()
    kept = {name: x + 1 for name, x in load_file("other/latents.safetensors").items()}
    save_file(kept, "other/latents.safetensors", told)
    done = CliRunner().invoke(app, ["run", "more/run.yaml", "--out", "again", "--quiet"])
    assert done.exit_code == 2 and "the init is another" in done.output
    save_file(kept, "other/latents.safetensors", {"space": '{"style": [2]}'})
    assert "take a run of the same generator" in seen("foreign", init="other#1")["said"]


def test_the_same_record_is_the_same_run() -> None:
    assert seen("a") == seen("b")


@pytest.mark.parametrize("field", ["micro_batch", "device", "family"])
def test_what_only_changes_how_a_run_is_made_leaves_the_draws(field: str) -> None:
    values = {"micro_batch": 2, "device": "cpu", "family": "toys"}
    a, b = seen("a"), seen("b", **{field: values[field]})
    close = np.frombuffer(a["z"], np.float32) - np.frombuffer(b["z"], np.float32)
    assert abs(close).max() < 1e-4


def test_a_micro_batch_holds_for_everything_that_runs_the_network() -> None:
    whole = {"micro_batch": 2, "chains": 5, "tries": 4, "init": None}
    assert seen("guided", **whole)["batch"] == 2
    assert seen("prior", **{**whole, "energies": [], "tries": None})["batch"] == 2
    assert seen("strong", **{**whole, "strength": 1.0})["batch"] == 2
    seen("encoded", **{**whole, "init": "red.png", "tries": None})
    assert max(recorded.SEEN["encoded"]) == 2


@pytest.mark.parametrize("energies", [[], [LIGHT]], ids=["prior", "guided"])
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_number_types_work_guided_and_unguided(dtype: str, energies: list[Any]) -> None:
    found = seen("typed", dtype=dtype, energies=energies)
    assert {str(x) for x in found["dtype"]} == {f"torch.{dtype}"}


def test_runs_of_different_seeds_share_no_chain() -> None:
    of = [set(seeds(seed, 1000)) for seed in (0, 1, 2, 999)]
    assert sum(map(len, of)) == len(set.union(*of)) == 4000


@pytest.mark.parametrize("energies", [[], [LIGHT]], ids=["prior", "guided"])
def test_a_picture_is_redrawn_alone_by_its_stream(energies: list[Any]) -> None:
    whole = seen("whole", energies=energies, chains=4)
    alone = seen("alone", energies=energies, chains=1, stream=2)
    of = lambda run: np.frombuffer(run["z"], np.float32).reshape(run["shape"])
    np.testing.assert_allclose(of(alone)[0], of(whole)[2], rtol=1e-5, atol=1e-6)
    pixels = [
        np.frombuffer(x, np.uint8).astype(int) for x in (alone["images"][0], whole["images"][2])
    ]
    assert abs(pixels[0] - pixels[1]).max() <= 1


def test_a_picture_of_an_adapted_run_is_redrawn_by_the_schedule_of_that_run() -> None:
    more = {"kernel": ANNEAL, "steps": 40}
    whole = seen("first", **more)
    alone = seen("alone", **more, chains=1, stream=1, schedule="first")
    of = lambda run: np.frombuffer(run["z"], np.float32).reshape(run["shape"])
    np.testing.assert_allclose(of(alone)[0], of(whole)[1], rtol=1e-4, atol=1e-5)


def test_streams_beyond_a_seed_are_refused() -> None:
    assert seeds(3, 2, 2**32 - 2)[-1] == 4 * 2**32 - 1
    with pytest.raises(SpecError, match="give a whole number from 0 to"):
        seeds(3, 2, 2**32 - 1)


def test_the_strength_that_was_asked_for_stays_in_the_record() -> None:
    seen("told", strength=2.0)
    told = plain.read(Path("told/run.yaml"))
    assert told.strength == 2.0 and told.energies[0].weight == 1.0
