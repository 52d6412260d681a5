"""Folders in diffusers' layout: what is read is whole and safe, and the map is the pipeline's."""

import json
import shutil
from contextlib import ExitStack

import pytest
import tiny
import torch
from every import ALL
from safetensors.torch import load_file, save_file
from test_pipelines import takes_text

import latentzoo as lz
from latentzoo.errors import CheckpointError, MissingExtra, SpecError, UnknownName
from latentzoo.rng import Rng
from latentzoo.zoo import pipelines
from latentzoo.zoo.pipelines import files, readme
from latentzoo.zoo.pipelines.quiet import quiet

CALL = {"num_inference_steps": 2, "height": 16, "width": 16}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a tiny SDXL."""
    folder = tmp_path_factory.mktemp("sdxl") / "tiny"
    tiny.MADE["StableDiffusionXLPipeline"]().save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: openrail++\n---\n# Tiny\n")
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of the folder, to harm."""
    return shutil.copytree(whole, tmp_path / "tiny")


def load(folder, **options):
    return lz.load(folder, **{"prompt": tiny.PROMPT, **CALL, **options})


def test_a_folder_is_its_pipeline(whole):
    generator = load(whole, guidance_scale=3.0)
    pipe = tiny.MADE["StableDiffusionXLPipeline"]()
    same = lz.load(pipe, prompt=tiny.PROMPT, guidance_scale=3.0, **CALL)
    z = Rng(1, 2).normal(generator.space.dim)
    torch.testing.assert_close(generator(z), same(z), atol=1e-6, rtol=1e-5)
    assert not any(p.requires_grad for p in generator.parameters())


def test_a_map_can_be_made_where_gradients_are_off(whole):
    with torch.no_grad():
        generator = load(whole)
    z = Rng(1).normal(generator.space.dim).requires_grad_()
    assert torch.autograd.grad(generator(z).sum(), z)[0].abs().max() > 0


def test_a_readme_declares_the_usual_options(folder):
    (folder / "README.md").write_text("---\nlatentzoo: {num_inference_steps: 3}\n---\n# Tiny\n")
    asked = {key: value for key, value in CALL.items() if key != "num_inference_steps"}
    usual = lz.load(folder, prompt=tiny.PROMPT, **asked)
    z = Rng(1).normal(usual.space.dim)
    three, two = load(folder, num_inference_steps=3), load(folder)
    torch.testing.assert_close(usual(z), three(z), atol=0, rtol=0)
    none = lz.load(folder, prompt=tiny.PROMPT, timesteps=None, **asked)
    assert torch.equal(none(z), three(z)), "times that are not given say nothing of their number"
    assert (two(z) - three(z)).abs().max() > 1e-4


@pytest.mark.parametrize("said", ["3", "[num_inference_steps]", "two steps"])
def test_a_readme_whose_options_are_no_table_is_not_passed_over(tmp_path, said):
    (tmp_path / "README.md").write_text(f"---\nlatentzoo: {said}\n---\n# Tiny\n")
    with pytest.raises(CheckpointError, match=r"README.md: latentzoo: .* is no table of options"):
        readme.usual(tmp_path)


def test_nothing_is_printed(whole, capfd):
    load(whole)
    assert capfd.readouterr() == ("", "")


def test_what_is_known_without_loading(whole):
    known = pipelines.about(whole)
    assert known["pipeline"] == "StableDiffusionXLPipeline" and known["licence"] == "openrail++"
    assert known["unet"] == "diffusers.UNet2DConditionModel"
    assert "num_inference_steps" in known["options"]
    assert not {"latents", "kwargs", "output_type"} & {*known["options"].split(", ")}


def test_half_precision_decodes_in_32_bits(whole):
    z = Rng(1).normal(load(whole).space.dim)
    half = load(whole, dtype=torch.float16)
    assert half.nets["vae"].dtype == torch.float32 and half.nets["unet"].dtype == torch.float16
    assert half.half().nets["vae"].dtype == torch.float32
    x = z.clone().requires_grad_()
    image = half(x)
    (gradient,) = torch.autograd.grad(image.float().sum(), x)
    assert gradient.isfinite().all() and gradient.any()
    torch.testing.assert_close(image.float(), load(whole)(z), atol=2e-2, rtol=0)


def change(folder, harm):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    harm(tensors)
    save_file(tensors, path, {"format": "pt"})


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (lambda t: t.pop("conv_in.weight"), "lack conv_in.weight"),
        (lambda t: t.update(more=torch.zeros(1)), "surplus more"),
        (lambda t: t.update({"conv_in.bias": torch.zeros(3)}), "conv_in.bias"),
    ],
)
def test_a_tensor_that_is_not_the_networks_is_an_error(folder, harm, word):
    change(folder, harm)
    with pytest.raises(CheckpointError, match=word) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_a_text_encoder_is_held_to_the_same(folder):
    path = folder / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    tensors.pop(next(k for k in tensors if "layers.1.mlp.fc1.weight" in k))
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lack .*layers\.1\.mlp\.fc1\.weight"):
        load(folder)


def index(folder, **entries):
    path = folder / "model_index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


@pytest.mark.parametrize(
    "entries",
    [
        {"_class_name": ["pipeline", "Mine"]},
        {"unet": ["unet", "MyUNet"]},
        {"unet": ["my_package.networks", "MyUNet"]},
    ],
)
def test_code_of_a_folder_never_runs(folder, entries):
    (folder / "pipeline.py").write_text("raise SystemExit('ran')")
    (folder / "unet" / "unet.py").write_text("raise SystemExit('ran')")
    index(folder, **entries)
    with pytest.raises(CheckpointError, match="code of its own"):
        load(folder)


def test_an_unknown_pipeline_class_is_named(folder):
    index(folder, _class_name="StableDifusionPipeline")
    with pytest.raises(UnknownName, match="did you mean 'StableDiffusionPipeline'"):
        load(folder)


def test_a_folder_without_a_model_index(folder):
    (folder / "model_index.json").unlink()
    with pytest.raises(CheckpointError, match=r"there is no model_index\.json"):
        load(folder)


def test_pickles_are_read_only_when_asked_for(folder):
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()
    with pytest.raises(CheckpointError, match="use_safetensors=false"):
        load(folder)
    z = Rng(1).normal(256)
    assert load(folder, use_safetensors=False)(z).isfinite().all()


def test_another_scheduler_by_class_and_settings(whole):
    kind = {"class": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing"}
    generator = load(whole, scheduler=kind)
    assert generator.call.pipe.scheduler.config.timestep_spacing == "trailing"
    assert generator.space.blocks == {"start": (4, 8, 8), "noise": (1, 4, 8, 8)}
    with pytest.raises(UnknownName, match="timestep_spacing"):
        load(whole, scheduler={**kind, "timestep_spcing": "trailing"})
    with pytest.raises(UnknownName, match="scheduler"):
        load(whole, scheduler="EulerAncestralScheduler")
    with pytest.raises(SpecError, match="Brownian"):
        load(whole, scheduler="DPMSolverSDEScheduler")


def test_a_lora_needs_its_package(whole, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(MissingExtra, match=r"latentzoo\[lora\]"):
        load(whole, lora="lora.safetensors")


def test_a_variant_is_read_where_it_is(whole, folder):
    with pytest.raises(
        CheckpointError, match="no weights of the variant 'fp16'; leave variant out"
    ):
        load(whole, variant="fp16")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".fp16.safetensors"))
    with pytest.raises(CheckpointError, match="variant fp16 only; give variant=fp16"):
        load(folder)
    z = Rng(1).normal(256)
    assert torch.equal(load(folder, variant="fp16")(z), load(whole)(z))
    with pytest.raises(CheckpointError, match="'fp61'; give variant=fp16"):
        load(folder, variant="fp61")


def test_what_is_downloaded_is_looked_at_first(folder, tmp_path, monkeypatch):
    index(folder, _class_name="WanPipeline")
    asked = []
    monkeypatch.setattr("latentzoo.hub.fetch.fetch", lambda url, **_: folder / pipelines.INDEX)
    monkeypatch.setattr(
        tiny.D.DiffusionPipeline, "download", lambda *_, **how: asked.append(how) or str(tmp_path)
    )
    with pytest.raises(SpecError, match="WanPipeline makes videos"):
        pipelines.find("owner/video")
    assert not asked
    index(folder, _class_name="StableDiffusionXLPipeline")
    assert pipelines.find("owner/pictures", variant="fp16") == tmp_path
    assert asked[0]["variant"] == "fp16"


def test_log_lines_about_errors_are_not_shown_beside_the_error(capfd):
    with quiet():
        tiny.D.logging.get_logger("diffusers.x").error("once")
    assert capfd.readouterr() == ("", "")


def test_a_pipeline_needs_a_prompt(whole):
    with pytest.raises(SpecError, match="needs a prompt"):
        lz.load(whole, **CALL)


@pytest.mark.parametrize(
    ("name", "library", "part"),
    [
        ("StableCascadeDecoderPipeline", "wuerstchen", "vqgan"),
        ("PaintByExamplePipeline", "paint_by_example", "image_encoder"),
    ],
)
def test_parts_that_diffusers_has_moved_away_are_found(name, library, part, tmp_path):
    """Repositories name them by pipelines that have retired since, and diffusers itself reads them no more."""
    about = ALL[name]
    pipe = about()
    pipe.save_pretrained(tmp_path)
    path = tmp_path / "model_index.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps(index | {part: [library, index[part][1]]}))
    prompt = {"prompt": tiny.PROMPT} if takes_text(pipe) else {}
    loaded, given = (lz.load(x, **about.call, **prompt) for x in (tmp_path, pipe))
    z = Rng(1).normal(given.space.dim)
    with torch.no_grad():
        torch.testing.assert_close(loaded(z), given(z), atol=1e-4, rtol=0)
    assert not hasattr(tiny.D.pipelines, library)


def test_of_two_loads_the_first_to_end_takes_nothing_from_the_second():
    index = {"vqgan": ("wuerstchen", "PaellaVQModel")}
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(files.at_home(index))
        second.enter_context(files.at_home(index))
        first.close()
        assert hasattr(tiny.D.pipelines, "wuerstchen")
    assert not hasattr(tiny.D.pipelines, "wuerstchen")


def test_two_numbers_in_a_model_index_are_a_setting(tmp_path):
    """As Krea 2 has them, which says there which layers of its text encoder it reads."""
    index = {"_class_name": "Krea2Pipeline", "text_encoder_select_layers": [1, 2]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    assert files.describe(tmp_path)[1] == {}


def test_every_scheduler_is_found_where_diffusers_says_that_it_is():
    """Of a retired one it writes the folder for its library, where it has no such class."""
    kinds = [getattr(tiny.D, name) for name in dir(tiny.D) if name.endswith("Scheduler")]
    kinds = [kind for kind in kinds if not hasattr(kind, "_backends")]
    for kind in kinds:
        library, name = tiny.D.pipelines.pipeline_loading_utils._fetch_class_library_tuple(kind)
        assert files._class(files._where(library, name), name) is kind
    assert len(kinds) > 40


def test_a_retired_scheduler_in_a_folder(tmp_path):
    pipe = ALL["KarrasVePipeline"]()
    pipe.save_pretrained(tmp_path / "karras")
    generator = lz.load(tmp_path / "karras", num_inference_steps=3)
    same = lz.load(pipe, num_inference_steps=3)
    z = Rng(1, 2).normal(generator.space.dim)
    wanted = same(z)
    assert (generator(z) - wanted).abs().max() < 1e-5 * wanted.abs().max()
