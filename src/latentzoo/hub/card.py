"""Cards: what is known of a checkpoint before it is there."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Card:
    """Creates the description of one checkpoint; written as a table in `zoo/cards/<family>.yaml`.

    Arguments:
        name: The name under which `latentzoo.load` finds it, `family-dataset-size`.
        family: The family whose `build` makes the network.
        url: Where the official file is ("https://...", "hf://owner/repo/file", "package:file"); None if it must be
            given by path.
        mirrors: Other places of the same file.
        sha256: The file's hash, or None: then the first download's hash is recorded and must match from then on.
        container: The reader, e.g. "torch", "safetensors", "nvidia".
        keys: The dialect of tensor names, a key of the family's `KEYS`.
        config: The arguments of the family's `build`.
        licence: The licence of the weights.
        paper: The paper, as "arXiv:2210.05559" or a link.
        dataset: What it was trained on.
        resolution: The image's side in pixels.
        notes: What a user should know.
    """

    name: str
    family: str
    url: str | None
    mirrors: tuple[str, ...] = ()
    sha256: str | None = None
    container: str
    keys: str
    config: dict[str, Any] = field(default_factory=dict)
    licence: str
    paper: str
    dataset: str
    resolution: int
    notes: str = ""
