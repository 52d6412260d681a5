"""Arrays of numpy in the place of tensors, and beside them."""

import pickle
import re
import zipfile

import numpy as np
import pytest
import torch

from latentzoo.errors import CheckpointError
from latentzoo.hub.read import read

RNG = np.random.default_rng(0)
PLAIN = [
    *("<f4", ">f4", "<f8", "<f2", "<i8", ">i2", "u1"),
    pytest.param("?", id="bool"),
]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_and_their_order(kind, order, protocol, tmp_path):
    values = (100 * RNG.normal(size=(3, 4, 2))).astype(kind)
    values = np.asarray(values, order=order)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"w": values, "none": values[:0]}, protocol))
    torch.save({"w": values}, tmp_path / "a.pt", pickle_protocol=max(protocol, 2))
    for name in ("a.pkl", "a.pt"):
        found = read(tmp_path / name).tensors["w"]
        assert np.array_equal(found.numpy(), values) and found.shape == (3, 4, 2)


def test_beside_tensors_an_array_is_a_record(tmp_path):
    beside = {
        "fid": np.array([3.0, 2.5]),
        "names": np.array(["a", "b"]),
        "nested": {"x": np.ones(2)},
    }
    torch.save({"g_ema": {"w": torch.ones(2)}, **beside}, tmp_path / "a.pt")
    found = read(tmp_path / "a.pt")
    assert list(found.tensors) == ["w"] and found.records["fid"] == [3.0, 2.5]
    assert "names" not in found.records


def test_the_optimiser_has_tensors_and_the_weights_are_arrays(tmp_path):
    file = {"optim": {"m": torch.ones(3)}, "g_ema": {"w": np.ones(2, np.float32)}}
    torch.save(file, tmp_path / "a.pt")
    assert torch.equal(read(tmp_path / "a.pt").tensors["w"], torch.ones(2))


def refused(path, *facts):
    with pytest.raises(CheckpointError) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 600
    assert all(re.search(fact, text) for fact in facts), text


@pytest.mark.parametrize("values", [np.array([None, 1]), np.array(["a"]), np.zeros(2, "f4,i4")])
def test_arrays_of_what_are_no_numbers(values, tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"w": values}, 4))
    refused(tmp_path / "a.pkl", "no G_ema or ema that is a network|which no checkpoint needs")
    np.savez(tmp_path / "a.npz", w=values)
    refused(tmp_path / "a.npz", "no plain number")


def test_more_declared_than_there_is(tmp_path):
    class Short:
        def __reduce__(self):
            function, args, state = np.ones(2, np.float32).__reduce__()
            return function, args, (1, (3,), *state[2:])

    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"w": Short()}, 4))
    refused(tmp_path / "a.pkl", "not a sound checkpoint", "reshape")


def test_archives_of_arrays_that_cannot_be_meant(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, w=np.zeros(2**21, np.float32))  # 8 MB from 8 KB
    refused(path, "as weights never do")
    np.savez(path, w=np.ones(4, np.float32))
    with zipfile.ZipFile(path) as file:
        record = file.read("w.npy")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("w.npy", record[:-4])
    refused(path, "declared on 12 bytes")
