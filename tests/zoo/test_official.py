"""From a file in the official layout to guided pictures, for every family: the whole way that a user goes."""

import csv
import json
import os
import subprocess
import sys

import official
import pytest
import torch

from latentzoo import zoo
from latentzoo.rng import Rng

FIRST = ("stylegan2", "stylegan2-ada", "stylegan_xl", "styleswin", "biggan_deep")
HERE = [
    n
    for n in official.FILES
    if n
    not in (
        *("ldm", "diffae", "ddgan", "sn_dpm", "nvae", "guided_diffusion"),
        *("edm", "consistency"),
    )
]
"""The families of diffusion and NVAE are guided in test_guided.py."""
ENTRIES = [pytest.param(n, marks=() if n in FIRST else pytest.mark.slow) for n in HERE]


@pytest.mark.parametrize("name", official.FILES)
def test_the_file_is_recognised_and_its_safe_form_is_the_same_map(name, tmp_path):
    family, write, options = official.FILES[name]
    path = write(tmp_path)
    generator = zoo.load(path, **options)
    image = generator(Rng(0, 1).normal(generator.space.dim))
    assert image.isfinite().all() and image.std() > 0.01
    card = zoo.convert(path, tmp_path / "safe.safetensors")
    assert card.family == family
    safe = zoo.load(tmp_path / "safe.safetensors", **options)
    pairs = zip(safe.state_dict().items(), generator.state_dict().items(), strict=True)
    assert all(name == other and torch.equal(a, b) for (name, a), (other, b) in pairs)
    again = safe(Rng(0, 1).normal(generator.space.dim))  # where tensors lie in memory may round
    torch.testing.assert_close(again, image, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ENTRIES)
def test_guided_by_the_text_energy_from_the_command_line(name, tmp_path):
    family, write, options = official.FILES[name]
    words = [
        "sample",
        write(tmp_path).name,
        "--family",
        family,
        "--kernel",
        "adam",
        "--out",
        "out",
    ]
    words += ["--text", "a person with sunglasses:500", "--model", "avatar-clip"]
    words += ["--chains", "2", "--steps", "12"]
    words += [word for k, v in options.items() for word in ("--option", f"{k}={json.dumps(v)}")]
    command = [sys.executable, "-m", "latentzoo", *words]
    environment = {**os.environ, "LATENTZOO_OFFLINE": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    names = {
        "run.yaml",
        "images",
        "grid.png",
        "pairs.png",
        "latents.safetensors",
        "trace.csv",
        "diagnosis.json",
    }
    assert names <= {path.name for path in (tmp_path / "out").iterdir()}
    trace = (tmp_path / "out" / "trace.csv").read_text()
    rows = list(csv.DictReader(trace.splitlines()))
    last = max(int(row["step"]) for row in rows)
    mean = lambda step: sum(float(r["phi"]) for r in rows if int(r["step"]) == step)
    assert mean(last) < mean(0), "the energy does not fall"
