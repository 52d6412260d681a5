"""The packages of registries in which networks that judge pictures stand, and their files on this disk."""

from functools import cache
from pathlib import Path

import msgspec
import yaml

from latentzoo.errors import UnknownName
from latentzoo.hub import package
from latentzoo.hub.fetch import Progress
from latentzoo.hub.package import Package


@cache
def known() -> dict[str, Package]:
    """The packages by the name that an energy's `model` takes."""
    text = (Path(__file__).parent / "packages.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), dict[str, Package])


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Gives the files of a package on this disk, see `hub.package.fetch`.

    Raises:
        UnknownName: If there is no package of this name.
        DownloadError: If it cannot be had.
        CheckpointError: If it is not what was expected.
    """
    if name not in known():
        raise UnknownName("package of guides", name, known())
    return package.fetch(known()[name], progress)
