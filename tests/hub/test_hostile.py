"""Files made to harm: each ends in one clear error, soon, in little memory, and nothing of it is executed."""

import io
import os
import pickle
import random
import re
import resource
import shutil
import struct
import time
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from latentzoo import zoo
from latentzoo.errors import CheckpointError
from latentzoo.hub import archive
from latentzoo.hub.keys import Rule, translate
from latentzoo.hub.read import read

DATA = Path(__file__).parent / "data"
STATE = {"fc.weight": torch.ones(12, 4), "fc.bias": torch.zeros(12), "kernel": torch.ones(2, 2)}


@pytest.fixture
def refused(tmp_path):
    """Reads a file that must be refused, with 500 MB of memory and 20 seconds of work; gives the error's text."""

    def refused(path, *facts, reader=read):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        limits = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + 500 * 2**20, limits[1]))
        start = time.process_time()
        try:
            with pytest.raises(CheckpointError) as caught:
                reader(path)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, limits)
        text = str(caught.value)
        assert time.process_time() - start < 20
        assert str(path) in text and "\n" not in text and "MemoryError" not in text
        for fact in facts:
            assert re.search(fact, text), text
        assert not (tmp_path / "canary").exists()
        return text

    return refused


class Call:
    """An object whose unpickling calls a function."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


def calls(folder):
    """Calls that would leave a trace, by the name that must be reported."""
    canary = str(folder / "canary")
    python = f"open({canary!r}, 'w')"
    arguments = {
        "posix.system": (f"touch {canary}",),
        "nt.system": (f"touch {canary}",),
        "subprocess.Popen": (["touch", canary],),
        "builtins.eval": (python,),
        "builtins.exec": (python,),
        "builtins.__import__": ("antigravity",),
        "builtins.getattr": ("", "join"),
        "builtins.open": (canary, "w"),
        "io.open": (canary, "w"),
        "shutil.rmtree": (str(folder / "nothing"),),
        "pickle.loads": (b"\x80\x04N.",),
        "torch.load": (canary,),
        "torch.serialization.load": (canary,),
        "torch.hub.load": (canary, "model"),
        "torch.jit._serialization.load": (canary,),
        "numpy.load": (canary,),
        "operator.methodcaller": ("system", "true"),
        "functools.reduce": ((), ()),
        "latentzoo.zoo.load": ("x",),
        "__builtin__.eval": (python,),
    }
    return {name: Call(Name(*name.rsplit(".", 1)), *args) for name, args in arguments.items()}


class Name:
    """A name that is pickled as `GLOBAL` without existing here."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self):
        """Lets `pickle` take it for a function."""


class Pickler(pickle._Pickler):
    """The Python pickler, which can be taught to write any name."""

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Name):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
        else:
            super().save(obj, save_persistent_id)


def dumps(value):
    file = io.BytesIO()
    Pickler(file, 2).dump(value)
    return file.getvalue()


def torch_zip(path, pickled, **storages):
    """Writes an archive as torch does, with any pickle in it."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickled)
        file.writestr("archive/version", "3\n")
        for key, data in storages.items():
            file.writestr(f"archive/data/{key[1:]}", data)
    return path


NAMES = sorted(calls(Path("/")))


@pytest.mark.parametrize("name", NAMES)
def test_calls_in_nvidia_pickles(name, tmp_path, refused):
    good = pickle.dumps({"G_ema": None})
    evil = dumps({"G_ema": None, "D": calls(tmp_path)[name]})
    for i, data in enumerate((evil, good[:-1] + b"0" + evil[2:])):
        path = tmp_path / f"{i}.pkl"
        path.write_bytes(data)
        refused(path, re.escape(repr(name)), "nothing of it was executed")


@pytest.mark.parametrize("name", NAMES)
def test_calls_in_torch_files(name, tmp_path, refused):
    evil = dumps({**dict.fromkeys("ab"), "args": calls(tmp_path)[name]})
    refused(torch_zip(tmp_path / "a.pt", evil), re.escape(repr(name)))
    magic = b"".join(
        pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    )
    (tmp_path / "b.pt").write_bytes(magic + evil)
    refused(tmp_path / "b.pt", re.escape(repr(name)))


def test_a_name_is_refused_even_if_it_is_never_called(tmp_path, refused):
    (tmp_path / "a.pkl").write_bytes(dumps({"G_ema": Name("os", "system")}))
    refused(tmp_path / "a.pkl", "'os.system'")


def test_unknown_classes_are_refused_in_torch_files_and_inert_in_nvidia_pickles(tmp_path, refused):
    unknown = Call(Name("somebody.code", "Thing"), 1)
    path = torch_zip(tmp_path / "a.pt", dumps({"x": unknown}))
    refused(path, "'somebody.code.Thing'")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    (tmp_path / "a.pkl").write_bytes(dumps({"D": unknown}))
    refused(tmp_path / "a.pkl", "has no G_ema")


def test_names_cannot_forge_the_message(tmp_path, refused):
    (tmp_path / "a.pkl").write_bytes(dumps([Name("os", "x\x1b[2J" + "y" * 5000)]))
    assert len(refused(tmp_path / "a.pkl", r"\\x1b")) < 600


def test_torch_load_inside_of_a_storage(tmp_path, refused):
    """`torch.storage._load_from_bytes` of a stream that again calls it, or a system call."""
    magic = b"".join(
        pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    )
    load = Name("torch.storage", "_load_from_bytes")
    for i, inner in enumerate((Call(load, b"x"), calls(tmp_path)["posix.system"])):
        data = {"G_ema": Call(load, magic + dumps(inner))}
        (tmp_path / f"{i}.pkl").write_bytes(dumps(data))
        refused(tmp_path / f"{i}.pkl", "_load_from_bytes" if i == 0 else "posix.system")


FLOATS = ("storage", Name("torch", "FloatStorage"), "0", "cpu", 4)


def rebuilt(size, stride=(1,), offset=0, storage=None):
    """A tensor's declaration in a torch zip, on a storage of four floats."""
    return Declared(storage or FLOATS, offset, size, stride)


class Declared:
    def __init__(self, *parts):
        self.parts = parts


class Declaring(Pickler):
    def persistent_id(self, obj):
        return obj.reference if isinstance(obj, Reference) else None

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Declared):
            storage, *view = obj.parts
            rebuild = Name("torch._utils", "_rebuild_tensor_v2")
            return super().save(Call(rebuild, Reference(storage), *view, False, {}))
        return super().save(obj, save_persistent_id)


class Reference:
    def __init__(self, reference):
        self.reference = reference


def declare(path, tensor, data=bytes(16)):
    file = io.BytesIO()
    Declaring(file, 2).dump({"weight": tensor})
    return torch_zip(path, file.getvalue(), _0=data)


def test_a_sound_declaration_is_read(tmp_path):
    path = declare(tmp_path / "a.pt", rebuilt((2, 2), (2, 1)))
    assert read(path).tensors["weight"].tolist() == [[0, 0], [0, 0]]
    assert torch.equal(torch.load(path, weights_only=True)["weight"], torch.zeros(2, 2))


HUGE = {
    "shape": rebuilt((2**40,)),
    "shape by stride 0": rebuilt((2**40,), (0,)),
    "product": rebuilt((2**20, 2**20, 2**20), (1, 1, 1)),
    "stride": rebuilt((2,), (2**40,)),
    "offset": rebuilt((1,), (1,), 4),
    "negative size": rebuilt((-1,)),
    "negative stride": rebuilt((2,), (-1,)),
    "negative offset": rebuilt((1,), (1,), -1),
    "number of bits": rebuilt((2**100_000,)),
    "many dimensions": rebuilt((1,) * 10_000, (1,) * 10_000),
    "unlike stride": rebuilt((1, 1), (1,)),
    "float size": rebuilt((1.0,)),
    "text size": rebuilt("11"),
    "storage": rebuilt((1,), storage=(*FLOATS[:4], 2**40)),
    "negative storage": rebuilt((1,), storage=(*FLOATS[:4], -4)),
    "storage of bits": rebuilt((1,), storage=(*FLOATS[:4], 2**100_000)),
    "storage of objects": rebuilt((1,), storage=("storage", "os.system", "0", "cpu", 4)),
    "missing storage": rebuilt(
        (1,), storage=("storage", Name("torch", "FloatStorage"), "7", "cpu", 4)
    ),
    "storage elsewhere": rebuilt((1,), storage=(*FLOATS[:2], "../../0", "cpu", 4)),
}


@pytest.mark.parametrize("tensor", HUGE.values(), ids=HUGE)
def test_declarations_beyond_the_file(tensor, tmp_path, refused):
    refused(declare(tmp_path / "a.pt", tensor), "not a sound checkpoint")


def test_legacy_storages_beyond_the_file(tmp_path, refused):
    torch.save(STATE, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    data = bytearray((tmp_path / "a.pt").read_bytes())
    place = data.rindex(struct.pack("<q", 12))
    data[place : place + 8] = struct.pack("<q", 2**40)
    (tmp_path / "a.pt").write_bytes(data)
    refused(tmp_path / "a.pt", "elements is declared")


def test_safetensors_beyond_the_file(tmp_path, refused):
    for i, shape in enumerate(([2**40], [2**40, 2**40], [-1], [4])):
        header = (
            f'{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{4 * shape[0]}]}}}}'.encode()
        )
        (tmp_path / f"{i}.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
        refused(tmp_path / f"{i}.safetensors")
    (tmp_path / "header.safetensors").write_bytes(struct.pack("<Q", 2**40) + b"{" + b" " * 100)
    refused(tmp_path / "header.safetensors")


class TestArchives:
    """Zip bombs, and members that lead out."""

    def test_bomb(self, tmp_path, refused):
        with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("archive/data.pkl", bytes(2**27))
        refused(tmp_path / "a.pt", "do not trust it", "data.pkl")
        refused(
            tmp_path / "a.pt", "do not trust", reader=lambda path: archive.unpack(path, "data.pkl")
        )

    def test_compressed_members_are_not_torch(self, tmp_path, refused):
        with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("archive/data.pkl", os.urandom(500) + bytes(500))
        refused(tmp_path / "a.pt", "compressed")

    def test_declared_size_smaller_than_content(self, tmp_path, refused):
        with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("x.pt", bytes(2**22) + os.urandom(2**16))
        data = (tmp_path / "a.zip").read_bytes()
        size = struct.pack("<I", 2**22 + 2**16)
        (tmp_path / "a.zip").write_bytes(data.replace(size, struct.pack("<I", 1000)))
        refused(tmp_path / "a.zip", reader=lambda path: archive.unpack(path, "x.pt"))

    def test_overlapping_members(self, tmp_path, refused):
        path = torch_zip(tmp_path / "a.pt", b"\x80\x02N.", _0=bytes(100_000))
        data = path.read_bytes()
        end = data.rindex(b"PK\5\6")
        _, start = struct.unpack_from("<II", data, end + 12)
        entry = data[data.rindex(b"PK\1\2") : end]
        entries = data[start:end] + b"".join(
            entry.replace(b"data/0", b"data/%c" % c) for c in b"123456789"
        )
        count = struct.pack("<HH", 11, 11)
        path.write_bytes(
            data[:start]
            + entries
            + data[end : end + 8]
            + count
            + struct.pack("<II", len(entries), start)
            + b"\0\0"
        )
        refused(path, "overlap")

    def test_huge_directory(self, tmp_path, refused, monkeypatch):
        monkeypatch.setattr(archive, "DIRECTORY", 50)
        refused(torch_zip(tmp_path / "a.pt", b"\x80\x02N."), "directory")

    @pytest.mark.parametrize(
        "name", ["../../x.pt", "/x.pt", "a/../../x.pt", "..\\x.pt", "c:/x.pt"]
    )
    def test_members_that_lead_out(self, name, tmp_path, refused):
        for where in ("a.pt", "a.zip"):
            with zipfile.ZipFile(tmp_path / where, "w") as file:
                file.writestr(name, b"data")
                file.writestr("archive/data.pkl", b"\x80\x02N.")
        refused(tmp_path / "a.pt", "leads out of it")
        refused(tmp_path / "a.zip", "leads out", reader=lambda path: archive.unpack(path, name))
        assert {p.name for p in tmp_path.rglob("*")} <= {"a.pt", "a.zip"}

    def test_a_member_that_is_there_twice(self, tmp_path, refused):
        with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a.pt", "w") as file:
            warnings.simplefilter("ignore")
            for _ in range(2):
                file.writestr("archive/data.pkl", b"\x80\x02N.")
        refused(tmp_path / "a.pt", "twice")

    def test_unpack(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "models.zip", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("ldm/celeba/model.ckpt", b"weights" * 50)
            file.writestr("ldm/ffhq/model.ckpt", b"others")
        path = archive.unpack(tmp_path / "models.zip", "celeba/model.ckpt")
        assert path.read_bytes() == b"weights" * 50 and path.name.endswith("model.ckpt")
        assert (
            archive.unpack(tmp_path / "models.zip", "ldm/celeba/model.ckpt").read_bytes()
            == path.read_bytes()
        )
        with pytest.raises(CheckpointError, match="no single member"):
            archive.unpack(tmp_path / "models.zip", "model.ckpt")


def files(folder):
    """A sound file of each container."""
    torch.save(STATE, folder / "zip.pt")
    torch.save(STATE, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    save_file(STATE, folder / "safe.safetensors")
    shutil.copy(DATA / "stylegan2_ada.pkl", folder / "nvidia.pkl")
    return sorted(p for p in folder.iterdir() if p.is_file())


def test_truncated_files(tmp_path, refused):
    for path in files(tmp_path):
        data = path.read_bytes()
        for share in (0.03, 0.97):
            path.write_bytes(data[: int(len(data) * share)])
            refused(path)
        path.write_bytes(data[:-1])
        refused(path)


def test_flipped_bits_end_in_an_error_or_in_the_same_structure(tmp_path):
    """Archives have checksums; elsewhere a flipped bit of a number cannot be seen (the card's sha256 sees it)."""
    chance = random.Random(0)
    for path in files(tmp_path):
        data, sound = path.read_bytes(), read(path).tensors
        for _ in range(20 if path.suffix != ".pkl" else 3):
            place = chance.randrange(len(data))
            flipped = bytearray(data)
            flipped[place] ^= 1 << chance.randrange(8)
            path.write_bytes(flipped)
            try:
                found = read(path).tensors
            except CheckpointError as error:
                assert str(path) in str(error) and "\n" not in str(error)
            else:
                if path.name == "zip.pt":
                    assert all(torch.equal(found[k], v) for k, v in sound.items() if k in found)


def test_every_flipped_bit_of_the_numbers_in_an_archive_is_seen(tmp_path, refused):
    torch.save(STATE, tmp_path / "a.pt")
    data = bytearray((tmp_path / "a.pt").read_bytes())
    place = data.index(struct.pack("<ff", 1, 1))
    data[place] ^= 1
    (tmp_path / "a.pt").write_bytes(data)
    refused(tmp_path / "a.pt", "damaged", "data/0")


def test_cyclic_and_endless_records(tmp_path, refused):
    cycle = {"a": 1}
    cycle["self"] = [cycle]
    torch.save({"state_dict": STATE, "args": cycle}, tmp_path / "cycle.pt")
    refused(tmp_path / "cycle.pt", r"'args.self.0' contains itself")
    torch.save({"state_dict": cycle | {"w": torch.ones(1)}}, tmp_path / "state.pt")
    cycle["again"] = cycle
    torch.save({"state_dict": cycle, "w": torch.ones(1)}, tmp_path / "again.pt")
    refused(tmp_path / "again.pt", "contains itself")
    laughs = ["lol"]
    for _ in range(60):
        laughs = [laughs, laughs]
    torch.save({"state_dict": STATE, "args": laughs}, tmp_path / "laughs.pt")
    refused(tmp_path / "laughs.pt", "beyond all reason")
    nested = {"w": torch.ones(1)}
    for _ in range(40):
        nested = {"a": nested, "b": nested}
    torch.save(nested, tmp_path / "nested.pt")
    refused(tmp_path / "nested.pt", "beyond all reason")
    deep = b"\x80\x02" + b"}X\x01\x00\x00\x00a" * 50_000 + b"N" + b"s" * 50_000 + b"."
    refused(torch_zip(tmp_path / "deep.pt", deep))
    tower = b"\x80\x02" + b"(" * 50_000 + b"t" * 50_000 + b"."
    refused(torch_zip(tmp_path / "tower.pt", tower))


def test_cyclic_modules(tmp_path, refused):
    build = (
        b"\x80\x04X\x05\x00\x00\x00G_ema\x94ctorch.nn.modules\nLinear\n)\x81\x94"
        b"}X\x0b\x00\x00\x00_parameters}sX\x08\x00\x00\x00_modules}X\x01\x00\x00\x00ah\x01ssb\x94"
        b"}h\x00h\x01s."
    )
    (tmp_path / "a.pkl").write_bytes(build)
    refused(tmp_path / "a.pkl", "'a' contains itself")


class TestTensors:
    """A sound file whose tensors are not those of the network; the tensor is named."""

    @pytest.fixture
    def attempt(self, toy, tmp_path, refused):
        def attempt(*facts, **options):
            save_file(toy, tmp_path / "a.safetensors")
            refused(
                tmp_path / "a.safetensors", *facts, reader=lambda path: zoo.load(path, **options)
            )

        return attempt

    def test_missing(self, toy, attempt):
        del toy["fc.bias"]
        attempt(r"lacks 1 tensors \(linear.bias\)")

    def test_surplus(self, toy, attempt):
        toy["fc.extra"] = torch.ones(1)
        attempt(r"surplus 1 tensors \(linear.extra\)")

    def test_unknown(self, toy, attempt):
        toy["head.weight"] = torch.ones(1)
        attempt(r"no rule for 1 tensors \(head.weight\)")

    def test_shape(self, toy, attempt):
        toy["fc.bias"] = torch.ones(13)
        attempt(r"'linear.bias' has the shape \(13,\) and the network \(12,\)")

    def test_two_of_one_name(self):
        rules = [Rule("fc.{x}", "linear.{x}"), Rule("old.{x}", "linear.{x}")]
        with pytest.raises(CheckpointError, match="both map to 'linear\\.bias'"):
            translate({"fc.bias": torch.ones(1), "old.bias": torch.ones(1)}, rules)

    def test_type(self, toy, attempt):
        toy["fc.bias"] = torch.ones(12, dtype=torch.int64)
        attempt("'linear.bias' holds torch.int64")

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
    def test_not_finite(self, value, toy, attempt):
        toy["fc.weight"][3, 2] = value
        attempt("'linear.weight' holds NaN or infinite")

    def test_family(self, toy, attempt):
        toy["other.weight"] = toy.pop("fc.weight")
        attempt("of no family that is known", "other.weight")
        attempt("is not of the family 'toy'", family="toy")
