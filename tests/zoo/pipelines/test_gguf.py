"""A denoiser of a GGUF file: the map of the same numbers, with a right gradient (needs the extra gguf)."""

import json
import shutil

import pytest
import tiny
import torch
from torch import nn

import latentzoo as lz
from latentzoo.errors import CheckpointError, LatentzooError, MissingExtra
from latentzoo.rng import Rng
from latentzoo.zoo.pipelines import files, gguf
from laws import obey

ABOUT = tiny.MADE["FluxPipeline"]
CALL = {**ABOUT.call, "prompt": tiny.PROMPT}


def write(network, path, *, without=None, more=None):
    """Writes a network as GGUF, matrices in eight bits; the numbers that it has then, by diffusers in 16 bits."""
    library = pytest.importorskip("gguf")
    eight = library.GGMLQuantizationType.Q8_0
    writer, kept = library.GGUFWriter(path, "flux"), {}
    for name, value in {**network.state_dict(), **(more or {})}.items():
        x = value.numpy()
        packed = x.ndim == 2 and x.shape[1] % 32 == 0
        data = library.quants.quantize(x, eight) if packed else x
        if name != without:
            writer.add_tensor(name, data, raw_dtype=eight if packed else None)
        numbers = library.quants.dequantize(data, eight).astype("float16") if packed else x
        kept[name] = torch.from_numpy(numbers.astype("float32"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return kept


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A pipeline with numbers of eight bits, the file of its transformer, and the folder of the rest."""
    folder = tmp_path_factory.mktemp("gguf")
    pipe = ABOUT()
    pipe.save_pretrained(folder / "rest")
    shutil.rmtree(folder / "rest" / "transformer")
    pipe.transformer.save_config(folder / "rest" / "transformer")
    pipe.transformer.load_state_dict(write(pipe.transformer, folder / "model.gguf"))
    return pipe, folder / "model.gguf", folder / "rest"


def test_the_map_is_that_of_its_numbers(made):
    pipe, file, rest = made
    ours, theirs = lz.load(file, config=str(rest), **CALL), lz.load(pipe, **CALL)
    held = [p.dtype for p in ours.parameters() if hasattr(p, "quant_type")]
    assert held and set(held) == {torch.uint8}, "the weights did not stay in eight bits"
    z = Rng(1, 2).normal(theirs.space.dim)
    with torch.no_grad():
        torch.testing.assert_close(ours(z), theirs(z), atol=1e-5, rtol=0)
    obey(ours)


def test_a_lost_tensor_is_an_error(made, tmp_path):
    pipe, _, rest = made
    write(pipe.transformer, file := tmp_path / "lost.gguf", without="proj_out.bias")
    with pytest.raises(CheckpointError, match="is it complete") as caught:
        lz.load(file, config=str(rest), **CALL)
    assert "\n" not in str(caught.value)


def test_a_lost_tensor_is_an_error_of_diffusers_too(tmp_path):
    """Of Qwen-Image, whose file diffusers does not convert: no tensor is left without numbers."""
    network = tiny.MADE["QwenImagePipeline"]().transformer
    network.save_config(tmp_path)
    write(network, file := tmp_path / "lost.gguf", without="proj_out.bias")
    with pytest.raises((RuntimeError, LookupError)):
        gguf.network(type(network), file, tmp_path, torch.float32)


def test_a_surplus_tensor_is_an_error(tmp_path):
    """Of Qwen-Image, whose file diffusers does not convert."""
    network = tiny.MADE["QwenImagePipeline"]().transformer
    network.save_config(tmp_path)
    alien = {"alien.bias": torch.ones(3), "alien.weight": torch.ones(3)}
    write(network, file := tmp_path / "surplus.gguf", more=alien)
    with pytest.raises(CheckpointError, match=r"it has the surplus alien\.bias; is it") as caught:
        gguf.network(type(network), file, tmp_path, torch.float32)
    assert "\n" not in str(caught.value)


def test_only_its_own_layers_follow_a_move():
    """The layers of other libraries of few bits have a type of that name too, and are the user's."""
    pytest.importorskip("gguf")
    from diffusers.quantizers.gguf.utils import GGUFLinear

    ours, theirs = GGUFLinear(2, 2, compute_dtype=torch.float32), nn.Linear(2, 2)
    theirs.compute_dtype = torch.float32
    gguf.follow([nn.Sequential(ours, theirs).double()])
    assert (ours.compute_dtype, theirs.compute_dtype) == (torch.float64, torch.float32)


def test_the_package_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(gguf, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"a GGUF file needs the package 'gguf'"):
        gguf.network(tiny.D.FluxTransformer2DModel, tmp_path, tmp_path, torch.float32)


def test_a_pipeline_without_a_denoiser(tmp_path):
    index = {"_class_name": "UnCLIPPipeline", "vae": ["diffusers", "AutoencoderKL"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(LatentzooError, match="has no transformer and no U-Net"):
        files.pipeline(tmp_path, file=tmp_path / "model.gguf")
