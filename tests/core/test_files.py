"""Files appear whole or not at all, leave nothing beside them, and every JSON parser reads them."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from latentzoo import files


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    files.write_text(path, "old")

    def half(temporary: Path) -> None:
        temporary.write_text("ne")
        assert path.read_text() == "old"
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        files.write_atomic(path, half)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["x.txt"]
    files.write_text(path, "new")
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["x.txt"]


def test_an_error_of_the_system_is_one_whoever_says_it(tmp_path: Path) -> None:
    def full(place: Path) -> None:
        raise RuntimeError("Error while serializing: No space left on device (os error 28)")

    with pytest.raises(OSError, match="No space left") as told:
        files.write_atomic(tmp_path / "a.safetensors", full)
    assert told.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())


def test_what_an_ended_process_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    orphan = tmp_path / f".x.txt.{ended.pid}{files.SUFFIX}"
    living = tmp_path / f".x.txt.{os.getppid()}{files.SUFFIX}"
    other = tmp_path / f".y.txt.{ended.pid}{files.SUFFIX}"
    for path in (orphan, living, other):
        path.write_text("half")
    files.write_text(tmp_path / "x.txt", "whole")
    assert not orphan.exists() and living.exists() and other.exists()


def test_numbers_that_are_not_finite_are_null() -> None:
    data = {"a": float("inf"), "b": [float("nan"), (1.5, {"c": -float("inf")})], 3: "Infinity"}
    found = json.loads(files.to_json(data), parse_constant=pytest.fail)
    assert found == {"a": None, "b": [None, [1.5, {"c": None}]], "3": "Infinity"}
