"""From an address to a local file: found in the cache, or downloaded, resumed where it was interrupted, and verified.

A download goes to `NAME.part`; what belongs to it (the server's version of the file) is noted in `NAME.part.json`, so
that two versions are never spliced. The finished file is checked and moved to its name in one step. One process
downloads, others wait for its lock.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urldefrag
from urllib.request import Request, urlopen

from filelock import FileLock

from latentzoo.errors import CheckpointError, LatentzooError
from latentzoo.files import write_json
from latentzoo.hub import archive, cache, offline

Progress = Callable[[int, int | None], None]  # bytes done, bytes in all if known

FOLDER = ["*.json", "*.safetensors"]  # what is wanted of a repository
PICKLED = [
    "*pytorch_model*.bin"
]  # and of one without safetensors, as of 2022; read by the safe reader
WEIGHTS = ["*.safetensors", "*.bin"]
ATTEMPTS, PAUSE, TIMEOUT, BLOCK = 5, 1.0, 30.0, 2**20


class DownloadError(LatentzooError):
    """A file that could not be had from its address."""


def fetch(
    url: str,
    *,
    mirrors: tuple[str, ...] = (),
    sha256: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Gives the local file of an address, and downloads it if it is not there yet.

    Arguments:
        url: "https://...", "https://.../archive.zip#member" or "hf://owner/repo[@revision]/file".
        mirrors: Other places of the same file, tried in turn.
        sha256: The file's hash; without it the first download's is recorded and must match from then on.
        progress: Told of every block that has come.

    Raises:
        DownloadError: If no address gives the file, or it is not there and the network is forbidden.
        CheckpointError: If the file's hash is another.
    """
    whole, member = urldefrag(url)
    if whole.startswith("hf://"):
        path = from_hub(whole, progress=progress)
        cache.verify(path, whole, sha256)
    elif not whole.startswith(("https://", "http://")):
        raise DownloadError(
            f"{url}: not an address that can be downloaded; give https://..., hf://... or a file"
        )
    else:
        path = from_web(whole, mirrors=mirrors, sha256=sha256, progress=progress)
    return archive.unpack(path, member) if member else path


def local(url: str) -> Path | None:
    """The file of an address if it is here already; nothing is downloaded and nothing verified."""
    whole, _ = urldefrag(url)
    if not whole.startswith("hf://"):
        path = cache.place(whole)
        return path if path.is_file() else None
    try:
        return from_hub(whole, local_only=True)
    except DownloadError:
        return None


def from_web(
    url: str, *, mirrors: tuple[str, ...], sha256: str | None, progress: Progress | None
) -> Path:
    """The file of a web address.

    Raises:
        DownloadError: If the file is not in the cache and may not, or cannot, be downloaded.
        CheckpointError: If its hash is another one.
    """
    path = cache.place(url)
    if not path.is_file():
        if cache.offline():
            raise DownloadError(
                f"{url}: not in the cache {cache.folder()}, and LATENTZOO_OFFLINE forbids to download it"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.is_file():
                part = path.with_name(f"{path.name}.part")
                from_any((url, *mirrors), part, keep=sha256 is not None, progress=progress)
                try:
                    cache.verify(part, url, sha256)
                except CheckpointError:
                    part.unlink()
                    raise
                os.replace(part, path)
                return path
    cache.verify(path, url, sha256)
    return path


def from_any(urls: tuple[str, ...], part: Path, *, keep: bool, progress: Progress | None) -> None:
    """Downloads from the first address that gives the file whole.

    Raises:
        DownloadError: If none does; each is named with its reason.
    """
    reasons = []
    for url in urls:
        for attempt in range(ATTEMPTS):
            try:
                return download(url, part, keep=keep, progress=progress)
            except DownloadError as error:
                reasons.append(str(error))
                break
            except (URLError, HTTPException, OSError) as error:
                if attempt < ATTEMPTS - 1:
                    time.sleep(PAUSE * 2**attempt)
                    continue
                reason = error if isinstance(error, HTTPError) else getattr(error, "reason", error)
                reasons.append(f"{url}: {reason or type(error).__name__}")
    raise DownloadError(
        "; ".join(reasons) + "; try again (it goes on where it stopped), or load a local file"
    )


def download(url: str, part: Path, *, keep: bool, progress: Progress | None) -> None:
    """Downloads an address, going on behind what a `.part` file has of the same version.

    Arguments:
        url: The address.
        part: Where the bytes go.
        keep: Whether a part whose version is not known may be gone on with (the hash will tell).
        progress: Told of every block.

    Raises:
        DownloadError: If the server refuses, or sends a web page.
        URLError, HTTPException, OSError: If the connection broke; worth another attempt.
    """
    note = part.with_name(f"{part.name}.json")
    done, version = part.stat().st_size if part.is_file() else 0, None
    if done and note.is_file():
        version = noted(note).get(url)
    headers = {"User-Agent": "latentzoo", "Accept-Encoding": "identity"}
    if done and (version or keep):
        headers |= {"Range": f"bytes={done}-"} | ({"If-Range": version} if version else {})
    try:
        with urlopen(Request(url, headers=headers), timeout=TIMEOUT) as reply:
            version = strong(reply)
            write_json(note, {url: version} if version else {})
            receive(reply, part, done, progress)
    except HTTPError as error:
        error.close()
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{done}":
            return  # the part is the whole file
        if error.code == 416:
            part.unlink()
        if error.code in (408, 416, 429) or error.code >= 500:
            raise
        raise DownloadError(f"{url}: the server answers {error.code} {error.reason}") from error
    note.unlink(missing_ok=True)


def noted(note: Path) -> dict[str, str]:
    """The versions that are noted of a part; none if the note itself was interrupted."""
    try:
        versions = json.loads(note.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return versions if isinstance(versions, dict) else {}


def strong(reply: HTTPResponse) -> str | None:
    """What marks the version of a file beyond doubt: its entity tag, or else its date."""
    tag = reply.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else reply.headers.get("Last-Modified")


def receive(reply: HTTPResponse, part: Path, done: int, progress: Progress | None) -> None:
    """Writes the body of a reply, behind `done` bytes if it goes on from there.

    Raises:
        DownloadError: If it is a web page, or does not fit on the disk.
        OSError: If the connection ends early, or brings another part than was asked for.
    """
    if reply.headers.get_content_type() == "text/html":
        raise DownloadError(
            f"{reply.url}: gives a web page and no file (it may ask for a login or a confirmation); "
            "download it by hand and load the local file"
        )
    resumed = reply.status == 206 and reply.headers.get("Content-Range", "").startswith(
        f"bytes {done}-"
    )
    if reply.status == 206 and not resumed:
        raise OSError("the server sent another part than it was asked for")
    done = done if resumed else 0
    length = reply.headers.get("Content-Length")
    total = done + int(length) if length and length.isdigit() else None
    if total is not None and total - done > shutil.disk_usage(part.parent).free:
        raise DownloadError(
            f"{reply.url}: {total - done} bytes do not fit on the disk of {part.parent}; make room"
        )
    with part.open("ab" if resumed else "wb") as file:
        while block := reply.read(BLOCK):
            file.write(block)
            done += len(block)
            if progress is not None:
                progress(done, total)
    if total is not None and done < total:
        raise OSError(f"the connection ended after {done} of {total} bytes")


def from_hub(url: str, *, progress: Progress | None = None, local_only: bool = False) -> Path:
    """The file of a Hugging Face address, or the folder if it names a repository only.

    Raises:
        DownloadError: If it is not in the cache and may not, or cannot, be downloaded.
    """
    switch = offline.forbidden()
    with offline.obeyed(asks=not local_only):
        return _from_hub(url, progress, local_only, switch)


def _from_hub(url: str, progress: Progress | None, local_only: bool, switch: str) -> Path:
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    owner, _, rest = url.removeprefix("hf://").partition("/")
    repo, _, file = rest.partition("/")
    repo, _, revision = repo.partition("@")
    own = (
        {"cache_dir": cache.folder() / "huggingface"} if os.environ.get("LATENTZOO_CACHE") else {}
    )
    options: dict[str, Any] = {
        **{"revision": revision or None, "local_files_only": local_only or offline.shut()},
        **{"tqdm_class": told(progress)},
        **own,
    }
    try:
        if file:
            return Path(str(hf_hub_download(f"{owner}/{repo}", file, **options)))
        wanted = lambda patterns: Path(
            str(snapshot_download(f"{owner}/{repo}", allow_patterns=patterns, **options))
        )
        folder = wanted(FOLDER)
        if not any(folder.rglob("*.safetensors")):
            folder = wanted([*FOLDER, *PICKLED])
        if options["local_files_only"] and not any(map(any, map(folder.rglob, WEIGHTS))):
            raise LocalEntryNotFoundError("settings, as other programs left them, and no weights")
        return folder
    except LocalEntryNotFoundError as error:
        reason = f"{switch} forbids to download it" if switch else "the hub cannot be reached"
        raise DownloadError(f"{url}: not in the cache, and {reason}") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise DownloadError(f"{url}: {' '.join(str(error).split())[:300]}") from error


def told(progress: Progress | None) -> type:
    """A progress bar for huggingface_hub that shows nothing and tells `progress`."""
    from tqdm import tqdm

    class Told(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})
            self.done, self.whole = int(kwargs.get("initial") or 0), kwargs.get("total")

        def update(self, n: float | None = 1) -> None:
            self.done += int(n or 0)
            if progress is not None:
                progress(self.done, self.whole)

    return Told
