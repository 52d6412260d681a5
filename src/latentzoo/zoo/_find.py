"""From what a user names to a file on this disk: a card, a path, an address, a Hugging Face id."""

import os
import re
from pathlib import Path
from typing import Any

from latentzoo.errors import CheckpointError, UnknownName
from latentzoo.files import apart
from latentzoo.hub import archive, client, fetch
from latentzoo.hub.card import Card
from latentzoo.zoo import shelf

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+(@[\w.-]+)?(/.+)?", re.ASCII)
FILE = re.compile(r"\.(pt|pth|pkl|ckpt|bin|safetensors|zip)(#.*)?$")


def find(x: str, progress: fetch.Progress | None) -> tuple[Card | None, Path]:
    """Finds the file of a card's name, a path, an address or a Hugging Face id; downloads it if need be.

    Raises:
        UnknownName: If it is none of them.
        CheckpointError: If there is no such file, or the card has no address.
    """
    if x in shelf.names():
        card = shelf.card(x)
        if card.source is not None:
            return card, client.fetch(card.source, progress)
        if card.url is None:
            raise CheckpointError(
                f"the card '{x}' has no address to download from ({card.notes or 'see its paper'}); give its file, "
                f"with `--card {x}`, or lz.load(FILE, card='{x}')"
            )
        return card, place(card.url, progress, mirrors=card.mirrors, sha256=card.sha256)
    file, member = apart(x)
    if Path(file).exists():
        return None, archive.unpack(Path(file), member) if member else Path(file)
    if "://" in x:
        return None, fetch.fetch(x, progress=progress)
    if HUB_ID.fullmatch(x) and not (FILE.search(x) and x.count("/") == 1):
        return None, fetch.fetch(f"hf://{x}", progress=progress)
    if "/" in x or os.sep in x or FILE.search(x):
        raise CheckpointError(
            f"{x}: there is no such file; check the path, or `latentzoo list` for names"
        )
    raise UnknownName("generator", x, shelf.names())


def place(url: str, progress: fetch.Progress | None, **expected: Any) -> Path:
    """The file of an address: that of the package, or one that is downloaded if need be."""
    return shelf.packaged(url) or fetch.fetch(url, progress=progress, **expected)
