"""A denoiser of a GGUF file: the map of the same numbers, with a right gradient (needs the extra gguf)."""

import inspect
import json
import shutil

import numpy as np
import packed
import pytest
import tiny
import torch
from torch import nn

import latentzoo as lz
from latentzoo.errors import CheckpointError, LatentzooError, MissingExtra, SpecError
from latentzoo.rng import Rng
from latentzoo.zoo.pipelines import files, gguf
from laws import obey

ABOUT = tiny.MADE["FluxPipeline"]
CALL = {**ABOUT.call, "prompt": tiny.PROMPT}


def saved(pipe, folder, kind="Q8_0", names=dict):
    """A pipeline with the numbers that its transformer has in few bits; that file, and the folder of the rest."""
    pipe.save_pretrained(folder / "rest")
    shutil.rmtree(folder / "rest" / "transformer")
    pipe.transformer.save_config(folder / "rest" / "transformer")
    numbers = packed.write(pipe.transformer.state_dict(), folder / "model.gguf", kind, names=names)
    pipe.transformer.load_state_dict(numbers)
    return pipe, folder / "model.gguf", folder / "rest"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A pipeline with numbers of eight bits, the file of its transformer, and the folder of the rest."""
    return saved(ABOUT(), tmp_path_factory.mktemp("gguf"))


def test_the_map_is_that_of_its_numbers(made):
    pipe, file, rest = made
    ours, theirs = lz.load(file, config=str(rest), **CALL), lz.load(pipe, **CALL)
    held = [p.dtype for p in ours.parameters() if hasattr(p, "quant_type")]
    assert held and set(held) == {torch.uint8}, "the weights did not stay in eight bits"
    z = Rng(1, 2).normal(theirs.space.dim)
    with torch.no_grad():
        torch.testing.assert_close(ours(z), theirs(z), atol=1e-5, rtol=0)
    obey(ours)


def wide():
    """FLUX whose matrices have whole blocks of 256 numbers."""
    parts = ABOUT.build()
    config = parts["transformer"].config
    wider = {"attention_head_dim": 128, "num_attention_heads": 2, "axes_dims_rope": (16, 56, 56)}
    return {**parts, "transformer": tiny.D.FluxTransformer2DModel.from_config(config, **wider)}


@pytest.mark.parametrize("kind", packed.KINDS)
def test_each_kind_of_few_bits(kind, tmp_path):
    about = tiny.Tiny(wide, ABOUT.call, {}, "FluxPipeline")
    pipe, file, rest = saved(about(), tmp_path, kind)
    ours, theirs = lz.load(file, config=str(rest), **CALL), lz.load(pipe, **CALL)
    held = {p.quant_type.name for p in ours.parameters() if hasattr(p, "quant_type")}
    assert held == {kind}
    z = Rng(1, 2).normal(theirs.space.dim)
    x, y = z.clone().requires_grad_(), z.clone().requires_grad_()
    torch.testing.assert_close(ours(x), theirs(y), atol=1e-3, rtol=0)  # numbers of 16 bits
    gradients = (
        torch.autograd.grad(ours(x).sum(), x)[0],
        torch.autograd.grad(theirs(y).sum(), y)[0],
    )
    torch.testing.assert_close(*gradients, atol=2e-2 * float(gradients[1].abs().max()), rtol=0)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("QwenImagePipeline", dict),
        ("ZImagePipeline", packed.z_image),
        ("StableDiffusion3Pipeline", packed.sd3),
    ],
)
def test_other_denoisers_by_the_names_of_their_own_files(name, names, tmp_path):
    about = tiny.MADE[name]
    pipe, file, rest = saved(about(), tmp_path, names=names)
    call = {**about.call, "prompt": tiny.PROMPT}
    ours, theirs = lz.load(file, config=str(rest), **call), lz.load(pipe, **call)
    assert any(hasattr(p, "quant_type") for p in ours.parameters())
    z = Rng(1, 2).normal(theirs.space.dim)
    with torch.no_grad():
        torch.testing.assert_close(ours(z), theirs(z), atol=1e-4, rtol=0)


def test_a_lost_tensor_is_an_error(made, tmp_path):
    pipe, _, rest = made
    packed.write(
        pipe.transformer.state_dict(), file := tmp_path / "lost.gguf", without="proj_out.bias"
    )
    with pytest.raises(CheckpointError, match="is it complete") as caught:
        lz.load(file, config=str(rest), **CALL)
    assert "\n" not in str(caught.value)


def test_a_lost_tensor_is_an_error_of_diffusers_too(tmp_path):
    """Of Qwen-Image, whose file diffusers does not convert: no tensor is left without numbers."""
    network = tiny.MADE["QwenImagePipeline"]().transformer
    network.save_config(tmp_path)
    packed.write(network.state_dict(), file := tmp_path / "lost.gguf", without="proj_out.bias")
    with pytest.raises(CheckpointError, match="is it complete") as caught:
        gguf.network(type(network), file, tmp_path, torch.float32)
    assert "\n" not in str(caught.value)


def test_a_surplus_tensor_is_an_error(tmp_path):
    """Of Qwen-Image, whose file diffusers does not convert."""
    network = tiny.MADE["QwenImagePipeline"]().transformer
    network.save_config(tmp_path)
    alien = {"alien.bias": torch.ones(3), "alien.weight": torch.ones(3)}
    packed.write(network.state_dict() | alien, file := tmp_path / "surplus.gguf")
    with pytest.raises(CheckpointError, match=r"it has the surplus alien\.bias; is it") as caught:
        gguf.network(type(network), file, tmp_path, torch.float32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "words"),
    [("IQ2_XXS", "kind IQ2_XXS, which diffusers does not read"), ("TQ2_0", "of the kind TQ2_0")],
)
def test_bits_that_diffusers_does_not_read(kind, words, tmp_path):
    library = pytest.importorskip("gguf")
    how = library.GGMLQuantizationType[kind]
    size, bytes_ = library.GGML_QUANT_SIZES[how]
    writer = library.GGUFWriter(tmp_path / "x.gguf", "flux")
    writer.add_tensor("a.weight", np.zeros((2, 512 // size * bytes_), np.uint8), raw_dtype=how)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(CheckpointError, match=words) as caught:
        gguf.network(tiny.D.FluxTransformer2DModel, tmp_path / "x.gguf", tmp_path, torch.float32)
    assert "\n" not in str(caught.value)


def test_what_is_no_whole_file(made, tmp_path):
    (tmp_path / "cut.gguf").write_bytes(made[1].read_bytes()[:20000])
    (tmp_path / "text.gguf").write_text("no file of weights")
    for name in ("cut.gguf", "text.gguf"):
        with pytest.raises(CheckpointError, match="it is no whole GGUF file; is it complete"):
            lz.load(tmp_path / name, config=str(made[2]), **CALL)


@pytest.mark.parametrize("name", ["PixArtTransformer2DModel", "OvisImageTransformer2DModel"])
def test_a_class_of_which_diffusers_reads_no_file(name, tmp_path):
    pytest.importorskip("gguf")
    with pytest.raises(SpecError, match=f"{name} is not read from one file by diffusers"):
        gguf.network(getattr(tiny.D, name), tmp_path / "x.gguf", tmp_path, torch.float32)


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
    parts = inspect.signature(tiny.D.UnCLIPPipeline.__init__).parameters.keys() - {"self"}
    index = {
        "_class_name": "UnCLIPPipeline",
        **{key: ["diffusers", "AutoencoderKL"] for key in parts},
    }
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(LatentzooError, match="has no transformer and no U-Net"):
        files.pipeline(tmp_path, file=tmp_path / "model.gguf")
