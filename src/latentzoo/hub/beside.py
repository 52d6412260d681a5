"""The settings that stand beside a weights file: what its authors' programs write and the tensors do not tell.

model.ckpt  config.yaml                     CompVis' models
G.pth  G.yaml                               of the same name
NAME-pytorch_model.bin  NAME-config.json    Hugging Face's old addresses
RUN/checkpoints/last.ckpt  RUN/configs/*-project.yaml    Lightning's logs
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from latentzoo import markup
from latentzoo.errors import CheckpointError
from latentzoo.hub.folder import LARGEST

ENDINGS = ("yaml", "yml", "json")


def settings(path: Path | None) -> dict[str, Any]:
    """The settings beside a weights file; empty if there are none.

    Arguments:
        path: The weights file; a folder has its settings inside.

    Raises:
        CheckpointError: If they cannot be read.
    """
    found = place(path)
    if found is None:
        return {}
    try:
        if found.stat().st_size > LARGEST:
            raise ValueError(f"of more than {LARGEST} bytes")
        value = markup.load(found.read_text(encoding="utf-8"))  # JSON is YAML
        if not isinstance(value, dict):
            raise ValueError("not a table")
    except (ValueError, RecursionError, OSError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise CheckpointError(
            f"{found}: not readable as the settings of {path} ({said}); repair it, or move it away"
        ) from error
    return value


def place(path: Path | None) -> Path | None:
    """The file of these settings."""
    if path is None or not path.is_file():
        return None
    return next((p for p in _candidates(path) if p != path and p.is_file()), None)


def _candidates(path: Path) -> Iterator[Path]:
    name = path.name.replace("pytorch_model.bin", "config.json")
    yield from (path.with_suffix(f".{ending}") for ending in ENDINGS)
    yield path.with_name(name)
    yield from (path.with_name(f"config.{ending}") for ending in ENDINGS)
    logs = sorted((path.parent.parent / "configs").glob("*-project.yaml"))
    yield from logs[-1:] if path.parent.name == "checkpoints" else ()
