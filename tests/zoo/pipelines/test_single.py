"""All networks in one file, and a folder with settings and tokenizers: the same map, and every tensor is there."""

import original
import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

import latentzoo as lz
from latentzoo.errors import LatentzooError, MissingExtra
from latentzoo.rng import Rng
from latentzoo.zoo.pipelines import files

CALL = {"num_inference_steps": 2, "height": 16, "width": 16, "prompt": tiny.PROMPT}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A pipeline, its file, and its folder without weights."""
    pytest.importorskip("accelerate")
    folder = tmp_path_factory.mktemp("single")
    pipe = tiny.MADE["StableDiffusionPipeline"]()
    pipe.save_pretrained(folder / "settings")
    for path in (folder / "settings").rglob("*.safetensors"):
        path.unlink()
    original.write(pipe, folder / "model.safetensors")
    return pipe, folder / "model.safetensors", folder / "settings"


def test_the_map_is_that_of_the_pipeline(made):
    pipe, file, settings = made
    ours, theirs = lz.load(file, config=str(settings), **CALL), lz.load(pipe, **CALL)
    z = Rng(1).normal(theirs.space.dim)
    assert torch.equal(ours(z), theirs(z))
    scheduled = lz.load(file, config=str(settings), scheduler="DDIMScheduler", **CALL)
    assert type(scheduled.call.pipe.scheduler).__name__ == "DDIMScheduler"


@pytest.mark.parametrize(
    "part", ["model.diffusion_model.out.2", "first_stage_model.decoder", "cond_stage_model"]
)
def test_a_lost_tensor_is_an_error(made, tmp_path, part):
    _, file, settings = made
    tensors = load_file(file)
    tensors.pop(next(k for k in tensors if k.startswith(part) and k.endswith("bias")))
    save_file(tensors, tmp_path / "lost.safetensors", {"format": "pt"})
    with pytest.raises(LatentzooError) as caught:
        lz.load(tmp_path / "lost.safetensors", config=str(settings), **CALL)
    assert "\n" not in str(caught.value)


def test_one_file_needs_what_finds_lost_tensors(made, monkeypatch):
    _, file, settings = made
    monkeypatch.setattr(files, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="accelerate"):
        lz.load(file, config=str(settings), **CALL)


def test_settings_are_a_pipelines_folder(made, tmp_path):
    _, file, _ = made
    with pytest.raises(LatentzooError, match=r"there is no model_index\.json"):
        lz.load(file, config=str(tmp_path), **CALL)
    with pytest.raises(LatentzooError) as caught:
        lz.load(file, **CALL)
    assert "config" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("model.ckpt", {}, r"model\.ckpt: pickled weights; give use_safetensors=false"),
        ("model.safetensors", {"variant": "fp16"}, "there is no variant; leave variant out"),
        ("model.safetensors", {}, r"model\.safetensors: cannot be loaded"),
    ],
)
def test_the_file_is_blamed_for_what_is_its_fault(made, tmp_path, name, more, words):
    _, _, settings = made
    (tmp_path / name).write_bytes(b"GGUF")
    with pytest.raises(LatentzooError, match=words) as caught:
        lz.load(tmp_path / name, config=str(settings), **more, **CALL)
    assert "\n" not in str(caught.value)
