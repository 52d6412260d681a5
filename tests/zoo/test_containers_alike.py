"""The tensors of every family's official file, kept in whatever way a program keeps them: the same map."""

import pickle

import numpy as np
import official
import pytest
import torch
from safetensors.torch import save_file

from latentzoo import zoo
from latentzoo.hub.read import read


def as_arrays(tensors):
    return {name: tensor.numpy() for name, tensor in tensors.items()}


WAYS = {
    "safetensors": lambda path, tensors: save_file(tensors, path),
    "torch": lambda path, tensors: torch.save({"g_ema": tensors, "epoch": 3}, path),
    "torch of arrays": lambda path, tensors: torch.save({"g_ema": as_arrays(tensors)}, path),
    "pickle 3": lambda path, tensors: path.write_bytes(pickle.dumps(tensors, 3)),
    "pickle 4 of arrays": lambda path, tensors: path.write_bytes(
        pickle.dumps({"G_ema": as_arrays(tensors)}, 4)
    ),
    "pickle 5 of arrays": lambda path, tensors: path.write_bytes(
        pickle.dumps(as_arrays(tensors), 5)
    ),
    "savez.npz": lambda path, tensors: np.savez(path, **as_arrays(tensors)),
    "savez_compressed.npz": lambda path, tensors: np.savez_compressed(path, **as_arrays(tensors)),
}


@pytest.mark.parametrize("name", official.FILES)
def test_one_state_dict_is_one_map_in_whatever_container(name, tmp_path):
    family, write, options = official.FILES[name]
    tensors = {k: v.clone().contiguous() for k, v in read(write(tmp_path)).tensors.items()}
    maps = {}
    for way, save in WAYS.items():
        path = tmp_path / way.replace(" ", "-")
        save(path, tensors)
        maps[way] = zoo.load(path, family=family, **options)
    first = maps["safetensors"]
    for way, other in maps.items():
        assert other.configuration == first.configuration, way
        assert other.size == first.size and other.space == first.space, way
        pairs = zip(other.state_dict().items(), first.state_dict().items(), strict=True)
        assert all(n == m and torch.equal(a, b) for (n, a), (m, b) in pairs), way


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_is_written_over_leaves_the_loaded_map_as_it_is(way, tmp_path):
    family, write, options = official.FILES["stylegan2"]
    tensors = {k: v.clone().contiguous() for k, v in read(write(tmp_path)).tensors.items()}
    path, other = tmp_path / "file.npz", tmp_path / "other.npz"
    WAYS[way](path, tensors)
    WAYS[way](other, {name: tensor + 1 for name, tensor in tensors.items()})
    generator = zoo.load(path, family=family, **options)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    with path.open("r+b") as file:  # in its place: the same file, other bytes
        file.write(other.read_bytes())
    assert all(torch.equal(t, before[name]) for name, t in generator.state_dict().items())
    path.write_bytes(b"")  # pages that are gone would end the process
    assert all(torch.equal(t, before[name]) for name, t in generator.state_dict().items())
