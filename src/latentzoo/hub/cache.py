"""Where downloaded files are kept, and the hashes they had the first time.

`LATENTZOO_CACHE` names the folder (default: the platform's place for caches), `LATENTZOO_OFFLINE=1` forbids the
network.

    files/HASH/NAME     a downloaded file, by the hash of its address
    hashes/HASH-NAME    the sha256 of the first download from an address, kept even if the file is deleted
"""

import hashlib
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import platformdirs

from latentzoo.errors import CheckpointError
from latentzoo.files import write_text


def folder() -> Path:
    """The cache's folder."""
    return Path(os.environ.get("LATENTZOO_CACHE") or platformdirs.user_cache_path("latentzoo"))


def offline() -> bool:
    """Whether the network is forbidden."""
    return os.environ.get("LATENTZOO_OFFLINE", "").lower() not in ("", "0", "false", "no")


def _label(url: str) -> tuple[str, str]:
    name = unquote(urlsplit(url).path).rsplit("/", 1)[-1]
    safe = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII).lstrip(".")[-100:]
    return hashlib.sha256(url.encode()).hexdigest()[:16], safe or "file"


def place(url: str) -> Path:
    """Where the file of an address is kept."""
    return folder().joinpath("files", *_label(url))


def sha256(path: Path) -> str:
    """The hash of a file; of a folder, that of the names and hashes of the files that are read of it."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(_read_of(path)):
            digest.update(f"{sha256(file)}  {file.relative_to(path).as_posix()}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
        return digest.hexdigest()


def _read_of(path: Path) -> set[Path]:
    """The files that are read of a folder: weights and settings, or the graphs of OpenVINO."""
    from latentzoo.hub import folder as contents  # only here: it needs torch

    graphs = set(path.glob("*.xml"))
    if graphs and not any(path.glob("*.safetensors")):
        return graphs | {graph.with_suffix(".bin") for graph in graphs}
    return contents.files(path)


def record(url: str) -> Path:
    """Where the hash of an address's first download is kept."""
    return folder() / "hashes" / "-".join(_label(url))


def recorded(url: str) -> str | None:
    """The sha256 of an address's first download, if there was one."""
    path = record(url)
    words = path.read_text(encoding="utf-8").split() if path.is_file() else []
    return words[0] if words and re.fullmatch("[0-9a-fA-F]{64}", words[0]) else None


def verify(path: Path, url: str, expected: str | None) -> None:
    """Checks a file against the card's hash; without one, against that of the first download, or records it.

    Arguments:
        path: The file.
        url: Where it came from.
        expected: The hash in the card.

    Raises:
        CheckpointError: If the file has another hash.
    """
    known, found = expected or recorded(url), sha256(path)
    if known is None:
        record(url).parent.mkdir(parents=True, exist_ok=True)
        write_text(record(url), f"{found}  {url}\n")
    elif found != known.lower():
        whose = "its card" if expected else f"{record(url)}, noted at the first download,"
        raise CheckpointError(
            f"{url}: the file {path} has the sha256 {found}, and {whose} says {known}; it is damaged or was exchanged: "
            "do not trust it, delete it to load it again"
        )
