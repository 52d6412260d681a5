"""Three experiments of the paper from their files to complete run folders, on small files of the official layouts."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

from energies import guides
from latentzoo import picture
from latentzoo.cli import app

# networks of random weights make pictures of any range, and the probe says so
pytestmark = pytest.mark.filterwarnings("ignore:the generator's images run from")

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "zoo")]

import official  # noqa: E402
from test_paper import rows, write_cfg  # noqa: E402

LEFT = {"run.yaml", "images", "start", "grid.png", "pairs.png", "latents.safetensors", "trace.csv"}
LEFT |= {"diagnosis.json", "report.html", "state.safetensors", ".lock"}


def text(folder: Path) -> list[str]:
    """The guide of the CLIP experiments: another repository; fewer copies than 50."""
    guides.clip(folder / "clip")
    return ["energies.0.model=clip", "energies.0.options.copies=3"]


def attribute(folder: Path) -> list[str]:
    """The guide of the class experiments lies where their record looks for it."""
    guides.celeba_classifier(folder / "ckpts" / "celeba" / "Eyeglasses" / "best.pth")
    return []


def identity(folder: Path) -> list[str]:
    """The guide of the ID experiments, and a reference."""
    guides.ir_se50(folder / "model_ir_se50.pth")
    pixels = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    picture.write(folder / "ada.png", picture.to_uint8(pixels)[0])
    return ["energies.0.model=model_ir_se50.pth", "energies.0.target=ada.png"]


@pytest.mark.parametrize(
    ("name", "family", "guide"),
    [
        ("clip_a_baby_ffhq1024_stylegan2_langevin_300", "stylegan2", text),
        ("class_eyeglasses_celebahq256_ddgan_langevin", "ddgan", attribute),
        ("recon_id_00001_ffhq256_diffae_3steps_3steps_latent_only_langevin", "diffae", identity),
    ],
)
def test_run_cfg(
    name: str,
    family: str,
    guide: Callable[[Path], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LATENTZOO_OFFLINE", "1")
    monkeypatch.setenv("LATENTZOO_CACHE", "cache")  # no finder of faces looks at the noise
    (row,) = (row for row in rows() if row["name"] == name)
    cfg = write_cfg(row, tmp_path)
    network = official.FILES[family][1](tmp_path)
    changes = [f"generator={network.name}", f"family={family}", "chains=2", "steps=5"]
    words = [word for change in changes + guide(tmp_path) for word in ("--set", change)]
    done = CliRunner().invoke(app, ["run", "--cfg", cfg.name, *words, "--out", "run"])
    assert done.exit_code == 0, done.output + str(done.exception)

    assert {path.name for path in (tmp_path / "run").iterdir()} == LEFT
    assert len(list((tmp_path / "run" / "images").iterdir())) == 2
    record = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert record["kernel"]["name"] == "ula" and record["steps"] == 5
    assert record["kernel"]["settings"]["step_size"] == float(row["model.step_size"])
    energy = record["energies"][0]["energy"]
    trace = list(csv.DictReader((tmp_path / "run" / "trace.csv").read_text().splitlines()))
    assert {int(line["step"]) for line in trace} == set(range(6))
    values = {(line["chain"], line[f"term.{energy}"]) for line in trace}
    assert len(values) == 12, "the energy does not move"
    assert json.loads((tmp_path / "run" / "diagnosis.json").read_text())["chains"] == 2
