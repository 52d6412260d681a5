"""Trackers of experiments: each gets the same numbers, read back from what the real package wrote."""

import json
import os
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import latentzoo as lz
from cli.conftest import Command, command  # noqa: F401
from latentzoo.errors import MissingExtra, SpecError, UnknownName
from toys import Affine, Bright

STEPS = 6


def sampled(log=None):
    target = lz.Posterior(Affine(), {"bright": Bright()})
    return lz.sample(target, chains=2, steps=STEPS, kernel="ula", progress=False, log=log)


def expected() -> dict[int, float]:
    return dict(enumerate(sampled().trace.phi.mean(1).tolist()[1:], 1))


def test_a_log_hears_every_step_and_finite_numbers_alone() -> None:
    heard: dict[int, dict[str, float]] = {}
    sampled(lambda numbers, step: heard.setdefault(step, dict(numbers)))
    assert {step: n["phi"] for step, n in heard.items()} == pytest.approx(expected())
    assert all(
        set(n) == {"phi", "bright"} for n in heard.values()
    )  # ula accepts nothing: NaN is no number


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        ("wandbb:x", UnknownName, "wandb"),
        ("wandb", SpecError, "write wandb:NAME"),
        ("tensorboard: ", SpecError, "folder for tensorboard"),
    ],
)
def test_words_that_cannot_be_meant(words: str, error: type, said: str) -> None:
    with pytest.raises(error, match=said), lz.tracker(words):
        pass


@pytest.mark.parametrize("kind", ["trackio", "wandb", "tensorboard"])
def test_a_missing_package_is_named_with_its_extra(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, kind, None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtra, match=rf"latentzoo\[{kind}\]"), lz.tracker(f"{kind}:x"):
        pass


TRACKED = """
import sys
sys.path.insert(0, {tests!r})
import latentzoo as lz
from bridges.test_trackers import sampled
with lz.tracker({words!r}, config={{"steps": 6}}) as log:
    sampled(log)
"""


def offline(words: str, folder: Path) -> None:
    """Samples with a real tracker in a process of its own, which reaches no server."""
    code = TRACKED.format(tests=str(Path(__file__).parents[1]), words=words)
    quiet = {
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(folder),
        "WANDB_SILENT": "true",
        "TRACKIO_DIR": str(folder),
        "HF_HUB_OFFLINE": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    offline(f"tensorboard:{tmp_path / 'tb'}", tmp_path)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tb"))
    events.Reload()
    assert {e.step: e.value for e in events.Scalars("phi")} == pytest.approx(expected())
    assert b"steps: 6" in events.Tensors("record/text_summary")[0].tensor_proto.string_val[0]


def test_wandb(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    offline("wandb:faces", tmp_path)
    from wandb.proto import wandb_internal_pb2 as pb

    rows, config = {}, {}
    for data in leveldb_log(next(tmp_path.rglob("*.wandb")).read_bytes()):
        record = pb.Record.FromString(data)
        row = {i.key or i.nested_key[0]: json.loads(i.value_json) for i in record.history.item}
        if row:
            rows[int(row["_step"])] = row["phi"]
        config |= {u.key: json.loads(u.value_json) for u in record.run.config.update}
    assert rows == pytest.approx(expected()) and config["steps"] == 6


def leveldb_log(data: bytes, block: int = 32768) -> Iterator[bytes]:
    """The records of wandb's file: checksum, length, kind (1 whole; 2, 3, 4 first, middle, last), in blocks."""
    at, parts = 7, b""  # after the file's own header
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts, at = parts + data[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):
            yield parts
            parts = b""


def test_trackio(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    offline("trackio:faces", tmp_path)
    with sqlite3.connect(next(tmp_path.rglob("faces.db"))) as db:
        rows = db.execute("select step, metrics from metrics").fetchall()
    found = {step: json.loads(text)["phi"] for step, text in rows}
    assert found == pytest.approx(expected())


def test_the_command_line_sends_numbers_too(command: Command, tmp_path: Path) -> None:  # noqa: F811
    words = ("avatar-gan", "--energy", "attribute=hat=hijab", "--chains", "1", "--steps", "3")
    done = command("sample", *words, "--out", "run", "--track", "tensorbord:x")
    assert done.returncode == 2 and "did you mean 'tensorboard'?" in done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "run").exists()
    pytest.importorskip("tensorboard")
    done = command("sample", *words, "--out", "run", "-q", "--track", "tensorboard:tb")
    assert done.returncode == 0 and any((tmp_path / "tb").iterdir()), done.stderr
