"""The table of equal cost: stepwise guidance is the diffusion's own chain where nothing guides, and else lowers phi."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import equal
import latentzoo as lz
from latentzoo import energies, zoo


def test_unguided_steps_are_those_of_the_stochastic_map() -> None:
    made = equal.stepwise(lambda image: 0 * image.sum((1, 2, 3)), "avatar-ldm", 3)
    process, rng = zoo.load("avatar-ldm", steps=3, eta=1.0), lz.Rng(*range(equal.PICTURES))
    shape = process.space.blocks["start"]
    start, *noise = (rng.normal(*shape) for _ in range(3))
    z = process.space.join(start=start, noise=torch.stack(noise, 1))
    with torch.no_grad():
        assert torch.allclose(made, process(z), atol=1e-4)


def test_guided_steps_lower_the_energy() -> None:
    energy = energies.load("attribute", "glasses=sunglasses", model="avatar-attributes")
    each = [equal.stepwise(lambda x, w=w: w * energy(x), "avatar-ldm", 8) for w in (0.0, 10.0)]
    with torch.no_grad():
        plain, guided = (float(energy(image).mean()) for image in each)
    assert guided < plain / 2


def test_sixteen_exact_draws_are_off_by_their_number_alone() -> None:
    assert 0.08 < equal.exact(equal.TEXTS[0], 4) < 0.3
