"""Files inside of a registry's package, as a card describes them; who fetches them is `hub.client`.

Real weights stand inside packages of pypi and npm, which people reach where model hubs are closed. They are kept under

    packages/REGISTRY-NAME-VERSION/MEMBER

in the cache. A listing reads cards, so nothing that fetches is imported here.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from latentzoo.errors import SpecError
from latentzoo.hub import cache

NAME = re.compile(r"(@[a-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*", re.ASCII)
VERSION = re.compile(r"[0-9][\w.+-]*", re.ASCII)
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Package:
    """Creates the description of the files that are wanted of a package; a card's `source`.

    Arguments:
        registry: Whose client fetches it, "pypi" or "npm".
        name: The package's name there.
        version: Its version, exactly.
        size: The archive's size in bytes.
        sha256: The archive's hash.
        members: The files that are wanted, by their path in the archive, and their hashes.

    Raises:
        SpecError: If one of them cannot be meant, as a member that leads out of the archive.
    """

    registry: Literal["pypi", "npm"]
    name: str
    version: str
    size: int
    sha256: str
    members: Mapping[str, str]

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or not VERSION.fullmatch(self.version):
            raise SpecError(
                f"'{self.name}' {self.version}: not a package and a version; give both exactly"
            )
        for member in self.members:
            parts = PurePosixPath(member).parts
            if (
                not parts
                or member.startswith("/")
                or ".." in parts
                or not member.isprintable()
                or "\\" in member
            ):
                raise SpecError(
                    f"{self}: the member {member[:120]!r} leads out of it; give a path inside"
                )
        if not self.members or not all(
            map(SHA256.fullmatch, (self.sha256, *self.members.values()))
        ):
            raise SpecError(
                f"{self}: a hash is missing; give the sha256 of the archive and of each member"
            )

    def __str__(self) -> str:
        return f"the {self.registry} package {self.name} {self.version}"

    @property
    def folder(self) -> Path:
        """Where its members are kept."""
        name = re.sub(r"[^\w.-]", "_", self.name, flags=re.ASCII)
        return cache.folder() / "packages" / f"{self.registry}-{name}-{self.version}"

    @property
    def path(self) -> Path:
        """What a reader is given: the member if there is one, else the folder that holds them all."""
        places = [self.folder / member for member in self.members]
        return (
            places[0] if len(places) == 1 else Path(os.path.commonpath([p.parent for p in places]))
        )

    def here(self) -> bool:
        """Whether all of its members are on this disk; nothing is verified."""
        return all((self.folder / member).is_file() for member in self.members)
