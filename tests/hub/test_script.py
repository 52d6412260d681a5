"""Files of `torch.jit.save`, as OpenAI's CLIP comes: read without its code, and safe to read."""

import io
import pickle
import struct
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from latentzoo.errors import CheckpointError
from latentzoo.guides import text_image
from latentzoo.guides.clip import CLIP
from latentzoo.hub.read import read

SIZES = {"embed_dim": 8, "image_resolution": 16, "vision_patch_size": 8, "context_length": 6}
SIZES |= {"vision_layers": 2, "vision_width": 64, "vocab_size": 20}
SIZES |= {"transformer_width": 64, "transformer_heads": 1, "transformer_layers": 1}


class Official(CLIP):
    """A CLIP with the three numbers that OpenAI's files have besides."""

    def __init__(self) -> None:
        super().__init__(**SIZES)
        stream = torch.Generator().manual_seed(0)
        for value in self.parameters():
            value.data = 0.1 * torch.randn(value.shape, generator=stream)
        for name in ("context_length", "vocab_size"):
            self.register_buffer(name, torch.tensor(SIZES[name]))
        self.register_buffer("input_resolution", torch.tensor(16))

    def forward(self, pixels: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return self.encode_image(pixels) @ self.encode_text(tokens).T


@pytest.fixture(scope="module")
def network() -> Official:
    return Official().eval()


@pytest.fixture(scope="module")
def archive(network: Official, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `torch.jit.trace` and `torch.jit.save` make of it."""
    path = tmp_path_factory.mktemp("script") / "ViT-B-32.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = torch.zeros(1, 3, 16, 16), torch.arange(6)[None]
        torch.jit.save(torch.jit.trace(network, example, check_trace=False), path)
    return path


def test_the_tensors_are_those_of_the_official_state_dict(
    network: Official, archive: Path
) -> None:
    found, expected = read(archive), network.state_dict()
    assert found.container == "torch"
    assert set(found.tensors) == set(expected) | {"transformer.mask"}  # kept by TorchScript
    for name, value in expected.items():
        assert torch.equal(found.tensors[name], value), name
    assert found.records["training"] is False


def test_it_is_the_official_map(network: Official, archive: Path) -> None:
    loaded = text_image.load(str(archive))
    pixels = torch.linspace(-1, 1, 2 * 3 * 256).view(2, 3, 16, 16)
    torch.testing.assert_close(loaded.encode_image(pixels), network.encode_image(pixels))
    assert loaded.network.side == 16


class Scripted(nn.Module):
    """Half precision, typed lists and an attribute called as a training file's wrapping is."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Linear(3, 2).half()
        self.sizes: list[int] = [1, 2]
        self.names: dict[str, int] = {"a": 1}
        self.list = nn.ModuleList([nn.BatchNorm2d(2)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x) * self.sizes[0] * self.names["a"]


def test_scripted_modules_too(tmp_path: Path) -> None:
    module = Scripted()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module), tmp_path / "a.pt")
    found = read(tmp_path / "a.pt")
    expected = module.state_dict()
    assert set(found.tensors) == set(expected) and "model.weight" in expected
    assert all(torch.equal(found.tensors[name], value) for name, value in expected.items())
    assert found.tensors["model.weight"].dtype == torch.float16
    assert found.records["sizes"] == [1, 2] and found.records["names"] == {"a": 1}


def rewritten(archive: Path, path: Path, **members: bytes | None) -> Path:
    """The archive with some members exchanged, or left out."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            name = info.filename.split("/", 1)[1]
            data = members.get(name.replace(".", "_").replace("/", "_"), old.read(info))
            if data is not None:
                new.writestr(info.filename, data)
    return path


def module(*attributes: bytes) -> bytes:
    """A pickled module with attributes, each given as its name and value in opcodes."""
    return b"c__torch__.a\nModule\n)\x81}(" + b"".join(attributes) + b"ub"


def attribute(name: str, value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(name)) + name.encode() + value


TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu"
    b"J\x00\x00\x00\x40tQK\0J\x00\x00\x00\x40\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
)
DEEP = b"\x80\x02" + b"c__torch__.a\nModule\n)\x81}(X\1\0\0\0a" * 500 + b"K\1" + b"ub" * 500 + b"."
CYCLE = b"\x80\x02c__torch__.a\nModule\n)\x81q\0}(X\x01\0\0\0ah\0ub."
HOSTILE = {
    "a call": (b"\x80\x02cos\nsystem\n(X\x04\0\0\0truetR.", "'os.system'"),
    "a call in a module": (
        b"\x80\x02" + module(attribute("x", b"cbuiltins\neval\n(X\1\0\0\x001tR")) + b".",
        "'builtins.eval'",
    ),
    "torch's own loader": (b"\x80\x02ctorch.jit\nload\n(X\1\0\0\x00atR.", "'torch.jit.load'"),
    "a tensor beyond its storage": (
        b"\x80\x02" + module(attribute("w", TENSOR)) + b".",
        "not a sound checkpoint",
    ),
    "a module in itself": (CYCLE, "contains itself"),
    "a tower of modules": (DEEP, "beyond all reason|not a sound"),
    "a module without attributes": (b"\x80\x02c__torch__.a\nModule\n)\x81K\1b.", "no attributes"),
    "no module": (b"\x80\x02c__torch__.a\nModule\n.", "no dictionary"),
    "no end": (b"\x80\x02c__torch__.a\nModule\n)\x81", "not a sound"),
}


@pytest.mark.parametrize(("data", "fact"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_pickles(archive: Path, tmp_path: Path, data: bytes, fact: str) -> None:
    with pytest.raises(CheckpointError, match=fact) as caught:
        read(rewritten(archive, tmp_path / "a.pt", data_pkl=data))
    assert "\n" not in str(caught.value)


def test_its_code_is_never_looked_at(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        code = [n.split("/", 1)[1] for n in file.namelist() if "/code/" in n]
    garbage = {n.replace(".", "_").replace("/", "_"): b"import os; os.abort()" for n in code}
    path = rewritten(
        archive, tmp_path / "a.pt", **garbage, constants_pkl=b"\x80\x02cos\nabort\n)R."
    )
    assert code and set(read(path).tensors) == set(read(archive).tensors)


def test_damage_is_seen(archive: Path, tmp_path: Path) -> None:
    data, path = archive.read_bytes(), tmp_path / "a.pt"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError):
        read(path)
    with pytest.raises(CheckpointError, match="not a sound checkpoint"):
        read(rewritten(archive, path, data_0=None))
    flipped = bytearray(data)
    value = read(archive).tensors["visual.proj"].flatten()[0].item()
    flipped[data.index(struct.pack("<f", value))] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(CheckpointError, match="damaged"):
        read(path)


def test_modules_have_no_place_in_a_plain_torch_file(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as new:
        new.writestr("archive/version", "3")
        new.writestr("archive/data.pkl", b"\x80\x02" + module(attribute("x", b"K\1")) + b".")
    (tmp_path / "a.pt").write_bytes(file.getvalue())
    with pytest.raises(CheckpointError, match=r"'__torch__.a.Module'"):
        read(tmp_path / "a.pt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "a.pt", weights_only=True)
