"""All tensors that `torch.load(weights_only=True)` admits are read, with its numbers, and nothing is executed."""

import pickle
import warnings
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latentzoo.errors import CheckpointError
from latentzoo.hub.fit import fit
from latentzoo.hub.keys import Rule, translate
from latentzoo.hub.read import read
from latentzoo.hub.storage import DTYPES

NORMAL = torch.randn(4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
COMPLEX = torch.complex(NORMAL, NORMAL.flip(0))


STORED = {*DTYPES.values(), torch.quint8, torch.qint8}


def attributed(tensor):
    tensor.is_expert = True
    return tensor


def quiet(make):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()


def block():
    return torch.block_diag(torch.ones(2, 2), torch.eye(2))


TENSORS = {
    "plain": lambda: NORMAL,
    "number": lambda: torch.tensor(3.5),
    "none": lambda: NORMAL[:0],
    "turned": lambda: NORMAL.T,
    "window": lambda: NORMAL[1:3, ::2],
    "parameter": lambda: nn.Parameter(NORMAL),
    "parameter with attributes": lambda: attributed(nn.Parameter(NORMAL)),
    "tensor with attributes": lambda: attributed(NORMAL.clone()),
    "float8 with attributes": lambda: attributed(NORMAL.to(torch.float8_e5m2)),
    "expanded": lambda: torch.ones(3).expand(50, 3),
    "overlapping": lambda: torch.arange(10.0).unfold(0, 4, 1),
    "conj": lambda: COMPLEX.conj(),
    "neg": lambda: COMPLEX.conj().imag,
    "neg of a window": lambda: COMPLEX.conj().imag[1:, ::2],
    "conj and neg": lambda: torch._neg_view(COMPLEX.conj()),
    "coo": lambda: block().to_sparse(),
    "csr": lambda: quiet(lambda: block().to_sparse_csr()),
    "csc": lambda: quiet(lambda: block().to_sparse_csc()),
    "bsr": lambda: quiet(lambda: block().to_sparse_bsr((2, 2))),
    "bsc": lambda: quiet(lambda: block().to_sparse_bsc((2, 2))),
    "meta": lambda: NORMAL.to("meta"),
    "quantised": lambda: quiet(
        lambda: torch.quantize_per_tensor(NORMAL.float(), 0.1, 7, torch.quint8)
    ),
    "quantised by channel": lambda: quiet(
        lambda: torch.quantize_per_channel(
            NORMAL.float(), torch.rand(6) + 0.1, torch.arange(6), 1, torch.qint8
        )
    ),
    "nested": lambda: quiet(lambda: torch.nested.nested_tensor([NORMAL[0, :2], NORMAL[1]])),
    **{
        f"{dtype}": lambda dtype=dtype: (NORMAL.abs() * 5).to(dtype)
        for dtype in (
            *(torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64),
            *(torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16),
            *(torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2),
            *(torch.float8_e5m2fnuz, torch.float8_e8m0fnu, torch.complex64, torch.complex128),
        )
    },
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("make", TENSORS.values(), ids=TENSORS)
def test_every_tensor_is_that_of_torch(make, zipped, tmp_path):
    path = tmp_path / "a.pt"
    quiet(
        lambda: torch.save({"w": make(), "b": NORMAL}, path, _use_new_zipfile_serialization=zipped)
    )
    theirs = quiet(make).detach()
    if zipped or (theirs.dtype in STORED and not theirs.is_nested):  # torch cannot read the others
        theirs = quiet(lambda: torch.load(path, weights_only=True))["w"].detach()
    found = read(path).tensors
    assert list(found) == ["w", "b"] and torch.equal(found["b"], NORMAL)
    ours = found["w"]
    assert ours.layout == theirs.layout and ours.device == theirs.device
    if theirs.is_nested:
        pieces = zip(ours.unbind(), theirs.unbind(), strict=True)
        assert all(torch.equal(a, b) for a, b in pieces)
        return
    theirs = theirs.dequantize() if theirs.is_quantized else theirs
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    if not theirs.is_meta:
        dense = [t if t.layout == torch.strided else t.to_dense() for t in (ours, theirs)]
        wide = torch.complex128 if theirs.is_complex() else torch.float64
        assert torch.equal(*(t.resolve_conj().resolve_neg().to(wide) for t in dense))


def reverse(path, size):
    """Writes a file of torch as a big-endian machine does, with one type of numbers of so many bytes each."""
    with zipfile.ZipFile(path) as file:
        members = {info.filename: file.read(info) for info in file.infolist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            if name.endswith("/byteorder"):
                data = b"big"
            elif "/data/" in name:
                data = np.frombuffer(data, np.uint8).reshape(-1, size)[:, ::-1].tobytes()
            file.writestr(name, data)


WIDTHS = {
    **{torch.float64: 8, torch.float32: 4, torch.bfloat16: 2, torch.float8_e5m2: 1, torch.bool: 1},
    **{torch.int64: 8, torch.int16: 2, torch.complex64: 4, torch.complex128: 8, torch.uint16: 2},
}


@pytest.mark.parametrize(("dtype", "size"), WIDTHS.items(), ids=str)
def test_numbers_of_a_big_endian_machine(dtype, size, tmp_path):
    values = COMPLEX if dtype.is_complex else NORMAL.abs()
    torch.save({"w": (9 * values).to(dtype).T}, tmp_path / "a.pt")
    plain = torch.load(tmp_path / "a.pt")["w"]
    reverse(tmp_path / "a.pt", size)
    if dtype != torch.uint16:  # which torch 2.13 reads without turning the bytes
        assert torch.equal(torch.load(tmp_path / "a.pt")["w"], plain)
    wide = torch.complex128 if dtype.is_complex else torch.float64
    assert torch.equal(read(tmp_path / "a.pt").tensors["w"].to(wide), plain.to(wide))


def test_a_legacy_file_has_the_same_numbers_wherever_it_was_written(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"w": NORMAL}, path, _use_new_zipfile_serialization=False)
    head, flag, rest = path.read_bytes().partition(b"little_endianq\x02\x88")
    path.write_bytes(head + flag[:-1] + b"\x89" + rest)
    assert torch.equal(torch.load(path)["w"], NORMAL) and flag
    assert torch.equal(read(path).tensors["w"], NORMAL)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_files_of_protocol_1(zipped, tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"w": NORMAL}, path, pickle_protocol=1, _use_new_zipfile_serialization=zipped)
    assert torch.equal(read(path).tensors["w"], NORMAL)


@pytest.mark.parametrize("protocol", [0, 1])
@pytest.mark.parametrize("of", [dict, OrderedDict])
def test_tensors_that_were_pickled_without_torch(of, protocol, tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(of(w=NORMAL), protocol))
    assert torch.equal(read(tmp_path / "a.pkl").tensors["w"], NORMAL)


VALUES = {
    "counter": Counter("abca"),
    "dtype": torch.float8_e4m3fn,
    "complex": 1 + 2j,
    "bytearray": bytearray(b"abc"),
    "size": torch.Size([2, 3]),
    "device": torch.device("cpu"),
    "layout": torch.sparse_coo,
    "set": {1, 2},
    "ordered": OrderedDict(a=1),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_values_beside_the_weights(value, tmp_path):
    torch.save({"w": NORMAL, "beside": value}, tmp_path / "a.pt")
    found = read(tmp_path / "a.pt")
    assert list(found.tensors) == ["w"]
    known = {"counter": {"a": 2, "b": 1, "c": 1}, "complex": [1.0, 2.0], "size": [2, 3]}
    for name, plain in known.items():
        if value == VALUES[name]:
            assert found.records["beside"] == plain


@pytest.mark.parametrize("damage", [False, True])
def test_files_without_checksums(damage, tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"w": NORMAL}, path)
    whole = path.read_bytes()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"w": NORMAL}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read(path).tensors["w"], NORMAL)
    if damage:  # where there are sums, they are still compared
        place = whole.index(NORMAL.numpy().tobytes())
        path.write_bytes(whole[:place] + b"\1" + whole[place + 1 :])
        with pytest.raises(CheckpointError, match="checksum"):
            read(path)


def test_the_endless_is_not_filled_in(tmp_path):
    """A sparse tensor of a few bytes whose dense form has 2^44 elements, and a row that is 2^40 rows."""
    sparse = torch.sparse_coo_tensor([[5], [7]], [1.0], (2**22, 2**22), check_invariants=True)
    torch.save({"weight": sparse}, tmp_path / "a.pt")
    network = nn.Linear(2, 2, bias=False)
    rules = [Rule("{x}", "{x}")]
    with pytest.raises(CheckpointError, match="shape"):
        fit(network, read(tmp_path / "a.pt").tensors, rules, source="a.pt")
    torch.save({"weight": torch.ones(1).expand(2**25)}, tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match="is declared on a storage of 1"):
        read(tmp_path / "b.pt")


@pytest.mark.parametrize("make", [Tensor.to_sparse, Tensor.to_sparse_csr])
def test_a_sparse_constant_is_compared_and_a_sparse_weight_rearranged(make):
    taps = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    same = lambda other: lambda value: torch.equal(value, other)
    rules = [Rule("taps", None, known=same(taps)), Rule("{x}", "{x}", "a b -> b a")]
    weight = torch.tensor([[1.0, 2.0], [0.0, 3.0]])
    file = {"taps": quiet(lambda: make(taps)), "weight": quiet(lambda: make(weight))}
    assert torch.equal(translate(file, rules)["weight"], weight.T)
    with pytest.raises(CheckpointError, match="not the constant"):
        translate({"taps": quiet(lambda: make(2 * taps))}, rules)
    endless = torch.sparse_coo_tensor([[5], [7]], [1.0], (2**22, 2**22), check_invariants=True)
    with pytest.raises(CheckpointError, match="stands for 17592186044416 numbers"):
        translate({"weight": endless}, rules)


FITTING = {
    "sparse": lambda w: w.to_sparse(),
    "quantised": lambda w: quiet(lambda: torch.quantize_per_tensor(w, 1.0, 0, torch.qint8)),
    "float8": lambda w: w.to(torch.float8_e4m3fn),
    "expanded": lambda w: w[:1].expand(3, 3),
    "uint16": None,
    "meta": None,
}


@pytest.mark.parametrize("kind", FITTING)
def test_networks_take_what_stands_for_their_numbers(kind, tmp_path):
    weight = torch.tensor([[1.0, 2.0, 0.0]]).repeat(3, 1)
    network = nn.Linear(3, 3, bias=False)
    make = FITTING[kind] or (lambda w: w.to("meta" if kind == "meta" else torch.uint16))
    quiet(lambda: torch.save({"weight": make(weight)}, tmp_path / "a.pt"))
    tensors = read(tmp_path / "a.pt").tensors
    if FITTING[kind] is None:
        words = "no numbers" if kind == "meta" else "holds torch.uint16"
        with pytest.raises(CheckpointError, match=words):
            fit(network, tensors, [Rule("{x}", "{x}")], source="a.pt")
    else:
        fit(network, tensors, [Rule("{x}", "{x}")], source="a.pt")
        assert torch.equal(network.weight, weight)
