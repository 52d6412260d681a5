"""What a pipeline's folder says of itself in words: the table above the text of its README.md."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from latentzoo import markup
from latentzoo.errors import CheckpointError


def licence(folder: Path) -> str:
    """The licence that a repository's README declares."""
    said = declared(folder)
    return str(said.get("license_name") or said.get("license") or "not stated")


def usual(folder: Path) -> dict[str, Any]:
    """The options that a README declares under `latentzoo`: the steps and guidance that weights are made for.

    Raises:
        CheckpointError: If what it declares there is no table.
    """
    said = declared(folder).get("latentzoo")
    if said is not None and not isinstance(said, dict):
        raise CheckpointError(
            f"{folder / 'README.md'}: latentzoo: {said!r} is no table of options; write num_inference_steps: 2 below it"
        )
    return {str(key): value for key, value in (said or {}).items()}


def companions(folder: Path) -> dict[str, str]:
    """The networks that judge its pictures, by the kind of energy, as `Card.companions` of a generator."""
    said = declared(folder).get("companions")
    return {str(k): str(v) for k, v in said.items()} if isinstance(said, Mapping) else {}


def declared(folder: Path) -> dict[str, Any]:
    """What a repository's README declares above its text; nothing where it is not sound."""
    readme = folder / "README.md"
    if not readme.is_file():
        return {}
    parts = readme.read_text(encoding="utf-8", errors="replace").split("---", 2)
    try:
        record = (
            markup.load(parts[1], quick=True) if len(parts) == 3 and not parts[0].strip() else None
        )
    except yaml.YAMLError:
        record = None
    return record if isinstance(record, dict) else {}
