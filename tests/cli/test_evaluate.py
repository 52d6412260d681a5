"""`latentzoo evaluate` on run folders whose pictures and energies are known."""

import csv
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn
from typer.testing import CliRunner

from energies import guides
from latentzoo import energies, picture
from latentzoo.cli import app
from latentzoo.energies.base import Function
from latentzoo.errors import MissingExtra, SpecError
from latentzoo.guides import features
from latentzoo.record import plain, spec
from latentzoo.record.saved import SavedRun
from latentzoo.report import page
from latentzoo.report.evaluation import Evaluator

HEADER = [
    "step",
    "chain",
    "seed",
    "phi",
    "norm2",
    "accept",
    "step_size",
    "beta",
    "error",
    "term.clip",
]


def write(
    folder: Path,
    image: Tensor,
    clip: list[list[float]],
    generator: str = "avatar-turbo",
    **record: object,
) -> Path:
    """A finished run with pictures, and the energies of its chains at every step."""
    told = {"finished": True, "gradients": 200.0, "seconds": 3.5}
    terms = [spec.Term(target="a")]
    run = spec.Run(generator=generator, energies=terms, chains=len(image), record=told, **record)
    (folder / "images").mkdir(parents=True)
    (folder / "run.yaml").write_text(spec.to_yaml(run))
    for i, pixels in enumerate(picture.to_uint8(image)):
        picture.write(folder / "images" / f"{i:05d}.png", pixels)
    with (folder / "trace.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(HEADER)
        for step, values in enumerate(clip):
            for chain, value in enumerate(values):
                table.writerow([step, chain, chain, 500 * value, 1, 1, 1, 1, 1, value])
    verdict = {"verdict": "trustworthy", "trustworthy": True, "words": ["fine"]}
    (folder / "diagnosis.json").write_text(json.dumps(verdict))
    return folder


def pictures(count: int, side: int = 64, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_the_numbers_are_those_of_the_chains_kept(tmp_path: Path) -> None:
    image = pictures(4)
    clip = [[0.9, 0.8, 0.7, 0.6], [0.1, 0.2, 0.3, float("nan")]]
    found = Evaluator()(SavedRun(write(tmp_path / "a", image, clip)))
    assert (found.kept, found.chains, found.gradients, found.seconds) == (3, 4, 200, 3.5)
    assert found.numbers["clip"].value == pytest.approx(0.2)
    assert 0.1 <= found.numbers["clip"].low <= found.numbers["clip"].high <= 0.3
    network = features.load("avatar-judge")
    seen = network(torch.cat([picture.read(p) for p in SavedRun(tmp_path / "a").pictures()[:3]]))
    assert found.numbers["diversity"].value == pytest.approx(
        float(torch.pdist(seen).mean()), rel=1e-4
    )
    best = [[0.9, 0.1, 0.7, 0.2], [0.8, 0.3, 0.2, 0.1], [0.5, 0.2, 0.3, 0.4]]
    kept = Evaluator()(SavedRun(write(tmp_path / "b", image, best, best="clip")))
    assert kept.numbers["clip"].value == pytest.approx((0.8 + 0.1 + 0.2 + 0.1) / 4)
    with pytest.raises(SpecError, match="every chain"):
        Evaluator()(SavedRun(write(tmp_path / "c", image, [[float("nan")] * 4])))


def test_the_command_writes_what_the_report_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENTZOO_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    guides.clip(tmp_path / "clip")
    runs = [write(tmp_path / name, pictures(4, 40, i), [[0.5] * 4]) for i, name in enumerate("ab")]
    (tmp_path / "real").mkdir()
    for i, pixels in enumerate(picture.to_uint8(pictures(5, 48, 7))):
        picture.write(tmp_path / "real" / f"{i}.png", pixels)
    clip = str(tmp_path / "clip")
    words = ["--held-out", f"clip(model={clip}, name=other)=a cat", "--features", clip]
    words += ["--held-out", f"reward(model={clip})=a cat", "--pictures", str(tmp_path / "real")]
    done = CliRunner().invoke(app, ["evaluate", *map(str, runs), *words])
    assert done.exit_code == 0, done.output + str(done.exception)
    for name in ("kept", "4 of 4", "other", "held-out reward by clip", "diversity", "Frechet"):
        assert name in done.output
    assert "fewer than 24 features" in done.output
    told = json.loads((runs[0] / "evaluation.json").read_text())
    assert set(told["numbers"]) >= {"clip", "other", "diversity", "Frechet", "kernel"}
    assert told["numbers"]["Frechet"]["low"] is None and told["notes"]
    html = page.render([SavedRun(run) for run in runs])
    assert "held-out reward by clip" in html and "kernel" in html


def test_how_much_of_a_gain_is_held_out(tmp_path: Path) -> None:
    """Four pictures that become brighter; the judge sees the whole of it, each by its own prompt."""
    dark, light = pictures(4) / 4, pictures(4) / 4 + 0.5
    prompts = ["a", "b", "a", "b"]
    brightness = dark.mean((1, 2, 3)), light.mean((1, 2, 3))
    run = write(tmp_path / "run", light, [(-v).tolist() for v in brightness])
    record = plain.read(run / "run.yaml")
    terms, options = [spec.Term(energy="reward", model="x")], {"prompt": prompts}
    record = replace(record, energies=terms, options=options)
    (run / "run.yaml").write_text(spec.to_yaml(record).replace("term.clip", "term.reward"))
    table = (run / "trace.csv").read_text().replace("term.clip", "term.reward")
    (run / "trace.csv").write_text(table)
    (run / "start").mkdir()
    for i, pixels in enumerate(picture.to_uint8(dark)):
        picture.write(run / "start" / f"{i:05d}.png", pixels)
    judge = Evaluator(held_out=[spec.Term(energy="reward", model="m", name="held")])
    seen = []

    def made(name: str, generator: str, target: str) -> object:
        seen.append(target)
        return Function(lambda image: -3 * image.mean((1, 2, 3)))

    judge._judge = made  # pyright: ignore[reportAttributeAccessIssue]
    found = judge(SavedRun(run))
    assert found.numbers["held, share of the gain"].value == pytest.approx(1, abs=0.05)
    assert "reward hacking: the gain of 'held' is 1 of the optimised one" in found.notes
    assert seen[:4] == prompts


def test_similarity_to_a_person_by_another_network(tmp_path: Path) -> None:
    run = write(tmp_path / "run", pictures(3), [[0.5] * 3])
    who = SavedRun(run).pictures()[0]
    term = spec.Term(energy="identity", target=str(who), model="avatar-id", name="who")
    found = Evaluator(held_out=[term])(SavedRun(run)).numbers
    assert found["who, similarity"].value == pytest.approx(1 - found["who"].value)
    assert found["who"].low < 1e-3 and found["who, similarity"].high > 0.999
    assert "who at the start" not in found


def test_a_judge_is_asked_of_the_start_too_and_answers_in_its_own_units(tmp_path: Path) -> None:
    run = write(tmp_path / "run", pictures(3), [[0.5] * 3])
    (run / "start").mkdir()
    for i, pixels in enumerate(picture.to_uint8(pictures(3, seed=1))):
        picture.write(run / "start" / f"{i:05d}.png", pixels)
    target = "hat=none"
    term = spec.Term(energy="attribute", target=target, model="avatar-attributes", name="bare")
    found = Evaluator(held_out=[term])(SavedRun(run)).numbers
    judge = energies.load("attribute", target, model="avatar-attributes")
    for name, folder in (("bare", "images"), ("bare at the start", "start")):
        image = torch.cat([picture.read(path) for path in SavedRun(run).pictures(folder)])
        with torch.no_grad():
            value = judge(image)
        assert found[name].value == pytest.approx(float(value.mean()), rel=1e-5)
        read = found[f"{name}, probability"].value
        assert read == pytest.approx(float((-value).exp().mean()), rel=1e-5)


def test_dinov2_gives_its_class_token(tmp_path: Path) -> None:
    from transformers import Dinov2Config, Dinov2Model

    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2}
    guides.save(Dinov2Model(Dinov2Config(**size, image_size=28, patch_size=14)), tmp_path)
    guides.write_json(
        tmp_path / "preprocessor_config.json",
        image_processor_type="BitImageProcessor",
        size={"shortest_edge": 32},
        crop_size={"height": 28, "width": 28},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        resample=3,
    )
    network, image = features.load(str(tmp_path)), pictures(2, 32)
    theirs = Dinov2Model.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        expected = theirs((image[:, :, 2:30, 2:30] - 0.5) / 0.5).last_hidden_state[:, 0]
        torch.testing.assert_close(network(image), expected, rtol=1e-4, atol=1e-5)


def test_lpips_over_all_pairs_at_256_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(MissingExtra, match=r"latentzoo\[lpips\]"):
        Evaluator(lpips=True)

    class Distance(nn.Module):
        def __init__(self, **settings: object) -> None:
            super().__init__()
            assert settings["net"] == "vgg"

        def forward(self, a: Tensor, b: Tensor, normalize: bool) -> Tensor:
            assert a.shape == b.shape == (len(a), 3, 256, 256) and normalize
            return (a - b).abs().mean((1, 2, 3), keepdim=True)

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=Distance))
    level = torch.tensor([0.0, 0.2, 1.0]).view(3, 1, 1, 1).expand(3, 3, 64, 64)
    found = Evaluator(lpips=True)(SavedRun(write(tmp_path / "run", level, [[0.5] * 3])))
    assert found.numbers["LPIPS"].value == pytest.approx((0.2 + 1.0 + 0.8) / 3, rel=1e-3)


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="at least two"):
        Evaluator(pictures=tmp_path)
    run = write(tmp_path / "run", pictures(2, 32), [[0.5] * 2], "some.pt")
    with pytest.raises(SpecError, match="give other --features"):
        Evaluator(features="avatar-judge")(SavedRun(run))
    assert np.isfinite(Evaluator()(SavedRun(run)).numbers["clip"].value)


@pytest.mark.parametrize("gone", ["images/00000.png", "images/00001.png", "start/00002.png"])
def test_pictures_that_are_gone_are_said(tmp_path: Path, gone: str) -> None:
    """One of them, or all: the others are not those of the chains they would be taken for."""
    run = write(tmp_path / "a", pictures(3), [[0.9, 0.8, 0.7]])
    shutil.copytree(run / "images", run / "start")
    evaluator = Evaluator(held_out=[spec.Term(target="a person with a hat", model="avatar-clip")])
    (run / gone).unlink()
    said = f"{Path(gone).parent}: holds 2 pictures of 3 chains, the others are gone; run it again"
    with pytest.raises(SpecError, match=said):
        evaluator(SavedRun(run))
    shutil.rmtree(run / "images")
    with pytest.raises(SpecError, match="images: holds 0 pictures of 3 chains"):
        evaluator(SavedRun(run))


def test_draws_from_the_prior_are_evaluated_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["sample", "avatar-turbo", "--chains", "3", "--out", "prior", "--quiet"]
    assert CliRunner().invoke(app, words).exit_code == 0
    who = str(tmp_path / "prior" / "images" / "00000.png")
    held_out = f"identity={who}"  # by the generator's companion, as in `sample`
    done = CliRunner().invoke(app, ["evaluate", "prior", "--held-out", held_out, "--json"])
    told = json.loads(done.output)
    assert told["kept"] == 3 and told["gradients"] == 0
    assert 0 < told["numbers"]["held-out identity"]["value"] < 2
