"""Every container is read as torch or the official code would, and nothing in it is executed."""

import argparse
import json
import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType

import check
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from latentzoo.errors import CheckpointError
from latentzoo.hub import cache
from latentzoo.hub.read import read

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def nvidia():
    """The two official-format pickles: by pickle and by dill."""
    return {arch: read(DATA / f"{arch}.pkl") for arch in ("stylegan2_ada", "stylegan_xl")}


@pytest.mark.parametrize("arch", ["stylegan2_ada", "stylegan_xl"])
def test_nvidia_pickles_give_the_official_tensors_in_order(arch, nvidia):
    expected = json.loads((DATA / f"{arch}.json").read_text())
    checkpoint = nvidia[arch]
    assert checkpoint.container == "nvidia"
    assert list(checkpoint.tensors) == [entry["key"] for entry in expected["state"]]
    for entry in expected["state"]:
        tensor = checkpoint.tensors[entry["key"]]
        assert (
            list(tensor.shape) == entry["shape"] and str(tensor.dtype) == f"torch.{entry['dtype']}"
        )
        if entry["fill"]:
            assert torch.equal(tensor, check.fill(entry, expected["salt"])), entry["key"]
    json.dumps(checkpoint.records)


def test_nvidia_records(nvidia):
    records = nvidia["stylegan_xl"].records
    modules = records["modules"]
    assert modules[""]["class"] == "SuperresGenerator" and modules["mapping"]["z_dim"] == 6
    assert modules["synthesis"]["layer_names"][4:6] == ["L5_36_6", "L6_52_3"]
    layer = modules["synthesis.L0_36_6"]
    assert (
        layer["in_size"] == [36, 36]
        and layer["padding"] == [9, 8, 9, 8]
        and layer["up_factor"] == 2
    )
    assert modules["synthesis.input"]["bandwidth"] == 2.0
    assert modules["mapping.embed"]["num_embeddings"] == 12
    ada = nvidia["stylegan2_ada"].records["modules"]
    assert ada[""]["_init_kwargs"]["synthesis_kwargs"]["conv_clamp"] == 256
    assert ada["synthesis.b4.conv1.affine"]["weight_gain"] == pytest.approx(8**-0.5)


@pytest.fixture
def network():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(4, 4))


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def save(request, tmp_path):
    """Saves as torch does, in either format; gives the path."""

    def save(value):
        torch.save(value, tmp_path / "file.pt", _use_new_zipfile_serialization=request.param)
        return tmp_path / "file.pt"

    return save


def same(ours, theirs):
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype and torch.equal(ours[name], tensor), name


def test_state_dict(save, network):
    same(read(save(network.state_dict())).tensors, network.state_dict())


def test_every_type_and_layout(save):
    base = torch.arange(60.0).view(5, 12)
    kinds = (
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int32,
        torch.int16,
        torch.uint8,
    )
    state = {str(kind): base.to(kind) for kind in kinds}
    state |= {
        "bool": base > 7,
        "turned": base.t(),
        "part": base[1:4, ::3],
        "last": base.view(-1)[59],
    }
    state |= {
        "none": torch.empty(0, 3),
        "parameter": nn.Parameter(torch.ones(2)),
        "complex": base + 1j,
    }
    path = save(state)
    loaded = torch.load(path, weights_only=True)
    ours = read(path).tensors
    same(ours, loaded)
    assert ours["turned"].stride() == loaded["turned"].stride()


def test_tensors_are_views_of_the_file(save, network):
    ours = read(save({"a": torch.ones(1000), "b": [torch.ones(3)]})).tensors
    assert list(ours) == ["a"]
    ours["a"][0] = 5  # a private page: the file stays as it is
    assert torch.equal(read(save({"a": torch.ones(1000)})).tensors["a"], torch.ones(1000))


def test_training_files_give_the_averaged_weights_and_plain_records(save, network):
    state = network.state_dict()
    averaged = OrderedDict((name, value + 1) for name, value in state.items())
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.randn(1, 3, 6, 6)).sum().backward()
    optimizer.step()
    options = argparse.Namespace(z_dim=3, path="out", sizes=[1, 2])
    whole = {"g": state, "g_ema": averaged, "latent_avg": torch.ones(4), "step": torch.tensor(3)}
    whole |= {"args": options, "g_optim": optimizer.state_dict(), "cur_itr": 7}
    found = read(save(whole))
    same(found.tensors, averaged | {"latent_avg": torch.ones(4)})
    assert found.records == {"args": {"z_dim": 3, "path": "out", "sizes": [1, 2]}, "cur_itr": 7}


def test_lightning_files(save, network, monkeypatch):
    package, module = ModuleType("pytorch_lightning"), ModuleType("pytorch_lightning.callbacks")
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})
    with monkeypatch.context() as patch:
        for m in (package, module):
            patch.setitem(sys.modules, m.__name__, m)
        state = {"best_model_score": torch.tensor(0.5), "monitor": "fid"}
        whole = {"epoch": 3, "state_dict": network.state_dict(), "lr_schedulers": []}
        path = save(whole | {"callbacks": {module.ModelCheckpoint: state}, "note": "x"})
    found = read(path)
    same(found.tensors, network.state_dict())
    assert found.records == {"epoch": 3, "lr_schedulers": [], "note": "x"}


def test_nested_dictionaries_are_joined_with_dots(save):
    found = read(
        save(
            {
                "encoder": {"a": torch.ones(1), "deep": {"b": torch.zeros(2)}},
                "c": torch.ones(3),
                "n": 1,
            }
        )
    )
    assert list(found.tensors) == ["encoder.a", "encoder.deep.b", "c"] and found.records == {
        "n": 1
    }


def test_holders_inside_of_holders(save, network):
    same(
        read(save({"model": {"state_dict": network.state_dict(), "x": 1}})).tensors,
        network.state_dict(),
    )


def test_safetensors(tmp_path, network):
    save_file(network.state_dict(), tmp_path / "a.safetensors", {"format": "pt"})
    found = read(tmp_path / "a.safetensors")
    assert found.container == "safetensors" and found.records == {"format": "pt"}
    for name, tensor in network.state_dict().items():
        assert torch.equal(found.tensors[name], tensor)


class TestFolders:
    """config.json beside weights, whole, in parts, and as a pipeline."""

    state = {"a": torch.ones(2), "b": torch.zeros(3)}

    def test_one_model(self, tmp_path):
        (tmp_path / "config.json").write_text('{"z_dim": 8}')
        torch.save(self.state, tmp_path / "pytorch_model.bin")
        found = read(tmp_path)
        same(found.tensors, self.state)
        assert found.container == "folder" and found.records == {"config": {"z_dim": 8}}

    def test_safetensors_go_before_pickles(self, tmp_path):
        (tmp_path / "pytorch_model.bin").write_bytes(b"not read")
        save_file(self.state, tmp_path / "model.safetensors")
        assert set(read(tmp_path).tensors) == {"a", "b"}

    def test_parts(self, tmp_path):
        index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
        for i, name in enumerate("ab", 1):
            save_file({name: self.state[name]}, tmp_path / f"model-{i}.safetensors")
        assert set(read(tmp_path).tensors) == {"a", "b"}

    def test_pipeline(self, tmp_path):
        (tmp_path / "model_index.json").write_text('{"_class_name": "DDPMPipeline"}')
        for part, settings in {
            "unet": "config.json",
            "scheduler": "scheduler_config.json",
        }.items():
            (tmp_path / part).mkdir()
            (tmp_path / part / settings).write_text('{"steps": 5}')
        save_file(self.state, tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
        found = read(tmp_path)
        assert set(found.tensors) == {"unet.a", "unet.b"}
        assert found.records["scheduler"] == {"steps": 5} and "unet" in found.records

    def test_only_what_the_index_names(self, tmp_path):
        """As a training leaves it: averages and checkpoints beside the network."""
        index = '{"_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"]}'
        (tmp_path / "model_index.json").write_text(index)
        for name in ("unet", "unet_ema", "checkpoint-500"):
            (tmp_path / name).mkdir()
            save_file(self.state, tmp_path / name / "diffusion_pytorch_model.safetensors")
        assert set(read(tmp_path).tensors) == {"unet.a", "unet.b"}

    @pytest.mark.parametrize("ending", ["safetensors", "bin"])
    @pytest.mark.parametrize("split", [False, True])
    def test_variants(self, tmp_path, ending, split):
        stem, save = "diffusion_pytorch_model", save_file if ending != "bin" else torch.save
        if split:
            names = {k: f"{stem}.fp16-0000{i}-of-00002.{ending}" for i, k in enumerate("ab", 1)}
            index = tmp_path / f"{stem}.{ending}.index.fp16.json"
            index.write_text(json.dumps({"weight_map": names}))
            for key, name in names.items():
                save({key: self.state[key]}, tmp_path / name)
        else:
            save(self.state, tmp_path / f"{stem}.fp16.{ending}")
        assert set(read(tmp_path).tensors) == {"a", "b"}
        save(self.state, tmp_path / f"{stem}.non_ema.{ending}")
        with pytest.raises(CheckpointError, match=r"has the variants (?=.*fp16).*non_ema"):
            read(tmp_path)
        save({"whole": torch.ones(1)}, tmp_path / f"{stem}.{ending}")
        assert set(read(tmp_path).tensors) == {"whole"}

    def test_the_hash_is_of_the_files_that_are_read(self, tmp_path):
        """Folders of the hub are shared: other programs add a text, a variant, another component."""
        (tmp_path / "config.json").write_text('{"z_dim": 8}')
        save_file(self.state, tmp_path / "model.safetensors")
        before = cache.sha256(tmp_path)
        (tmp_path / "README.md").write_text("words")
        save_file(self.state, tmp_path / "model.fp16.safetensors")
        assert cache.sha256(tmp_path) == before
        save_file({"a": torch.zeros(2), "b": torch.zeros(3)}, tmp_path / "model.safetensors")
        assert cache.sha256(tmp_path) != before

    def test_a_folder_without_its_weights_has_no_hash(self, tmp_path):
        (tmp_path / "config.json").write_text('{"z_dim": 8}')
        with pytest.raises(CheckpointError, match="without weights"):
            cache.sha256(tmp_path)

    @pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "..", "a\\b", 5])
    def test_an_index_cannot_lead_out(self, tmp_path, name):
        (tmp_path / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {"a": name}})
        )
        with pytest.raises(CheckpointError, match="leads out of the folder"):
            read(tmp_path)

    def test_empty(self, tmp_path):
        with pytest.raises(CheckpointError, match="without weights"):
            read(tmp_path)


STRANGERS = {
    "web page": (b"<!DOCTYPE html><html>", "web page"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "Git LFS"),
    "gzip": (b"\x1f\x8b\x08\x00", "gzip"),
    "hdf5": (b"\x89HDF\r\n\x1a\n", "HDF5"),
    "text": (b"hello", "neither"),
    "empty": (b"", "is empty; download it again"),
    "gguf": (b"GGUF\x03\0\0\0", "config=FOLDER"),
    "words in brackets": (b"(and so on", "neither"),
    "a pickled list": (pickle.dumps([1, 2, 3]), "no dictionary of networks"),
    "no generator": (pickle.dumps({"D": None}), "has no G_ema"),
}


@pytest.mark.parametrize(("data", "fact"), STRANGERS.values(), ids=STRANGERS)
def test_strangers_are_named(tmp_path, data, fact):
    (tmp_path / "x.pkl").write_bytes(data)
    with pytest.raises(CheckpointError, match=fact) as caught:
        read(tmp_path / "x.pkl")
    assert str(tmp_path / "x.pkl") in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        read(tmp_path / "x.pt")


def test_a_state_of_training_says_which_of_its_folders_to_give(tmp_path):
    inner = tmp_path / "checkpoint-500" / "unet"
    inner.mkdir(parents=True)
    (inner / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=f"without weights .*; give {inner}"):
        read(tmp_path / "checkpoint-500")
    (tmp_path / "none").mkdir()
    with pytest.raises(CheckpointError, match="give the file itself"):
        read(tmp_path / "none")
