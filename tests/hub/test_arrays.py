"""Arrays of numpy in the place of tensors, and beside them."""

import pickle
import re
import zipfile

import numpy as np
import pytest
import torch

from latentzoo import zoo
from latentzoo.errors import Assumption, CheckpointError
from latentzoo.hub.read import read

RNG = np.random.default_rng(0)
PLAIN = [
    *("<f4", ">f4", "<f8", "<f2", "<i8", ">i2", "u1"),
    pytest.param("?", id="bool"),
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_and_their_order(kind, order, protocol, tmp_path):
    values = (100 * RNG.normal(size=(3, 4, 2))).astype(kind)
    values = np.asarray(values, order=order)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"w": values, "none": values[:0]}, protocol))
    torch.save({"w": values}, tmp_path / "a.pt", pickle_protocol=max(protocol, 1))
    np.savez(tmp_path / "a.npz", w=values)
    for name in ("a.pkl", "a.pt", "a.npz"):
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
    refused(tmp_path / "a.npz", r"none of its arrays holds plain numbers \(w\)")


OTHERS = {"text": np.array("resnet"), "names": np.array(["a", "b"]), "half": np.zeros(2, "V2")}


def test_what_is_no_number_among_arrays_is_left_aside_and_named(toy, tmp_path):
    numbers = {name: tensor.numpy() for name, tensor in toy.items()}
    np.savez(tmp_path / "a.npz", **numbers, **OTHERS, objects=np.array({"a": 1}, dtype=object))
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(numbers | OTHERS, 2))
    for name, also in (("a.npz", ", objects"), ("a.pkl", "")):
        with pytest.warns(Assumption, match=rf": left aside: .* \(text, names, half{also}\)$"):
            loaded = zoo.load(tmp_path / name)
        said = f"arrays without plain numbers are no weights (text, names, half{also})"
        assert loaded.assumed == {"left aside": said}  # and so in check, show and the record
        assert zoo.described(tmp_path / name)["assumed"] == loaded.assumed
        assert torch.equal(loaded.linear.weight, toy["fc.weight"])


def test_a_record_of_that_name_is_no_sentence(toy, tmp_path):
    torch.save({"g_ema": toy, "left aside": {"a": 1}}, tmp_path / "a.pt")
    assert read(tmp_path / "a.pt").aside == {}


PYTHON2 = {
    0: (
        rb"(dp0\nS'w'\np1\ncnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\nS'b'\np5\ntp6\nRp7\n"
        rb"(I1\n(I4\ntp8\ncnumpy\ndtype\np9\n(S'f4'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\nI-1\nI0\ntp14\nb"
        rb"I00\nS'%s'\np15\ntp16\nbs."
    ).replace(rb"\n", b"\n"),
    2: (
        b"\x80\x02}q\x00U\x01wq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85q\x04U\x01b"
        b"q\x05\x87q\x06Rq\x07(K\x01K\x04\x85q\x08cnumpy\ndtype\nq\tU\x02f4q\nK\x00K\x01\x87q\x0bRq\x0c(K\x03U\x01<q\r"
        b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb\x89U\x10%sq\x0ftq\x10bs."
    ),
}
"""{"w": array of four numbers} as Python 2 pickled it, the numbers' bytes at %s."""


@pytest.mark.parametrize("protocol", PYTHON2)
def test_arrays_that_python_2_pickled(protocol, tmp_path):
    values = -1.7 * np.arange(4, dtype="<f4")
    written = "".join(f"\\x{b:02x}" for b in values.tobytes()).encode()
    data = PYTHON2[protocol] % (values.tobytes() if protocol else written)
    assert np.array_equal(pickle.loads(data, encoding="latin1")["w"], values)
    (tmp_path / "a.pkl").write_bytes(data)
    assert np.array_equal(read(tmp_path / "a.pkl").tensors["w"], values)


NAMELESS = [np.ones(2), [np.ones(2), np.ones(3)], (np.ones(2),), {"params": [np.ones(2)], "n": 3}]


@pytest.mark.parametrize("root", NAMELESS)
@pytest.mark.parametrize("torch_too", [False, True])
def test_weights_without_names(root, torch_too, tmp_path):
    if torch_too:
        tensors = torch.utils._pytree.tree_map_only(np.ndarray, torch.as_tensor, root)
        torch.save(tensors, tmp_path / "a.pkl")
    else:
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(root, 4))
    refused(tmp_path / "a.pkl", "its weights have no names; save the network's state dict")


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
