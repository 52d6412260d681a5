"""Grey checkpoints of every family: three equal channels at the border, and their mean on the way in.

What a grey network must show is known from one of colours. Its first and last layers three times, the first ones each a
third, make a network whose colours are all the grey one's, and that one is proven elsewhere.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import official
import pytest
import repositories
import test_guided
import torch
from PIL import Image
from test_dcgan import plain, save
from torch import Tensor
from typer.testing import CliRunner

from latentzoo import zoo
from latentzoo.cli import app
from latentzoo.errors import SpecError
from latentzoo.generator import Encodable, Generator
from latentzoo.hub.read import read
from latentzoo.nn.channels import coloured, seen
from latentzoo.rng import Rng
from latentzoo.zoo import _family, _plan, stylegan2, styleswin

# networks of random weights make pictures of any range, and the probe says so
pytestmark = pytest.mark.filterwarnings("ignore:the generator's images run from")


@dataclass(frozen=True)
class Grey:
    """A file of colours, the options of its map, and the names of the tensors where colours leave and enter."""

    write: Callable[[Path], Path]
    options: dict[str, Any]
    outputs: str
    inputs: str = r"(?!)"
    more: dict[str, Any] = field(default_factory=dict)


def pipeline(scheduler: str, **settings: Any) -> Callable[[Path], Path]:
    kind = getattr(repositories.diffusers, scheduler)
    return lambda to: repositories.repository(
        to / "pipeline", repositories.network(), kind(**settings)
    )


def unlearned(to: Path) -> Path:
    tensors, _ = official.state("guided_diffusion", "classes_updown")
    torch.save(
        {k: v[:3] if k.startswith("out.2.") else v for k, v in tensors.items()}, to / "a.pt"
    )
    return to / "a.pt"


UNET = r"unet\.conv_out\.\w+", r"unet\.conv_in\.weight"
FAMILIES = {
    "stylegan2": Grey(
        *official.FILES["stylegan2"][1:], r"to_rgb.*(conv\.weight|(?<!modulation\.)bias)"
    ),
    "stylegan2-ada": Grey(*official.FILES["stylegan2-ada"][1:], r".*torgb\.(weight|bias)"),
    "stylegan_xl": Grey(*official.FILES["stylegan_xl"][1:], r"synthesis\.L9_32_3\.(weight|bias)"),
    "stylegan3": Grey(*official.FILES["stylegan3"][1:], r"synthesis\.L6_16_3\.(weight|bias)"),
    "styleswin": Grey(
        official.FILES["styleswin"][1],
        {"samples": 100, "mean": 0.5, "std": 0.5},
        r"to_rgbs\.\d+\.(conv\.)?(weight|bias)",
    ),
    "dcgan": Grey(
        lambda to: save(to / "dcgan.pt", plain()), {}, r"netG_state_dict\.main\.9\.weight"
    ),
    "ddgan": Grey(
        *official.FILES["ddgan"][1:],
        r"module\.all_modules\.24\.\w+",
        r"module\.all_modules\.(2|5\.Conv2d_0)\.weight",
    ),
    "diffae": Grey(
        *official.FILES["diffae"][1:], r".*model\.out\.2\.\w+", r"x_T|.*input_blocks\.0\.0\.weight"
    ),
    "sn_dpm": Grey(*official.FILES["sn_dpm"][1:], r"conv_out2?\.\w+", r"conv_in\.weight"),
    "guided_diffusion": Grey(
        unlearned,
        official.FILES["guided_diffusion"][2] | {"resolution": 8},
        r"out\.2\.\w+",
        r"input_blocks\.0\.0\.weight",
    ),
    "edm": Grey(
        *official.FILES["edm"][1:],
        r"model\.dec\.8x8_aux_conv\.\w+",
        r"model\.enc\.8x8_conv\.weight",
    ),
    "consistency": Grey(
        official.FILES["consistency"][1],
        official.FILES["consistency"][2] | {"resolution": 8},
        r"out\.2\.\w+",
        r"input_blocks\.0\.0\.weight",
    ),
    "ldm": Grey(
        *test_guided.FAMILIES["ldm"],
        r"first_stage_model\.decoder\.conv_out\.\w+",
        r"first_stage_model\.encoder\.conv_in\.weight",
    ),
    "ldm_diffusers": Grey(
        *test_guided.FAMILIES["ldm_diffusers"],
        r"vae\.decoder\.conv_out\.\w+",
        r"vae\.encoder\.conv_in\.weight",
        {"vae": {"in_channels": 1, "out_channels": 1}},
    ),
    "ddpm": Grey(pipeline("DDPMScheduler"), {"steps": 3}, *UNET),
    "scoresde": Grey(pipeline("ScoreSdeVeScheduler", sigma_max=50.0), {"steps": 3}, *UNET),
    "consistency_diffusers": Grey(
        pipeline("CMStochasticIterativeScheduler"), {"timesteps": [0, 22]}, *UNET
    ),
    "flow": Grey(pipeline("FlowMatchEulerDiscreteScheduler"), {"steps": 3}, *UNET),
}
OTHERS = {
    "nvae": "a pixel is black or white there, see test_nvae",
    "biggan_deep": "the file has as many outputs as features, and its first three are colours",
    "eg3d": "the authors' code renders three colours whatever the data",
    "giraffe_hd": "the authors' code renders three colours whatever the data",
    "stylenerf": "the authors' code renders three colours whatever the data",
    "stylesdf": "the authors' code renders three colours whatever the data",
    "galaxygrad": "it is grey, and its published networks are its files",
    "mobilestylegan": "one network, of colours, is published",
}


def whole(name: str) -> str:
    return {"stylegan2-ada": "stylegan2"}.get(name, name)


def made(name: str, tmp_path: Path, channels: int) -> Generator:
    """The generator of a file whose colours are one: kept alone, or three times."""
    torch.manual_seed(0)
    grey = FAMILIES[name]
    file = read(grey.write(tmp_path / str(channels)))
    tensors, found = {}, set()
    for key, tensor in file.tensors.items():
        if re.fullmatch(grey.outputs, key):
            tensor, found = repeated(tensor, channels), found | {"outputs"}
        elif re.fullmatch(grey.inputs, key):
            tensor, found = repeated(tensor, channels) / channels, found | {"inputs"}
        tensors[re.sub(r"(?<=\.L9_32_|\.L6_16_)3", str(channels), key)] = tensor
    assert "outputs" in found and ("inputs" in found) == (grey.inputs != r"(?!)")
    records = {
        k: v
        for k, v in file.records.items()
        if k != "modules" or name not in ("stylegan_xl", "stylegan3")
    }
    if channels == 1:
        unet = {"in_channels": 1, "out_channels": 1}
        for part, more in (grey.more or {"unet": unet}).items():
            records[part] = records.get(part, {}) | more
    file = replace(file, tensors=tensors, records=records)
    seen = _family.recognise(file, whole(name))
    return _plan.Plan(seen[0], seen[1]["keys"], seen[1]["config"], seen[2], None).build(
        **grey.options
    )


def repeated(tensor: Tensor, channels: int) -> Tensor:
    axis = tensor.shape.index(3)
    first = tensor.narrow(axis, 0, 1)
    return first.expand(*(channels if i == axis else -1 for i in range(tensor.ndim))).clone()


def test_every_family_has_grey_files_or_a_reason_why_not():
    ours = {n for n in zoo.families() if not n.startswith("builtin.")}
    assert {whole(n) for n in FAMILIES} | OTHERS.keys() == ours


@pytest.mark.parametrize("name", FAMILIES)
def test_a_grey_file_is_a_map_to_three_equal_channels(name, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "3").mkdir()
    one, three = (made(name, tmp_path, n).double() for n in (1, 3))
    z = Rng(0, 1, dtype=torch.float64).normal(one.space.dim)
    image = one(z)
    assert image.shape == (2, 3, *one.size)
    assert torch.equal(image, image[:, :1].expand_as(image)) and image.std() > 1e-4
    blocks, shapes = one.space.split(z), three.space.blocks
    colours = {
        k: x.expand(2, *shapes[k]) if x.shape[1:] != shapes[k] else x for k, x in blocks.items()
    }
    torch.testing.assert_close(three(three.space.join(**colours)), image, rtol=1e-4, atol=1e-6)
    if isinstance(one, Encodable) and name != "sn_dpm":
        picture = Rng(9, dtype=torch.float64).uniform(3, *one.size)
        grey = seen(picture, 1)
        assert torch.equal(one.encode(picture, Rng(0)), one.encode(coloured(grey), Rng(0)))


def test_a_grey_file_is_guided_and_checked_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    unet = repositories.network({**repositories.UNET, "in_channels": 1, "out_channels": 1})
    repositories.repository(tmp_path / "grey", unet, repositories.diffusers.DDPMScheduler())
    words = ["--option", "steps=3"]
    run = [*words, "--text", "a beard:500", "--model", "avatar-clip", "--chains", "2"]
    run += ["--steps", "10", "--kernel", "adam", "--out", "out", "--quiet"]
    done = CliRunner().invoke(app, ["sample", "grey", *run])
    assert done.exit_code == 0, done.output
    bands = torch.tensor(np.asarray(Image.open(next((tmp_path / "out" / "images").iterdir()))))
    assert torch.equal(bands, bands[..., :1].expand_as(bands))
    laws = CliRunner().invoke(app, ["check", "grey", *words, "--json"]).output.splitlines()
    broken = [law["name"] for law in map(json.loads, laws) if not law["holds"]]
    assert broken in ([], ["range: nominally [0, 1]"]), broken  # random weights know no range


@pytest.mark.parametrize("channels", [2, 4])
def test_what_other_channels_mean_is_not_guessed(channels):
    with pytest.raises(SpecError, match=f"have {channels} channels.*grey pictures \\(1\\)"):
        stylegan2.build(widths=[4, 4], z_dim=4, w_dim=4, layers=1, channels=channels)


def test_the_units_of_a_grey_styleswin_are_asked_for():
    with pytest.raises(SpecError, match=r"does not say in which units.*mean= and std="):
        styleswin.build(size=8, style_dim=8, n_mlp=1, channels=1)
