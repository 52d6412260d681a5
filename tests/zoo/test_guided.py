"""Every diffusion family from its file to guided pictures, by the words a user types; and `latentzoo check`.

The commands run in this process: what a process of its own costs, ten families need not pay ten times.
"""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import official
import pytest
import repositories
from repositories import diffusers
from typer.testing import CliRunner

from latentzoo.cli import app
from laws import randomise

# networks of random weights make pictures of any range, and the probe says so
pytestmark = pytest.mark.filterwarnings("ignore:the generator's images run from")

Write = Callable[[Path], Path]


def unconditional(
    scheduler: Callable[[], Any], config: dict[str, Any], pipeline: Any = None
) -> Write:
    """A folder of diffusers: a network on pixels, and its scheduler."""
    return lambda folder: repositories.repository(
        folder / "repository", repositories.network(config), scheduler(), pipeline
    )


def latent(folder: Path) -> Path:
    """A folder of diffusers: a network on the codes of an autoencoder."""
    blocks = {"block_out_channels": (32, 32), "layers_per_block": 1, "norm_num_groups": 32}
    unet = diffusers.UNet2DModel(
        sample_size=4,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        **blocks,
    )
    ends = {
        "down_block_types": ("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        "up_block_types": ("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
    }
    vae = diffusers.AutoencoderKL(latent_channels=3, scaling_factor=0.6, **blocks, **ends)
    for name, part in (("unet", unet), ("vae", vae)):
        randomise(part)
        part.save_pretrained(folder / "repository" / name)
    betas = {"beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear"}
    ends_at = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    diffusers.DDIMScheduler(**betas, **ends_at).save_pretrained(
        folder / "repository" / "scheduler"
    )
    (folder / "repository" / "model_index.json").write_text('{"_class_name": "LDMPipeline"}')
    return folder / "repository"


FAMILIES: dict[str, tuple[Write, dict[str, Any]]] = {
    "ddpm": (
        unconditional(lambda: diffusers.DDPMScheduler(), repositories.UNET),
        {"steps": 4, "eta": 1.0},
    ),
    "flow": (
        unconditional(lambda: diffusers.FlowMatchEulerDiscreteScheduler(), repositories.UNET),
        {"steps": 4},
    ),
    "scoresde": (
        unconditional(lambda: diffusers.ScoreSdeVeScheduler(sigma_max=50.0), repositories.NCSNPP),
        {"steps": 4},
    ),
    "ldm_diffusers": (latent, {"steps": 4}),
    # A file of CompVis does not say how large its pictures are; as published, they would be 256 pixels. The first stage
    # is a KL one: the map through a codebook has jumps, and the gradient that training gives it is not its slope.
    "ldm": (official.trained("ldm", "v2"), {"steps": 2, "size": 8}),
    **{name: official.FILES[name][1:] for name in ("diffae", "ddgan", "sn_dpm", "nvae")},
    **{
        name: (official.FILES[name][1], official.FILES[name][2] | {"resolution": 8})
        for name in ("guided_diffusion", "consistency")
    },
    "edm": official.FILES["edm"][1:],
    "consistency_diffusers": (
        unconditional(
            lambda: diffusers.CMStochasticIterativeScheduler(),
            repositories.UNET,
            diffusers.ConsistencyModelPipeline,
        ),
        {"timesteps": [0, 22]},
    ),
}
LEFT = {
    *("run.yaml", "images", "start", "grid.png", "pairs.png", "latents.safetensors", "trace.csv"),
    *("diagnosis.json", "report.html", "state.safetensors", ".lock"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_guided_by_the_text_energy_from_the_command_line(family, tmp_path, monkeypatch):
    monkeypatch.setenv("LATENTZOO_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    write, options = FAMILIES[family]
    file = str(write(tmp_path).relative_to(tmp_path))
    given = [w for k, v in options.items() for w in ("--option", f"{k}={json.dumps(v)}")]
    model = [file, "--family", family, *given]
    words = ["--text", "a person with sunglasses:500", "--model", "avatar-clip"]
    words += ["--chains", "2", "--steps", "20", "--kernel", "adam", "--out", "out", "--quiet"]
    done = CliRunner().invoke(app, ["sample", *model, *words])
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == LEFT
    assert len(list((tmp_path / "out" / "images").iterdir())) == 2
    rows = list(csv.DictReader((tmp_path / "out" / "trace.csv").read_text().splitlines()))
    last = max(int(row["step"]) for row in rows)
    mean = lambda step: sum(float(row["phi"]) for row in rows if int(row["step"]) == step) / 2
    assert last == 20 and mean(last) < mean(0), "the energy does not fall"
    laws = map(
        json.loads, CliRunner().invoke(app, ["check", *model, "--json"]).output.splitlines()
    )
    broken = [law["name"] for law in laws if not law["holds"]]
    assert broken in ([], ["range: nominally [0, 1]"]), broken  # random weights know no range
