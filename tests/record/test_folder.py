"""A run folder: what exists stays until the new run has begun, and a run goes on from any place and length."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

import latentzoo as lz
from latentzoo import files
from latentzoo.errors import SpecError, StateError
from latentzoo.record import execute, inputs, layout, places, plain, spec
from latentzoo.record.folder import RunFolder, is_finished
from latentzoo.run import state
from latentzoo.zoo import _find
from toys import Affine, Bright

HAT = spec.Term(energy="attribute", target="hat=beanie", weight=5.0)


def record(**changes: object) -> spec.Run:
    plain = {"generator": "avatar-gan", "energies": [HAT], "chains": 3, "steps": 12}
    return spec.Run(**{**plain, "kernel": spec.KernelSettings(name="mala"), **changes})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, with a file of somebody else in its folder."""
    out = tmp_path_factory.mktemp("runs") / "old"
    execute.make(record(), out)
    (out / "notes.txt").write_text("mine")
    return out


@pytest.mark.parametrize(
    "change",
    [
        {"generator": "avatar-gam"},
        {"energies": [msgspec.structs.replace(HAT, target="hat=purple-ish")]},
        {"kernel": spec.KernelSettings(name="mala", settings={"step": 1})},
        {"best": "nobody"},
        {"tries": 400},
        {"keep": 3, "options": {"truncatoin": 1}},
        {"init": "nowhere.png"},
        {"device": "tpu"},
        {"dtype": "float8"},
        {"vary": ["stile"]},
        {"schedule": "nowhere"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_mistake_in_any_word_leaves_the_old_run_bit_for_bit(
    made: Path, change: dict[str, object]
) -> None:
    before = contents(made)
    with pytest.raises(lz.LatentzooError):
        execute.make(record(**change), made, force=True)
    assert contents(made) == before
    assert [p.name for p in made.parent.iterdir()] == [made.name]


def test_force_swaps_and_keeps_what_is_somebody_elses(made: Path) -> None:
    before = contents(made)
    result = execute.make(record(seed=4), made, force=True)
    after = contents(made)
    assert after.keys() == before.keys() and after["notes.txt"] == b"mine"
    assert after["latents.safetensors"] != before["latents.safetensors"]
    assert torch.equal(layout.read_latents(made), result.z)
    assert [p.name for p in made.parent.iterdir()] == [made.name]


def test_a_run_stopped_before_its_first_step_changes_nothing(made: Path) -> None:
    before = contents(made)

    with pytest.raises(KeyboardInterrupt), RunFolder(made, force=True) as folder:
        (folder.path / "half").write_text("x")
        raise KeyboardInterrupt
    assert contents(made) == before and len(list(made.parent.iterdir())) == 1


def test_a_run_killed_while_it_takes_its_name_comes_back(tmp_path: Path, made: Path) -> None:
    """Between the two renames the old run has another name; the next process gives it back."""
    words = [sys.executable, "-c", "import os; print(os.getpid())"]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True)
    ended = int(done.stdout)
    old = tmp_path / f".run.{ended}.old"
    old.mkdir()
    (old / "run.yaml").write_text(spec.to_yaml(record()))
    (tmp_path / f".run.{ended}.new").mkdir()
    with pytest.raises(SpecError, match="latentzoo resume"), RunFolder(tmp_path / "run"):
        pass
    assert (
        sorted(p.name for p in tmp_path.iterdir()) == [".run", "run"]
        or (tmp_path / "run" / "run.yaml").exists()
    )


def test_an_extended_run_is_a_run_of_that_length(tmp_path: Path) -> None:
    """Bit for bit: latents, trace, verdict and pictures of 12 and then 8 steps, and of the record it leaves."""
    run = record(kernel=spec.KernelSettings(), steps=32, keep=5, chains=4)
    execute.make(run, tmp_path / "a")
    extended = lz.open(tmp_path / "a").extend(8, progress=False)
    assert (extended.record.steps, extended.record.plan) == (40, 32)
    again = msgspec.structs.replace(extended.record, record={})
    execute.make(again, tmp_path / "b")
    whole = lz.open(tmp_path / "b")
    assert torch.equal(extended.z, whole.z) and torch.equal(extended.draws, whole.draws)
    assert np.array_equal(extended.table.values, whole.table.values, equal_nan=True)
    assert torch.equal(extended.images, whole.images)
    assert extended.diagnosis == whole.diagnosis
    assert extended.record.record["gradients"] == whole.record.record["gradients"]


def test_a_stopped_run_has_a_report_and_goes_on_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from latentzoo.report import page

    def stop(frame: object, walk: object) -> None:
        if frame.step == 7:
            raise KeyboardInterrupt

    picture = tmp_path / "ada.png"
    execute.make(record(energies=[], chains=1), tmp_path / "ada")
    picture.write_bytes((tmp_path / "ada" / "images" / "00000.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    who = spec.Term(energy="identity", target="ada.png")
    run = record(energies=[HAT, who])
    whole = execute.make(run, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        execute.make(run, Path("cut"), watch=stop)
    html = page.write([Path("cut")], Path("cut") / "report.html").read_text()
    assert "stopped after step 7 of 12" in html and html.count("<img") >= 3
    assert not is_finished(Path("cut"))
    with pytest.raises(SpecError, match="go on with `latentzoo resume"):
        execute.make(run, Path("cut"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    seconds = json.loads(json.dumps(lz.open("../cut").table.values.shape))
    assert seconds[0] == 8
    resumed = execute.resume(Path("../cut"))
    assert resumed is not None and torch.equal(resumed.z, whole.z)
    assert lz.open("../cut").table.values.shape == (13, 3, 11)


def test_a_state_of_other_energies_is_refused(made: Path, tmp_path: Path) -> None:
    """Whatever their number: each has a column in the trace."""
    two = [HAT, msgspec.structs.replace(HAT, name="again")]
    execute.make(record(energies=two, seed=lz.open(made).record.seed), tmp_path / "two")
    other, texts = state.read(made / layout.STATE)
    state.write(tmp_path / "two" / layout.STATE, state.State(other, {**texts, "decided": {}}))
    said = "its energies are attribute, those of the run attribute, again"
    with pytest.raises(StateError, match=said):
        execute.resume(tmp_path / "two", steps=3)
    shutil.copy(made / layout.STATE, tmp_path / "two" / layout.STATE)
    with pytest.raises(SpecError, match="first steps were made with"):
        execute.resume(tmp_path / "two", steps=3)


def test_a_file_that_moved_is_named_anew_and_the_run_goes_on(tmp_path: Path) -> None:
    """Files are known by what is in them: so are a picture's place, and where a followed run is."""
    execute.make(record(kernel=spec.KernelSettings(), steps=24), tmp_path / "first")
    picture = tmp_path / "ada.png"
    shutil.copy(tmp_path / "first" / "images" / "00000.png", picture)
    who = spec.Term(energy="identity", target=str(picture))
    follow = {"kernel": spec.KernelSettings(), "schedule": str(tmp_path / "first")}
    execute.make(record(energies=[HAT, who], **follow), tmp_path / "run")
    picture.rename(tmp_path / "eva.png")
    (tmp_path / "first").rename(tmp_path / "second")
    told = (tmp_path / "run" / "run.yaml").read_text()
    told = told.replace("ada.png", "eva.png").replace(f"{tmp_path}/first", f"{tmp_path}/second")
    (tmp_path / "run" / "run.yaml").write_text(told)
    assert execute.resume(tmp_path / "run", steps=2) is not None
    execute.make(record(kernel=spec.KernelSettings()), tmp_path / "second", force=True)
    with pytest.raises(SpecError, match="the schedule is another than the record"):
        execute.resume(tmp_path / "run", steps=2)


def test_only_a_finished_run_is_followed(tmp_path: Path) -> None:
    def stop(frame: object, walk: object) -> None:
        if frame.step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute.make(record(), tmp_path / "cut", watch=stop)
    assert layout.read_trace(tmp_path / "cut") is not None
    with pytest.raises(SpecError, match="there is no finished run here; run or resume it first"):
        execute.make(record(schedule=str(tmp_path / "cut")), tmp_path / "next")
    execute.resume(tmp_path / "cut")
    execute.make(record(schedule=str(tmp_path / "cut")), tmp_path / "next")


def test_an_exchanged_input_is_refused(tmp_path: Path) -> None:
    execute.make(record(energies=[], chains=1), tmp_path / "ada")
    picture = tmp_path / "ada.png"
    first = (tmp_path / "ada" / "images" / "00000.png").read_bytes()
    picture.write_bytes(first)
    run = record(energies=[spec.Term(energy="identity", target=str(picture))])
    execute.make(run, tmp_path / "run")
    picture.write_bytes(first + b" ")
    with pytest.raises(SpecError, match=r"energies\.0\.target is another than the record"):
        execute.resume(tmp_path / "run", steps=3)
    with pytest.raises(SpecError, match=r"energies\.0\.target is another"):
        execute.make(plain.read(tmp_path / "run" / "run.yaml"), tmp_path / "again")
    assert not (tmp_path / "again").exists()
    picture.unlink()
    with pytest.raises(lz.LatentzooError):
        execute.resume(tmp_path / "run", steps=3)
    record_ = plain.read(tmp_path / "run" / "run.yaml")
    other = msgspec.structs.replace(record_.record and record_, generator="avatar-vae")
    picture.write_bytes(first)
    with pytest.raises(SpecError, match="the generator is another"):
        execute.make(other, tmp_path / "other")


def test_a_strength_stays_in_the_record_with_what_it_came_to(tmp_path: Path) -> None:
    run = record(strength=0.5, steps=6)
    result = execute.make(run, tmp_path / "a")
    kept = lz.open(tmp_path / "a").record
    assert kept.strength == 0.5 and kept.scale is not None and kept.scale != 1
    assert kept.energies[0].weight == HAT.weight
    assert any("nats of guidance: the weights were multiplied" in note for note in result.notes)
    again = execute.make(msgspec.structs.replace(kept, record={}), tmp_path / "b")
    assert torch.equal(result.z, again.z)


def test_a_result_of_python_leaves_a_folder_that_every_command_reads(tmp_path: Path) -> None:
    from latentzoo.report import page
    from latentzoo.report.evaluation import Evaluator

    target = lz.Posterior(Affine(), {"light": 3 * Bright()})
    result = lz.sample(target, chains=3, steps=12, kernel="mala", progress=False)
    assert lz.save(result, tmp_path / "out") == tmp_path / "out"
    saved = lz.open(tmp_path / "out")
    assert torch.equal(saved.z, result.z) and saved.record.kernel.name == "mala"
    assert "light" in page.write([tmp_path / "out"], tmp_path / "r.html").read_text()
    assert Evaluator()(saved).numbers["light"].value == pytest.approx(
        float(np.mean(result.trace.terms[-1])), rel=1e-5
    )
    with pytest.raises(SpecError, match="sampled in Python"):
        saved.extend(3)
    with pytest.raises(SpecError, match="holds a run already"):
        lz.save(result, tmp_path / "out")


def test_the_lock_outlives_the_run(made: Path) -> None:
    inode = os.stat(made / layout.LOCK).st_ino
    with RunFolder(made, resume=True), pytest.raises(SpecError, match="a running process"):
        RunFolder(made, resume=True).__enter__()
    assert os.stat(made / layout.LOCK).st_ino == inode


@pytest.mark.parametrize("where", [".", ".."])
def test_the_folder_one_stands_in_is_no_run(where: str) -> None:
    with pytest.raises(SpecError, match="a folder of its own"), RunFolder(Path(where)):
        pass


def test_where_no_folder_can_be_made_is_said_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "run"
    with pytest.raises(SpecError) as caught, RunFolder(place):
        pass
    said = f"{place}: no folder can be made here (Not a directory); give another --out"
    assert str(caught.value) == said


def test_a_killed_process_leaves_no_half_written_file(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from latentzoo import files\n"
        "def write(path):\n"
        "    path.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write_atomic(Path(sys.argv[1]), write)"
    )
    path = tmp_path / "a.json"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL and len(list(tmp_path.iterdir())) == 2
    files.write_json(path, {"a": float("inf"), "b": [float("nan"), 1]})
    assert json.loads(path.read_text(), parse_constant=None) == {"a": None, "b": [None, 1]}
    assert list(tmp_path.iterdir()) == [path]


def test_the_trace_of_a_folder_has_whole_seeds(tmp_path: Path) -> None:
    """Those of 62 bits are no floats: the next one is 512 away."""
    seed = 2**31 - 1
    target = lz.Posterior(Affine(), {"bright": Bright()})
    result = lz.sample(target, chains=3, steps=4, seed=seed, kernel="ula", progress=False)
    saved = lz.open(lz.save(result, tmp_path / "out"))
    assert saved.trace["seed"].tolist() == 5 * [seed * 2**32 + c for c in range(3)]
    assert saved.trace["chain"].tolist() == 5 * [0, 1, 2]
    assert saved.trace["step"].tolist() == [step for step in range(5) for _ in range(3)]
    assert saved.seeds == result.trace.seeds and saved.numbers == [0, 1, 2]


FILES_OF_ENERGIES = [
    *({"operator": "mask:{}"}, {"operator": "{}"}, {"template": "{}"}, {"model": "mps:{}"}),
    *({"model": "{}"}, {"clip": "hpsv3:{}"}, {"anything": "{}"}),
]


@pytest.mark.parametrize("words", FILES_OF_ENERGIES, ids=str)
@pytest.mark.parametrize("file", ["m.png", "w.pth", "a.txt", "sub/net"])
def test_each_file_in_the_words_of_an_energy_is_found_from_anywhere_and_hashed(
    words: dict[str, str], file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(b"x")
    given = {name: text.format(file) for name, text in words.items()}
    term = spec.Term(energy="measure", target="y", model=given.pop("model", None), options=given)
    run = places.located(record(energies=[term]))
    whole = {name: text.format(tmp_path / file) for name, text in words.items()}
    found = {"model": run.energies[0].model, **run.energies[0].options}
    assert {name: text for name, text in found.items() if text is not None} == whole
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (name,) = words
    assert dict(inputs.named_files(run)) == {f"energies.0.{name}": tmp_path / file}


def test_words_of_an_energy_that_are_no_files_stay(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "avatar-clip").mkdir()
    options = {"operator": "downsample:4", "a": "mask:box", "b": "https://x/y.pt", "c": "w " * 999}
    term = spec.Term(energy="clip", target="a: b", model="avatar-clip", options=options)
    run = places.located(record(energies=[term]))
    assert run.energies[0] == term and not dict(inputs.named_files(run))


def test_a_bare_word_is_a_name_and_no_words_are_no_file(tmp_path: Path, monkeypatch: Any) -> None:
    """Else a file that happens to be called so would be an input, and the run not be resumed from elsewhere."""
    monkeypatch.chdir(tmp_path)
    for name in ("data", "linear"):
        (tmp_path / name).write_bytes(b"x")
    options = {"mode": "data", "operator": "mask:data", "empty": "", "text": "text:"}
    term = spec.Term(energy="clip", target="y", model="data", options=options)
    run = record(energies=[term], schedule="linear", options={"path": "data", "config": ""})
    assert places.located(run) == run
    assert list(places.named(run)) == [("generator", "avatar-gan")]


def test_the_archive_of_an_energys_member_is_hashed(tmp_path: Path) -> None:
    (tmp_path / "w.zip").write_bytes(b"x")
    file = f"{tmp_path}/w.zip#net.pth"
    run = record(energies=[spec.Term(energy="attribute", target="hat", model=file)])
    assert dict(inputs.named_files(run)) == {"energies.0.model": tmp_path / "w.zip"}


def test_a_file_with_a_hash_in_its_name_is_itself(tmp_path: Path) -> None:
    """Everywhere where an archive's member may be meant: it was hashed, and neither found nor located."""
    file = tmp_path / "run#3.pth"
    file.write_bytes(b"x")
    (tmp_path / "run").write_bytes(b"y")
    run = record(schedule=str(file))
    assert dict(inputs.named_files(run)) == {"schedule": file}
    assert places.located(run).schedule == str(file)
    assert files.apart(str(file)) == (str(file), "")
    assert files.apart(f"{tmp_path}/w.zip#net.pth") == (f"{tmp_path}/w.zip", "net.pth")
    assert _find.find(str(file), None) == (None, file)


def test_the_generators_file_is_hashed_once(tmp_path: Path) -> None:
    """With what is said beside its weights, by `of_generator`."""
    (tmp_path / "g.pth").write_bytes(b"x")
    run = record(generator=str(tmp_path / "g.pth"), schedule=str(tmp_path / "g.pth"))
    assert [place for place, _ in inputs.named_files(run)] == ["schedule"]


def test_a_mask_that_was_exchanged_is_refused(tmp_path: Path) -> None:
    execute.make(record(energies=[], chains=1), tmp_path / "ada")
    picture = tmp_path / "ada" / "images" / "00000.png"
    mask = tmp_path / "m.png"
    with Image.open(picture) as opened:
        side = opened.width
    Image.fromarray(np.uint8(255 * (np.indices((side, side))[0] > 9))).save(mask)
    term = spec.Term(
        energy="measure", target=str(picture), weight=1.0, options={"operator": f"mask:{mask}"}
    )
    execute.make(record(energies=[term]), tmp_path / "run")
    Image.fromarray(np.uint8(255 * (np.indices((side, side))[1] > 9))).save(mask)
    with pytest.raises(SpecError, match=r"energies\.0\.operator is another than the record"):
        execute.resume(tmp_path / "run", steps=3)
