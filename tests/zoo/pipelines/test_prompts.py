"""A run on a pipeline: the prompt is in the record, and energies that take a text take it."""

import shlex

import pytest
import tiny
import torch
from typer.testing import CliRunner

from latentzoo.app.desk import Desk
from latentzoo.app.form import Fields
from latentzoo.app.limits import Limits
from latentzoo.cli import app
from latentzoo.energies.base import PerChain
from latentzoo.errors import SpecError
from latentzoo.record import plain, spec, words
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


RUNNER = CliRunner()


def asked(path, *words):
    """The record of a command's words, or the one line that it ends in."""
    done = RUNNER.invoke(app, ["sample", "x", *words, "--save-spec", str(path)])
    return plain.read(path) if done.exit_code == 0 else (done.exit_code, done.stderr)


def test_the_prompt_is_said_in_words(tmp_path):
    path = tmp_path / "run.yaml"
    run = asked(path, "--prompt", "yes: a hat", "--energy", "reward=pickscore:100")
    assert run.options == {"prompt": "yes: a hat"}  # no YAML is read into it
    (term,) = run.energies
    assert (term.energy, term.model, term.target, term.weight) == ("reward", "pickscore", "", 100)
    hps = asked(path, "--prompt", "a", "--energy", "reward=hpsv2:/w/HPS.pt:500").energies[0]
    assert (hps.model, hps.target, hps.weight) == ("hpsv2:/w/HPS.pt", "", 500.0)
    text = asked(path, "--energy", "reward=a clock at 10:30:2").energies[0]
    assert (text.model, text.target, text.weight) == (None, "a clock at 10:30", 2.0)


def test_a_prompt_for_each_chain(tmp_path):
    path = tmp_path / "run.yaml"
    each = ["--per-chain", "--chains", "4"]
    assert asked(path, "--prompt", "a", "--prompt", "b", *each).options["prompt"] == [*"abab"]
    assert asked(path, "--prompt", "a | b", *each).options["prompt"] == [*"abab"]
    assert asked(path, "--prompt", "a | b").options["prompt"] == "a | b"
    for more, why in (
        (["--prompt", "a", "--prompt", "b"], "add --per-chain"),
        (["--prompt", "a | b | c", *each], "--chains 3"),
        (["--per-chain"], "--prompt A"),
        (["--prompt", "a", "--option", "prompt=b"], "given twice"),
    ):
        code, said = asked(path, *more)
        assert code == 2 and why in said and said.count("\n") == 1, said


def test_a_run_at_the_command_line(folder, tmp_path):
    words = [str(folder), "--prompt", "a hat | shades", "--per-chain", "--chains", "2"]
    words += ["--option", "num_inference_steps=2", "--option", "height=16", "--option", "width=16"]
    words += ["--energy", "clip(model=avatar-clip)=:10", "--steps", "3", "--quiet"]
    done = RUNNER.invoke(app, ["sample", *words, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    run = plain.read(tmp_path / "run" / "run.yaml")
    assert run.options["prompt"] == ["a hat", "shades"] and run.options["height"] == 16


def test_the_page_takes_a_prompt_for_the_pipelines_that_the_operator_names(folder, tmp_path):
    limits = Limits(
        generators=(str(folder),), options=CALL, judges={"clip": "avatar-clip"}, steps=2
    )
    desk, found = Desk(tmp_path / "runs", limits, device="cpu"), []
    for prompt in ("a yellow hat", "sunglasses"):
        fields = Fields(str(folder), prompt=prompt, texts="a yellow hat", chains=1, steps=2)
        name, job = desk.begin("ada", fields)
        assert job.done.wait(240) and not job.error
        found.append(desk.run("ada", name))
        assert found[-1].record.options == {**CALL, "prompt": prompt}
        assert f"--prompt {shlex.quote(prompt)}" in desk.command(found[-1])
    assert (found[0].images != found[1].images).any()
