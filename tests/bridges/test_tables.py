"""Runs as tables: the same numbers and pictures as in the folder, in the words of pandas and datasets."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import latentzoo as lz
from cli.conftest import Command, command  # noqa: F401
from latentzoo.errors import MissingExtra, SpecError
from toys import Affine, Bright

SEED = 2**31 - 1


@pytest.fixture(scope="module")
def result() -> lz.Result:
    target = lz.Posterior(Affine(), {"bright": Bright()})
    return lz.sample(target, chains=3, steps=5, seed=SEED, kernel="ula", progress=False)


@pytest.fixture
def folder(result: lz.Result, tmp_path: Path) -> Path:
    return lz.save(result, tmp_path / "bright")


def test_a_table_has_every_step_and_chain(result: lz.Result, folder: Path) -> None:
    pytest.importorskip("pandas")
    live, saved = lz.to_pandas(result), lz.to_pandas(folder)
    assert list(live.columns) == list(saved.columns) and len(live) == len(saved) == 6 * 3
    for name in live.columns:
        assert np.allclose(live[name], saved[name], rtol=1e-7, equal_nan=True), name
    # seeds of 62 bits do not fit a float
    assert saved["seed"].unique().tolist() == list(result.trace.seeds)
    mean = saved.groupby("step")["phi"].mean()
    assert np.allclose(mean, result.trace.phi.mean(1), rtol=1e-6)


def test_pandas_missing_is_named(monkeypatch: pytest.MonkeyPatch, result: lz.Result) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtra, match=r"latentzoo\[pandas\]"):
        lz.to_pandas(result)


@pytest.mark.filterwarnings("ignore")  # ArviZ 0.23 says at import that 1.0 will be another
def test_arviz_reads_the_draws() -> None:
    """The same groups in ArviZ 0.23 and 1.x."""
    arviz = pytest.importorskip("arviz")
    target = lz.Posterior(Affine(), {"bright": Bright()})
    kept = lz.sample(target, chains=3, steps=40, keep=4, kernel="ula", progress=False)
    data, draws = kept.to_inference_data(), kept.draws
    assert draws is not None and draws.shape[:2] == (3, 10)
    z, phi = data["posterior"]["z"], data["sample_stats"]["phi"]
    assert z.dims[:2] == phi.dims == ("chain", "draw")
    assert np.array_equal(z.values, draws.numpy())
    assert np.array_equal(phi.values, kept.trace.phi[4::4].T)
    assert np.isfinite(arviz.rhat(data["posterior"]["z"].to_dataset())["z"].values).all()


def test_a_data_set_tells_all_of_each_picture(result: lz.Result, folder: Path) -> None:
    out = lz.to_dataset([folder], folder.parent / "set")
    lines = (out / "train" / "metadata.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["seed"] for row in rows] == list(result.trace.seeds)
    bright = result.trace.terms[-1, :, 0]
    assert np.allclose([row["term.bright"] for row in rows], bright, rtol=1e-6)
    for row, picture in zip(rows, sorted((folder / "images").iterdir()), strict=True):
        assert (out / "train" / row["file_name"]).read_bytes() == picture.read_bytes()
        assert (row["run"], row["failed"]) == ("bright", False) and "trust" in row[
            "verdict"
        ] + "trust"


def test_pictures_for_pillow_are_those_of_the_folder(result: lz.Result, folder: Path) -> None:
    files = sorted((folder / "images").iterdir())
    for one, file in zip(result.to_pil(), files, strict=True):
        assert one.mode == "RGB" and np.array_equal(np.asarray(one), np.asarray(Image.open(file)))


def test_datasets_reads_it(folder: Path) -> None:
    datasets = pytest.importorskip("datasets")
    out = lz.to_dataset([folder], folder.parent / "set")
    read = datasets.load_dataset("imagefolder", data_dir=str(out), cache_dir=str(out.parent / "c"))
    rows = read["train"]
    assert len(rows) == 3 and rows[0]["image"].size == (4, 4)
    assert rows[2]["seed"] == SEED * 2**32 + 2 and rows[0]["generator"] == "python:Affine"


def test_what_is_there_stays(folder: Path) -> None:
    (folder.parent / "mine").mkdir()
    for runs, out, said in [
        ([folder], folder.parent / "mine", "there already"),
        ([folder, folder], folder.parent / "set", "rename one"),
        ([], folder.parent / "set", "at least one"),
        ([folder.parent / "nowhere"], folder.parent / "set", "no run here"),
    ]:
        with pytest.raises(SpecError, match=said):
            lz.to_dataset(runs, out)
    assert sorted(p.name for p in folder.parent.iterdir()) == ["bright", "mine"]


def test_draws_of_the_prior_have_no_energies(command: Command, tmp_path: Path) -> None:  # noqa: F811
    assert command("sample", "avatar-gan", "--chains", "2", "--out", "prior").returncode == 0
    done = command("export", "prior", "--out", "set")
    assert done.returncode == 0 and "load_dataset" in done.stdout
    rows = (tmp_path / "set" / "train" / "metadata.jsonl").read_text().splitlines()
    assert len(rows) == 2 and json.loads(rows[0])["asked"] == []
    assert command("export", "prior", "--out", "set").returncode == 2
