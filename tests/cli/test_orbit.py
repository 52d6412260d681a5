"""A head that is found from several sides at once, then shown from all of them."""

import csv
import shutil
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import latentzoo as lz
from cli.conftest import Command
from latentzoo import zoo
from latentzoo.builtin.heads import NUMBERS, assemble, numbers, picture
from latentzoo.picture import to_uint8
from latentzoo.views.camera import Camera

SMALL = ("--option", "size=24", "--option", "samples=12")


def red_hat(path: Path) -> None:
    """Writes the picture of a head that nobody was trained on."""
    parts = numbers(torch.full((1, sum(NUMBERS.values())), 0.5))
    parts["hat"][:], parts["hat_color"][:] = 0.6, torch.tensor([0.9, 0.05, 0.05])
    u = torch.cat(list(parts.values()), dim=1)
    Image.fromarray(to_uint8(picture(assemble(u), Camera(), 24))[0]).save(path)


def test_three_views_are_guided_and_nine_are_shown(command: Command, tmp_path: Path) -> None:
    red_hat(tmp_path / "hat.png")
    done = command(
        *("sample", "avatar-3d", "--energy", "measure=hat.png:0.2", "--energy-views", "3"),
        *("--chains", "4", "--steps", "25", "--kernel", "adam", "--out", "run", *SMALL),
    )
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "run" / "trace.csv").read_text().splitlines()))
    phi = np.array([float(row["phi"]) for row in rows])
    step = np.array([int(row["step"]) for row in rows])
    first, last = phi[step == step.min()], phi[step == step.max()]
    assert len(last) == 4 and last.mean() < 0.7 * first.mean()

    done = command("orbit", "run", "--chain", "3", "--views", "9", "--out", "sides")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "sides" / "orbit.png") as image:
        strip = np.asarray(image, dtype=float)
    assert strip.shape == (24, 9 * 26 - 2, 3)
    sides = [strip[:, 26 * k : 26 * k + 24] for k in range(9)]
    steps = [np.abs(a - b).mean() for a, b in pairwise(sides)]
    assert min(steps) > 0 and max(steps) < np.abs(sides[0] - sides[-1]).mean()
    moving = Image.open(BytesIO((tmp_path / "sides" / "orbit.webp").read_bytes()))
    assert moving.n_frames == 16 and moving.size == (24, 24)

    assert "there is no chain 4; it has 0 to 3" in command("orbit", "run", "--chain", "4").stderr


def test_a_run_that_held_blocks_still_is_shown_with_them(command: Command, tmp_path: Path) -> None:
    words = ("sample", "avatar-3d", *SMALL, "--option", "camera=latent", "--vary", "style")
    done = command(*words, "--rest-seed", "7", "--chains", "2", "--out", "run")
    assert done.returncode == 0, done.stderr
    done = command("orbit", "run", "--chain", "1", "--views", "2", "--out", "sides")
    assert done.returncode == 0, done.stderr
    done = command(*("decode", "run", "avatar-3d", *SMALL, "--option", "camera=latent"))
    assert done.returncode == 0, done.stderr
    pictures = [np.asarray(Image.open(path)) for path in lz.open(tmp_path / "run").pictures()]
    for i, pixels in enumerate(pictures):
        with Image.open(tmp_path / "decoded" / f"{i:05d}.png") as image:
            assert np.abs(np.asarray(image, dtype=int) - pixels).max() <= 1


def test_a_run_whose_weights_were_exchanged_is_not_shown(command: Command, tmp_path: Path) -> None:
    packaged = zoo.packaged("package:latentzoo.builtin/weights/avatar-3d.safetensors")
    assert packaged is not None
    shutil.copy(packaged, tmp_path / "own.safetensors")
    own = ("own.safetensors", "--family", "builtin.volume", "--card", "avatar-3d")
    done = command("sample", *own, *SMALL, "--chains", "1", "--out", "run")
    assert done.returncode == 0, done.stderr
    tensors = load_file(packaged)
    name = next(name for name, value in tensors.items() if value.is_floating_point())
    save_file({**tensors, name: tensors[name] + 1}, tmp_path / "own.safetensors")
    done = command("orbit", "run", "--views", "1")
    assert done.returncode == 2 and "another than the record was made with" in done.stderr
    assert not (tmp_path / "run" / "orbit.png").exists()


def test_a_found_head_has_a_surface(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("skimage")
    done = command("sample", "avatar-3d", "--chains", "1", "--out", "run", *SMALL)
    assert done.returncode == 0, done.stderr
    done = command("orbit", "run", "--views", "1", "--mesh", "head.ply")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "head.ply").read_bytes().startswith(b"ply\nformat binary_little_endian")


@pytest.mark.parametrize("camera", ["latent", "{azimuth: 30}"])
def test_the_laws_hold_with_a_latent_and_a_fixed_camera(command: Command, camera: str) -> None:
    done = command("check", "avatar-3d", *SMALL, "--option", f"camera={camera}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("gradient reaches 'camera'" in done.stdout) == (camera == "latent")
