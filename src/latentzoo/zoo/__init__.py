"""The zoo: every generator by its name, or from a file, an address or a Hugging Face id.

A family is a module here (or of `latentzoo.builtin`) with `build`, `KEYS` and `infer`; a card in `cards/*.yaml` names
a checkpoint of it. Nothing lists either: adding a family adds two files. Names and cards are read without torch.
"""

import os
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from latentzoo import registry
from latentzoo.errors import UnknownName
from latentzoo.hub import card as cards
from latentzoo.hub.card import Card

if TYPE_CHECKING:
    import torch
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    from latentzoo.generator import Generator
    from latentzoo.hub.fetch import Progress

HERE = Path(__file__).parent
BUILTIN = HERE.parent / "builtin"


@cache
def _cards() -> dict[str, Card]:
    own = cards.read_all(sorted((HERE / "cards").glob("*.yaml")))
    builtin = cards.read_all(sorted((BUILTIN / "cards").glob("*.yaml")))
    for name, c in builtin.items():  # one that is not of a small family is of a family of the zoo
        small = f"builtin.{c.family}"
        own[name] = replace(c, family=small) if small in families() else c
    return own


def names() -> list[str]:
    """The names of all generators, without importing torch."""
    return sorted(_cards())


def card(name: str) -> Card:
    """The card of a generator.

    Raises:
        UnknownName: If there is none of this name.
    """
    if name not in _cards():
        raise UnknownName("generator", name, names())
    return _cards()[name]


@cache
def families() -> dict[str, str]:
    """The modules of the families by name, without importing them; built-in ones are "builtin.NAME"."""
    own = {name: entry.module for name, entry in registry.entries("zoo", function="infer").items()}
    builtin = registry.entries("builtin", function="infer")
    return own | {f"builtin.{name}": entry.module for name, entry in builtin.items()}


def family(name: str) -> ModuleType:
    """The module of a family.

    Raises:
        UnknownName: If there is none of this name.
    """
    if name not in families():
        raise UnknownName("family", name, families())
    return import_module(families()[name])


def where(card: Card) -> Path | None:
    """The file of a card if it is on this disk already; None if it would have to be downloaded or given."""
    from latentzoo.hub.fetch import local

    def here(url: str) -> Path | None:
        path = packaged(url)
        return local(url) if path is None else path if path.is_file() else None

    if card.source is not None:
        return card.source.path if card.source.here() else None
    if card.url is None or (card.base is not None and here(card.base) is None):
        return None
    return here(card.url)


def packaged(url: str) -> Path | None:
    """The file of a `package:` address, which ships with latentzoo; None for another address."""
    return (
        BUILTIN / "weights" / url.removeprefix("package:") if url.startswith("package:") else None
    )


def companion(generator: str, energy: str) -> str | None:
    """The model that judges a generator's images for a kind of energy; None if its card names none."""
    return _cards()[generator].companions.get(energy) if generator in _cards() else None


def load(
    x: "str | os.PathLike[str] | DiffusionPipeline",
    *,
    family: str | None = None,
    device: "torch.device | str" = "cpu",
    dtype: "torch.dtype | None" = None,
    progress: "Progress | None" = None,
    **options: Any,
) -> "Generator":
    """Loads a generator, downloading its weights if they are not here yet.

    Arguments:
        x: A card's name ("stylegan2-ffhq-1024"); a file or a folder; "FILE.zip#MEMBER"; an address "https://...";
            "hf://owner/repo/file"; a Hugging Face id "owner/repo" or "owner/repo/file"; a pipeline of
            diffusers itself.
        family: The family of a file, where its tensors do not tell.
        device: Where the network is put.
        dtype: The type of its numbers, float32 by default.
        progress: Told of every block of a download.
        options: Arguments of the family's `build` (truncation, steps, class_index, ...), before those of the card;
            of a text-to-image pipeline its `prompt` and the arguments of its own call, see
            `latentzoo.zoo.pipelines`.

    Returns:
        The map, frozen and in evaluation mode.

    Raises:
        UnknownName: If the name, the family or an option does not exist.
        CheckpointError: If the file cannot be read safely, or its tensors are not those of the network.
        DownloadError: If the file cannot be had.
    """
    import torch

    from latentzoo.zoo import pipelines
    from latentzoo.zoo._plan import Plan

    if not isinstance(x, str | os.PathLike):
        return pipelines.load(x, device=device, dtype=dtype, **options)
    x = os.fspath(x)
    if x not in names():
        if "config" in options and Path(x).is_file():  # one file, and the folder of its settings
            folder = Path(str(options.pop("config")))
            return pipelines.load(folder, file=Path(x), device=device, dtype=dtype, **options)
        if (folder := pipelines.find(x, progress)) is not None:
            return pipelines.load(folder, device=device, dtype=dtype, **options)
    plan = Plan.of(x, family=family, progress=progress)
    generator = plan.build(**options).eval().requires_grad_(False)
    return generator.to(device=device, dtype=dtype or torch.float32)


def fetch(x: str, *, progress: "Progress | None" = None) -> Path:
    """Gets the files of a generator, and builds nothing.

    Arguments:
        x: What `load` takes.
        progress: Told of every block of a download.

    Returns:
        The file or the folder on this disk.

    Raises:
        UnknownName: If the name does not exist.
        CheckpointError: If a file is not what its card says, or the card has no address.
        DownloadError: If a file cannot be had.
    """
    from latentzoo.zoo._plan import find, place

    card, path = find(x, progress)
    if card is not None and card.base is not None:
        place(card.base, progress)
    return path


def convert(
    path: str | os.PathLike[str], out: str | os.PathLike[str], *, family: str | None = None
) -> Card:
    """Writes a generator's file as safetensors with its card inside, so that it loads without further words.

    The tensors keep the names of the file; those that the network does not need are left out.

    Arguments:
        path: What `load` takes.
        out: The file to write.
        family: The family, where the tensors do not tell.

    Returns:
        The card that was written.

    Raises:
        The errors of `load`.
    """
    from latentzoo.zoo._plan import Plan

    return Plan.of(os.fspath(path), family=family).write(Path(out))
