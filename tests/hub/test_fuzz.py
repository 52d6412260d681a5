"""Fuzzing the readers: a sound file with some of its bytes changed is read, or refused in one line.

FUZZ_MINUTES=10 pytest tests/hub/test_fuzz.py -m slow          # the long run; what it finds goes to `FOUND`
"""

import io
import os
import pickle
import random
import resource
import time
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from latentzoo.errors import CheckpointError
from latentzoo.hub.read import read

DATA = Path(__file__).parent / "data"
STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2, dtype=torch.int64)}
WHOLE = {"g_ema": STATE, "args": {"n": [1, 2.5, None], "s": "text"}, "latent_avg": torch.ones(2)}


def seeds():
    """Small sound files of every container."""
    for zipped in (True, False):
        file = io.BytesIO()
        torch.save(WHOLE, file, _use_new_zipfile_serialization=zipped)
        yield file.getvalue()
    yield save(STATE, {"latentzoo": '{"family": "x"}'})
    yield (DATA / "stylegan2_ada.pkl").read_bytes()
    yield (DATA / "stylegan_xl.pkl").read_bytes()


SEEDS = list(seeds())
WORDS = [
    *(pickle.dumps(value, 2)[2:-1] for value in (None, -1, 2**31, 2**63, 1e300, "x", (), [], {})),
    *(
        b"R",
        b"b",
        b"s",
        b"u",
        b"(",
        b"t",
        b"0",
        b"2",
        b"}",
        b"]",
        b")",
        b"\x81",
        b"\x93",
        b"\x94",
        b"Q",
    ),
    *(
        b"cos\nsystem\n",
        b"cbuiltins\nset\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"h\x00",
        b"q\x00",
    ),
    *(b"\xff" * 4, b"\x00" * 8, b"\xff" * 8, b"\x7f", b"PK\3\4", b"PK\1\2", b"PK\5\6"),
]


def mutate(data, chance):
    """Changes a file in one to four places: bytes, words of a pickle, cuts, repetitions."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        i = chance.randrange(len(data) + 1)
        j = min(len(data), i + chance.choice((1, 1, 2, 4, 16, 100)))
        match chance.randrange(6):
            case 0:
                data[i:j] = chance.randbytes(j - i)
            case 1:
                data[i:j] = chance.choice(WORDS)
            case 2:
                data[i:i] = chance.choice(WORDS)
            case 3:
                del data[i:j]
            case 4:
                data[i:i] = data[i:j] * chance.randint(1, 3)
            case 5:
                k = chance.randrange(len(data) + 1)
                data[k : k + j - i] = data[i:j]
        data = data or bytearray(b"\0")
    return bytes(data)


def inner(data, chance):
    """Changes a file; in archives the pickle inside, which a checksum would else protect."""
    if data[:2] != b"PK" or chance.random() < 0.3:
        return mutate(data, chance)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            part = old.read(info)
            new.writestr(
                info, mutate(part, chance) if info.filename.endswith("data.pkl") else part
            )
    return out.getvalue()


def attempt(path, data):
    """Reads a file that may be anything: only a `CheckpointError` of one line may come out."""
    path.write_bytes(data)
    start = time.process_time()
    try:
        checkpoint = read(path)
    except CheckpointError as error:
        assert str(path) in str(error) and "\n" not in str(error) and len(str(error)) < 1000
    else:
        for tensor in checkpoint.tensors.values():
            assert tensor.numel() * tensor.element_size() <= 2 * len(data) + 64
    assert time.process_time() - start < 10


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_a_few_changes(seed, tmp_path):
    chance = random.Random(seed)
    for _ in range(60 if len(SEEDS[seed]) < 10_000 else 3):
        attempt(tmp_path / "x", inner(SEEDS[seed], chance))


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x80\x02", b"\x80\x04", b"PK\3\4", SEEDS[1][:150]]),
)
def test_bytes_of_any_kind(tmp_path, data, start):
    attempt(tmp_path / "x", start + data)


FOUND = {  # what the long runs found, made small
    "text with an unknown escape": b"\x80\x02S'\\R'\n.",
}


@pytest.mark.parametrize("data", FOUND.values(), ids=FOUND)
def test_what_fuzzing_found(data, tmp_path):
    attempt(tmp_path / "x", data)


@pytest.mark.slow
def test_fuzz(tmp_path):
    minutes = float(os.environ.get("FUZZ_MINUTES", "0.5"))
    limit = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, limit[1]))
    chance = random.Random(int(os.environ.get("FUZZ_SEED", "0")))
    end, count = time.monotonic() + 60 * minutes, 0
    weights = [8, 8, 4, 1, 1]
    while time.monotonic() < end:
        data = inner(chance.choices(SEEDS, weights)[0], chance)
        try:
            attempt(tmp_path / "x", data)
        except BaseException as error:
            raise AssertionError(data.hex()) from error
        count += 1
    assert count > 20 * minutes
    (tmp_path / "count").write_text(str(count))
