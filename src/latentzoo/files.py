"""Files: written whole or not at all, and plain data that any parser reads.

Every file that latentzoo leaves goes through `write_atomic`: it is written beside its place, its
bytes reach the disk, and then it takes its name. Who reads, sees the old file or the new one.
"""

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

SUFFIX = ".tmp"
"""The end of the name of a file that is being written: `.NAME.PID.tmp`."""
RUST = re.compile(r"\(os error (\d+)\)")
"""How libraries in Rust, as safetensors, tell an error of the system."""


def write_atomic(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file beside its place and moves it there, so that no reader ever sees half of it.

    What an ended process left half written beside the place is swept.

    Arguments:
        path: Where the file goes.
        write: Called with the temporary path; it may raise, then nothing is left.

    Raises:
        OSError: If the system cannot write, also where a library in Rust says so in words of its own.
    """
    sweep(path.parent, path.name)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{SUFFIX}")
    try:
        _written(write, temporary)
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _written(write: Callable[[Path], Any], place: Path) -> None:
    try:
        write(place)
    except Exception as error:
        if (found := RUST.search(str(error))) is None:
            raise
        number = int(found[1])
        raise OSError(number, os.strerror(number), str(place)) from error


def apart(words: str) -> tuple[str, str]:
    """The file that a user names and the member of this archive that is meant, "" where none is: `FILE#MEMBER`.

    A file whose own name has a # is itself.
    """
    file, _, member = words.partition("#")
    return (words, "") if _exists(words) else (file, member)


def _exists(words: str) -> bool:
    try:
        return Path(words).exists()
    except (OSError, ValueError):  # a long text, or one with a zero in it
        return False


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically, as UTF-8."""
    write_atomic(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file atomically."""
    write_atomic(path, lambda temporary: temporary.write_bytes(content))


def write_json(path: Path, data: Any) -> None:
    """Writes plain data as JSON; see `to_json`."""
    write_text(path, to_json(data, indent=2))


def to_json(data: Any, *, indent: int | None = None) -> str:
    """Plain data as strict JSON: a number that is not finite becomes null."""
    return json.dumps(_finite(data), indent=indent, allow_nan=False)


def sweep(folder: Path, name: str = "*") -> None:
    """Removes what ended processes left half written in a folder.

    Arguments:
        folder: The folder.
        name: The file's name; all files by default.
    """
    for orphan in folder.glob(f".{name}.*{SUFFIX}"):
        owner = orphan.name.removesuffix(SUFFIX).rpartition(".")[2]
        if owner.isdigit() and not alive(int(owner)):
            orphan.unlink(missing_ok=True)


def _finite(data: Any) -> Any:
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, dict):
        return {str(key): _finite(value) for key, value in data.items()}
    return [_finite(value) for value in data] if isinstance(data, (list, tuple)) else data


def _sync(path: Path) -> None:
    """Brings a file's bytes, or a folder's names, to the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except (PermissionError, IsADirectoryError):  # a folder cannot be opened on every system
        return
    try:
        os.fsync(handle)
    except OSError:  # some network and virtual file systems have no fsync for folders
        if not path.is_dir():
            raise
    finally:
        os.close(handle)


def alive(process: int) -> bool:
    """Whether a process of this number runs on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
