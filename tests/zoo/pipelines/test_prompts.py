"""A run on a pipeline: the prompt is in the record, and energies that take a text take it."""

import pytest
import tiny
import torch

from latentzoo.energies.base import PerChain
from latentzoo.errors import SpecError
from latentzoo.record import spec, words
from latentzoo.record.experiment import Experiment

CALL = {"num_inference_steps": 2, "height": 16, "width": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sd") / "tiny"
    tiny.MADE["StableDiffusionPipeline"]().save_pretrained(folder)
    return folder


def run(folder, prompt, *, target="", **more):
    options = {"prompt": prompt, **CALL} if prompt else CALL
    term = spec.Term(energy="clip", target=target, model="avatar-clip", weight=10.0)
    return spec.Run(generator=str(folder), options=options, energies=[term], **more)


def test_an_energy_without_a_target_takes_the_prompt(folder):
    taken = Experiment(run(folder, "a yellow hat"))
    given = Experiment(run(folder, "a yellow hat", target="a yellow hat"))
    z = taken.rng.normal(taken.generator.space.dim)
    ours, theirs = taken.posterior.evaluate(z), given.posterior.evaluate(z)
    assert torch.equal(ours.phi, theirs.phi) and torch.equal(ours.grad, theirs.grad)


def test_chains_with_prompts_have_energies_of_their_own(folder):
    prompts = ["a yellow hat", "sunglasses", "a yellow hat"]
    several = Experiment(run(folder, prompts, chains=3))
    (energy,) = (energy for _, energy in several.weighted.values())
    assert isinstance(energy, PerChain) and len(energy.energies) == 2
    z = several.rng.normal(several.generator.space.dim)
    phi = several.posterior.evaluate(z).phi
    for i, prompt in enumerate(prompts):
        alone = Experiment(run(folder, prompt)).posterior.evaluate(z[i : i + 1])
        torch.testing.assert_close(alone.phi, phi[i : i + 1], atol=1e-5, rtol=1e-4)


def test_no_target_and_no_prompt():
    with pytest.raises(SpecError, match="no target, and the generator no prompt"):
        _ = Experiment(run("avatar-turbo", None)).weighted


def test_a_kind_without_a_target_on_the_command_line():
    term = words.term("clip(model=avatar-clip)=:30", energy="")
    assert (term.energy, term.target, term.weight, term.model) == ("clip", "", 30.0, "avatar-clip")
    with pytest.raises(SpecError, match="no target"):
        words.term(":30")
