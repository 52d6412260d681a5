"""The 3D-aware families from official files: loaded by path, checked, guided, seen from other sides."""

import csv
import os
import subprocess
import sys
from io import BytesIO

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image
from views import official_file

from latentzoo import Posterior, Rng, zoo
from latentzoo.diagnosis.check import check
from latentzoo.energies.base import Function
from latentzoo.errors import SpecError
from latentzoo.kernels.adam import Adam
from latentzoo.record import execute, spec
from latentzoo.record.saved import SavedRun
from latentzoo.record.sides import Sides
from latentzoo.views.camera import Camera, fan
from latentzoo.views.orbit import EachView, Views

INF = float("inf")
FILES = {
    "eg3d": "ffhq_8xdc",
    "stylesdf": "ffhq_like",
    "stylenerf": "ffhq_like",
    "giraffe_hd": "ffhq_like",
}


@pytest.fixture(params=FILES)
def file(request, tmp_path):
    """An official-layout file of each family."""
    return official_file(
        tmp_path / f"{request.param}.weights", request.param, FILES[request.param]
    )


@pytest.mark.parametrize(
    "options",
    [
        {"camera": "latent"},
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"camera": {"azimuth": 10.0}}, marks=pytest.mark.slow),
    ],
)
def test_a_file_is_recognised_and_is_a_map(file, options):
    generator = zoo.load(file, **options)
    assert type(generator).__module__.startswith(f"latentzoo.zoo.{file.stem}.")
    assert ("camera" in generator.space.blocks) == (options.get("camera") == "latent")
    broken = [
        law for law in check(generator).breaches if not law.name.startswith("range")
    ]  # random weights
    assert not broken, broken


@pytest.mark.slow
def test_guidance_from_three_views_lowers_the_energy_of_each(file):
    """By Adam: plain descent stalls in a fold of `phi` where a unit of GIRAFFE-HD's tiny mapping changes sign."""
    generator = zoo.load(file)
    views = Views(generator, fan(generator.camera, 3, azimuth=30))
    aim = views(Rng(9).normal(views.space.dim)).chunk(3, dim=3)[0]
    energy = EachView(Function(lambda x: (x - aim).square().mean((1, 2, 3))), 3)
    target, rng, kernel = Posterior(views, {"aim": 1000 * energy}), Rng(0, 1), Adam()
    state = kernel.init(target, rng.normal(views.space.dim), rng)
    start = state.phi
    for _ in range(12):
        state, _ = kernel.step(target, state, rng)
    assert np.isfinite(state.phi.numpy()).all()
    assert (state.phi < 0.9 * start).all()


def command(folder, *words):
    """Runs `latentzoo WORDS...` in a folder and returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "latentzoo", *words],
        cwd=folder,
        env={**os.environ, "LATENTZOO_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_three_views_are_guided_and_five_are_shown_by_the_command_line(file):
    folder = file.parent
    words = ["sample", file.name, "--text", "a person with sunglasses:500", "--out", "run"]
    words += ["--model", "avatar-clip", "--energy-views", "3", "--kernel", "adam"]
    command(folder, *words, "--chains", "2", "--steps", "8")
    with (folder / "run" / "trace.csv").open() as trace:
        rows = list(csv.DictReader(trace))
    phi = {row["step"]: [] for row in rows}
    for row in rows:
        phi[row["step"]].append(float(row["phi"]))
    first, *_, last = phi.values()
    assert len(last) == 2 and np.mean(last) < np.mean(first)
    command(folder, "orbit", "run", "--chain", "1", "--views", "5")
    with Image.open(folder / "run" / "orbit.png") as strip:
        assert strip.width == 5 * (strip.height + 2) - 2
    moving = Image.open(BytesIO((folder / "run" / "orbit.webp").read_bytes()))
    assert moving.n_frames == 8
    laws = command(folder, "check", file.name, "--option", "camera=latent")
    assert "gradient reaches 'camera'" in laws and "BREACH" not in laws


@pytest.mark.parametrize("family", ["eg3d", "stylesdf", "stylenerf"])
def test_a_file_alone_is_not_truncated_unless_asked(family, tmp_path):
    file = official_file(tmp_path / f"{family}.weights", family, FILES[family])
    plain, half = zoo.load(file), zoo.load(file, truncation=0.5)
    assert (plain.truncation, half.truncation) == (1.0, 0.5)
    z = Rng(3).normal(plain.space.dim)
    assert not torch.allclose(plain(z), half(z))


@pytest.mark.parametrize(
    "field", [{"azimuth": INF}, {"radius": INF}, {"fov": -INF}, {"pivot": (0.0, INF, 0.0)}]
)
def test_cameras_are_finite(field):
    with pytest.raises(SpecError, match=r"give finite numbers"):
        Camera.read(field)


def test_a_run_of_a_file_is_seen_from_all_sides_until_the_file_is_exchanged(file, tmp_path):
    """Also where blocks are held still; the views are those of the latent that the run shows."""
    block = "shape" if file.stem == "giraffe_hd" else "style"
    run = spec.Run(generator=str(file), options={"camera": "latent"}, vary=[block])
    execute.make(msgspec.structs.replace(run, steps=0, chains=1), tmp_path / "run")
    saved = SavedRun(tmp_path / "run")
    seen = Sides(saved, 0).orbit(views=2, arc=30.0)
    assert seen.shape[:2] == (2, 1) and seen.isfinite().all()
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(SpecError, match="the generator is another"):
        Sides(saved, 0)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"azimuth": "left"}, "azimuth is 'left'; give a number"),
        ({"elevation": None}, "elevation is None; give a number"),
        ({"fov": [30]}, r"fov is \(30,\); give a number"),
        ({"radius": True}, "radius is True; give a number"),
        ({"pivot": 0.2}, "pivot is 0.2; give three numbers"),
        ({"pivot": [0, 0]}, r"pivot is \(0, 0\); give three numbers"),
        ({"pivot": "far"}, "pivot is 'far'; give three numbers"),
        ({"fov": torch.ones(2)}, "fov is tensor"),
        ({"azimuth": float("nan")}, "azimuth is nan; give finite"),
    ],
)
def test_fields_of_a_camera_are_numbers(fields, said):
    with pytest.raises(SpecError, match=said):
        Camera.read(fields)
