"""Bad input at the command line: one line, the fact, the reason and the cure, exit 2."""

import json
import shutil
import sys
import threading
import warnings

import pytest
import tiny
import torch
from typer.testing import CliRunner

import latentzoo as lz
from latentzoo.cli import app
from latentzoo.errors import Assumption, SpecError
from latentzoo.rng import Rng
from latentzoo.zoo.pipelines.stage import held

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folders of tiny pipelines, by their names."""
    folder = tmp_path_factory.mktemp("bad")
    for name in ("StableDiffusionPipeline", "LatentConsistencyModelPipeline", "FluxPipeline"):
        tiny.MADE[name]().save_pretrained(folder / name)
    return folder


def said(folder, *words, prompt="a", steps=2, size=16):
    """The one line of a command that ends with status 2."""
    sizes = ["--option", f"height={size}", "--option", f"width={size}"]
    call = ["--prompt", prompt, "--option", f"num_inference_steps={steps}", *sizes]
    done = RUNNER.invoke(
        app, ["sample", str(folder), *call, *words, "--out", str(folder) + "-run"]
    )
    assert done.exit_code == 2 and done.stderr.count("\n") == 1, done.output + repr(done.exception)
    return done.stderr


@pytest.mark.parametrize(
    ("lost", "words"),
    [
        ("model_index.json", "there is no model_index.json"),
        ("vae", "component 'vae' are not there"),
        ("scheduler", "component 'scheduler' are not there"),
        ("tokenizer", "component 'tokenizer' are not there"),
        ("tokenizer/tokenizer.json", "component 'tokenizer' are not there"),
        ("unet/config.json", "config.json"),
        ("unet/diffusion_pytorch_model.safetensors", "no weights"),
    ],
)
def test_what_a_folder_lacks(whole, tmp_path, lost, words):
    folder = shutil.copytree(whole / "StableDiffusionPipeline", tmp_path / "sd")
    path = folder / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert words in said(folder)


SHAPES = "its settings ask for 'conv_in"
UNFIT = "do the settings of its components fit it?"
SCHEDULER, UNET, VAE = "scheduler/scheduler_config.json", "unet/config.json", "vae/config.json"
EDITED = [
    (SCHEDULER, {"beta_schedule": "cosine_x"}, UNFIT),
    (SCHEDULER, {"num_train_timesteps": "1000"}, UNFIT),
    (UNET, {"act_fn": "foo"}, UNFIT),
    (UNET, {"in_channels": 7}, SHAPES),
    (UNET, [], "unet/config.json: not a readable configuration (not an object)"),
    ("text_encoder/config.json", {"hidden_size": 96}, "settings ask for tensors of other shapes"),
    ("model_index.json", {"_class_name": None}, "names no pipeline, its _class_name is null"),
    ("model_index.json", {"unet": ["diffusers", "utils"]}, "unknown class of diffusers 'utils'"),
]


def edited(folder, file, change):
    old = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(change if isinstance(change, list) else old | change))
    return folder


@pytest.mark.parametrize(("file", "change", "words"), EDITED)
def test_settings_that_do_not_fit_a_whole_folder_are_blamed_for_it(
    whole, tmp_path, file, change, words
):
    folder = shutil.copytree(whole / "StableDiffusionPipeline", tmp_path / "sd")
    line = said(edited(folder, file, change))
    assert words in line
    assert not any(w in line for w in ("complete?", "ignore_mismatched", "connect", "of its own"))


@pytest.mark.parametrize("nothing", [[None, None], [1, 2], "x"])
def test_a_component_that_the_index_does_not_name_is_named(whole, tmp_path, nothing):
    folder = shutil.copytree(whole / "StableDiffusionPipeline", tmp_path / "sd")
    assert "names no vae, of which a StableDiffusionPipeline is made" in said(
        edited(folder, "model_index.json", {"vae": nothing})
    )


@pytest.mark.parametrize("file", [SCHEDULER, VAE])
def test_a_setting_that_nothing_reads_is_warned_of(whole, tmp_path, file):
    folder = shutil.copytree(whole / "StableDiffusionPipeline", tmp_path / "sd")
    edited(folder, file, {"frobnicate": 3})
    with pytest.warns(Assumption, match="has no settings frobnicate; they are without effect"):
        lz.load(folder, prompt="a", num_inference_steps=2, height=16, width=16)


def test_a_prompt_of_more_than_text(whole):
    for words in ({"prompt": "a\0b"}, {"prompt": "a", "negative_prompt": "b\0"}):
        with pytest.raises(SpecError, match="the character NUL"):
            lz.load(whole / "StableDiffusionPipeline", num_inference_steps=2, **words)


@pytest.mark.parametrize(
    ("name", "more", "given", "words"),
    [
        ("LatentConsistencyModelPipeline", [], {"steps": 60}, "num_inference_steps"),
        ("StableDiffusionPipeline", [], {"steps": 1500}, "give 1 to 1000"),
        ("StableDiffusionPipeline", [], {"size": 0}, "height=0 is out of range"),
        ("StableDiffusionPipeline", [], {"size": -8}, "height=-8 is out of range"),
        ("StableDiffusionPipeline", [], {"size": 17}, "sizes that are multiples of 8"),
        ("FluxPipeline", [], {"size": 18}, "makes 16x16 pixels of the 18x18"),
        (
            "StableDiffusionPipeline",
            [],
            {"prompt": "w " * 90 + "the end"},
            "the end' would be lost",
        ),
        ("StableDiffusionPipeline", [], {"prompt": ""}, "the prompt is empty"),
        ("StableDiffusionPipeline", ["--option", "dtype=float16"], {}, "--dtype"),
        ("StableDiffusionPipeline", ["--family", "ldm"], {}, "leave out family"),
        ("StableDiffusionPipeline", ["--option", "guidance=3"], {}, "'guidance_scale'"),
        ("StableDiffusionPipeline", ["--option", "scheduler=EulerScheduler"], {}, "did you mean"),
        ("StableDiffusionPipeline", ["--option", "scheduler={beta_ends: 1}"], {}, "beta_end"),
        ("StableDiffusionPipeline", ["--option", "scheduler={beta_start: x}"], {}, "'float'"),
        ("StableDiffusionPipeline", ["--option", "scheduler={class: 3}"], {}, "scheduler '3'"),
        ("StableDiffusionPipeline", ["--option", "scheduler=3"], {}, "scheduler=3"),
        ("StableDiffusionPipeline", ["--option", "use_safetensors=perhaps"], {}, "'bool'"),
        ("StableDiffusionPipeline", ["--option", "source=3"], {}, "'source'"),
        ("StableDiffusionPipeline", ["--option", "x=3"], {}, "'x'"),
        ("StableDiffusionPipeline", ["--option", "variant=fp16"], {}, "leave variant out"),
        ("StableDiffusionPipeline", ["--option", "clip_skip=9"], {}, "has 2 layers"),
    ],
)
def test_what_a_call_does_not_take(whole, name, more, given, words):
    assert words in said(whole / name, *more, **given)


def test_two_maps_of_one_pipeline_in_two_threads(whole):
    """They do not meet; where a call exchanges a network's attention, the second is told so."""
    plain = tiny.MADE["StableDiffusionPipeline"]
    pipe = plain()
    maps = [lz.load(pipe, prompt=p, **plain.call) for p in ("a cat", "a hat")]
    z = Rng(1).normal(maps[0].space.dim)
    alone, found = [g(z) for g in maps], {}

    def run(i):
        found[i] = [maps[i](z) for _ in range(3)]

    threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
    [t.start() for t in threads], [t.join() for t in threads]
    assert all(torch.equal(x, alone[i]) for i in range(2) for x in found[i])

    pag = tiny.MADE["StableDiffusionPAGPipeline"]
    pipe = pag()
    generator = lz.load(pipe, prompt="a cat", **pag.call)
    told = []

    def other():
        try:
            generator(z)
        except SpecError as error:
            told.append(str(error))

    with held([pipe.unet]):
        generator(z)  # the thread that holds it goes on
        thread = threading.Thread(target=other)
        thread.start(), thread.join()
    assert len(told) == 1 and "one after the other" in told[0]


def test_a_package_that_a_pipeline_does_without_until_it_is_called(monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of modules that are imported now
        pipe = tiny.prx()
    monkeypatch.delattr(sys.modules[type(pipe).__module__], "ftfy", raising=False)
    with pytest.raises(SpecError, match="PRXPipeline needs the package ftfy, which is not inst"):
        lz.load(pipe, prompt="a", num_inference_steps=2, height=16, width=16)
