"""LoRAs: the map is the pipeline's with the same adapters, frozen, and nothing of a file is skipped in silence."""

import shutil

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

import latentzoo as lz
from latentzoo.errors import CheckpointError, SpecError
from latentzoo.record import places, spec
from latentzoo.rng import Rng

CALL = {"num_inference_steps": 2, "height": 16, "width": 16, "prompt": tiny.PROMPT}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a tiny SDXL, and a LoRA's file."""
    peft = pytest.importorskip("peft")
    folder = tmp_path_factory.mktemp("lora")
    pipe = tiny.MADE["StableDiffusionXLPipeline"]()
    pipe.save_pretrained(folder / "sdxl")
    settings = {"r": 2, "lora_alpha": 4, "target_modules": ["to_q", "to_v"]}
    pipe.unet.add_adapter(peft.LoraConfig(**settings, init_lora_weights=False), "a")
    tensors = {
        f"unet.{name.replace('.a.', '.')}": x.detach().clone()
        for name, x in pipe.unet.named_parameters()
        if "lora_" in name
    }
    save_file(tensors, folder / "lora.safetensors", {"format": "pt"})
    return folder / "sdxl", folder / "lora.safetensors"


def picture(folder, **options):
    generator = lz.load(folder, **CALL, **options)
    assert not any(p.requires_grad for p in generator.parameters())
    return generator(Rng(1).normal(generator.space.dim))


def test_the_map_is_the_pipelines_own_with_the_same_adapters(made):
    folder, file = made
    pipe = tiny.D.StableDiffusionXLPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(file, adapter_name="hat")
    pipe.set_adapters(["hat"], [0.5])
    theirs = lz.load(pipe, **CALL)(Rng(1).normal(256))
    ours = picture(folder, lora={"path": str(file), "name": "hat", "weight": 0.5})
    assert torch.equal(ours, theirs)
    assert not torch.allclose(ours, picture(folder), atol=1e-4)


def test_weights_add(made):
    folder, file = made
    both = [{"path": str(file), "weight": 0.5}, {"path": str(file), "name": "b", "weight": -0.5}]
    torch.testing.assert_close(picture(folder, lora=both), picture(folder), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop(next(iter(t))), "lora_A.lora0.weight is missing"),
        (lambda t: t.update({"unet.none.to_q.lora_A.weight": torch.ones(2, 2)}), "no LoRA of"),
        (lambda t: [t.pop(k) for k in [*t]] and t.update(x=torch.ones(1)), "no LoRA of"),
        (lambda t: t.update({k: x[:, :1].clone() for k, x in t.items()}), "no LoRA of"),
    ],
    ids=["missing", "surplus", "of something else", "of another shape"],
)
def test_a_tensor_that_is_not_the_networks_is_an_error(made, tmp_path, change, words):
    folder, file = made
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, tmp_path / "bad.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=words) as caught:
        picture(folder, lora=str(tmp_path / "bad.safetensors"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lora", "error", "words"),
    [
        ("nowhere.safetensors", CheckpointError, "no such LoRA"),
        ({"name": "x"}, SpecError, "not readable"),
        ({"path": "FILE", "weigth": 1.0}, SpecError, "not readable"),
        ({"path": "FILE", "weight": "much"}, SpecError, "not readable"),
        ({"path": "FILE", "weight": float("nan")}, SpecError, "not readable"),
        ({"path": "FILE", "weight": float("inf")}, SpecError, "not readable"),
        ("", SpecError, "not readable"),
        ({"path": None}, SpecError, "not readable"),
        ({"path": "FILE", "name": "hat.v2"}, SpecError, "name 'hat.v2' is no name of a part"),
        ({"path": "FILE", "name": " "}, SpecError, "name ' ' is no name of a part"),
        ({"path": "FILE", "name": None}, SpecError, "name None is no name of a part"),
        ({"path": "FILE", "name": 3}, SpecError, "name 3 is no name of a part"),
        ([{"path": "FILE", "name": "a"}] * 2, SpecError, "two LoRAs are called a, a"),
    ],
)
def test_what_is_not_readable_is_one_line(made, lora, error, words):
    folder, file = made
    put = lambda x: {k: str(file) if v == "FILE" else v for k, v in x.items()}
    lora = [put(x) for x in lora] if isinstance(lora, list) else lora
    with pytest.raises(error, match=words) as caught:
        picture(folder, lora=put(lora) if isinstance(lora, dict) else lora)
    assert "\n" not in str(caught.value)


def test_a_folder_of_several_is_not_guessed_at(made, tmp_path):
    folder, file = made
    for name in ("a", "b"):
        shutil.copy(file, tmp_path / f"{name}.safetensors")
    with pytest.raises(CheckpointError, match=r"several LoRAs, a\.safetensors, b\.safetensors"):
        picture(folder, lora=str(tmp_path))


def test_the_record_has_whole_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.safetensors", "b.png"):
        (tmp_path / name).write_bytes(b"")
    options = {"lora": [{"path": "a.safetensors", "name": "a"}], "image": "b.png", "prompt": "b"}
    run = places.located(spec.Run(generator="x", options=options))
    assert run.options == {
        "lora": [{"path": str(tmp_path / "a.safetensors"), "name": "a"}],
        "image": str(tmp_path / "b.png"),
        "prompt": "b",
    }
    assert [place for place, _ in places.named(run)][1:] == [
        "options.lora.0.path",
        "options.image",
    ]
