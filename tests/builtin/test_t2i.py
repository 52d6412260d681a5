"""The text-to-image pipeline of the avatars: diffusers' own, a map, small, and it hears most of what it is told."""

import math
from collections import defaultdict

import pytest
import torch
from typer.testing import CliRunner

import latentzoo as lz
from latentzoo import zoo
from latentzoo.builtin.attributes import judge, log_probability
from latentzoo.builtin.avatars import probability
from latentzoo.builtin.captions import parse
from latentzoo.cli import app
from latentzoo.rng import Rng
from latentzoo.zoo import pipelines

pytest.importorskip("diffusers")
pytest.importorskip("transformers")
NAME = "avatar-t2i"
PROMPTS = (
    "a person with sunglasses",
    "a person with red hair",
    "a person with a yellow hat",
    "a smiling person with a beard",
    "a dark-skinned person with round glasses and a beard",
    "a person with a green hoodie, a red beanie and sunglasses",
)


@pytest.fixture(scope="module")
def generator():
    return lz.load(NAME, prompt=PROMPTS[0])


def test_it_is_found_by_its_name_and_small():
    folder = pipelines.find(NAME)
    assert folder is not None and folder.name == NAME
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert size < 8e6
    assert NAME in CliRunner().invoke(app, ["list"]).output
    shown = CliRunner().invoke(app, ["show", NAME]).output
    assert "StableDiffusionPipeline" in shown and "apache-2.0" in shown


def test_it_is_the_own_call_of_diffusers(generator):
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(pipelines.find(NAME)).to(dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    z = Rng(3).normal(generator.space.dim)
    call = {"num_inference_steps": 4, "guidance_scale": 1.0, "output_type": "pt"}
    own = pipe(PROMPTS[0], latents=z.view(1, 4, 16, 16), **call).images
    torch.testing.assert_close(generator(z).clamp(0, 1), own, atol=1e-6, rtol=0)


def test_it_is_a_map(generator):
    assert str(generator.space) == "start 4x16x16" and generator.size == (64, 64)
    report = lz.check(generator)
    assert report.holds, report


@torch.no_grad()
def test_it_shows_more_of_what_it_is_told_than_chance():
    seen, chance, network = defaultdict(list), defaultdict(list), judge()
    asked = [prompt for prompt in PROMPTS for _ in range(16)]
    G = lz.load(NAME, prompt=asked)
    z = Rng(*range(len(asked))).normal(G.space.dim)
    reading = network.heads(network.features(G(z).clamp(0, 1)))
    for start, prompt in enumerate(PROMPTS):
        wanted, rows = parse(prompt), slice(16 * start, 16 * start + 16)
        part = {name: values[rows] for name, values in reading.items()}
        for name, share in log_probability(part, wanted).items():
            seen[name] += (share.exp() > 0.5).tolist()
            chance[name] += [probability({name: wanted[name]})] * len(share)
    flat = lambda of: [x for part in of.values() for x in part]
    p, n = sum(flat(chance)) / len(flat(chance)), len(flat(seen))
    share = sum(flat(seen)) / n
    assert share > 1.5 * p + 3 * math.sqrt(p * (1 - p) / n)
    for name in ("glasses", "hat", "skin"):
        assert sum(seen[name]) > 1.2 * sum(chance[name]), name


def test_prompts_make_pictures_of_their_own():
    alone = [lz.load(NAME, prompt=prompt) for prompt in PROMPTS[:2]]
    both = lz.load(NAME, prompt=list(PROMPTS[:2]))
    z = Rng(1, 2).normal(both.space.dim)
    each = torch.cat([G(part) for G, part in zip(alone, z.split(1), strict=True)])
    torch.testing.assert_close(both(z), each, atol=1e-5, rtol=0)
    assert (alone[0](z[:1]) - alone[1](z[:1])).abs().mean() > 0.01


def test_the_command_line_samples_it(tmp_path):
    words = [
        *("sample", NAME, "--prompt", PROMPTS[2], "--chains", "2", "--steps", "3"),
        *(
            "--energy",
            f"attribute={PROMPTS[2]}",  # whose network is the pipeline's companion
            "--out",
            str(tmp_path / "run"),
        ),
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert len(lz.open(tmp_path / "run").pictures()) == 2


def test_its_companions_are_those_of_the_other_avatars():
    for energy in ("clip", "attribute", "identity", "features"):
        assert zoo.companion(NAME, energy) == zoo.companion("avatar-turbo", energy)
