"""The zoo: every generator by its name, or from a file, an address or a Hugging Face id.

A family is a module here with `build`, `KEYS` and `infer`; a card in `cards/*.yaml` names a checkpoint of it. Nothing
lists either: adding a family adds two files. Other packages add theirs by entry points, see `latentzoo.registry`: a
package laid out as this one, or a single map. Names and cards are read without torch.
"""

import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentzoo import registry
from latentzoo.errors import SpecError, UnknownName
from latentzoo.hub.card import Card
from latentzoo.zoo.shelf import added, card, companion, families, family, names, packaged, where

__all__ = [
    "added",
    "card",
    "companion",
    "convert",
    "families",
    "family",
    "fetch",
    "load",
    "names",
    "own",
    "packaged",
    "where",
]

if TYPE_CHECKING:
    import torch
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    from latentzoo.generator import Generator
    from latentzoo.hub.fetch import Progress


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
            "hf://owner/repo/file"; a Hugging Face id "owner/repo" or "owner/repo/file"; a map that another
            package adds, by its name or as "module:Class"; a pipeline of diffusers itself.
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
    if (entry := _entry(x)) is not None:
        generator = _make(entry, options).eval().requires_grad_(False)
        return generator.to(device=device, dtype=dtype or torch.float32)
    if x not in names():
        if "config" in options and Path(x).is_file():  # one file, and the folder of its settings
            folder = Path(str(options.pop("config")))
            return pipelines.load(folder, file=Path(x), device=device, dtype=dtype, **options)
        if "prompt" in options and Path(x).is_file():
            raise SpecError(
                f"{x} is one file and has no settings; give the folder that has its model_index.json: config=FOLDER"
            )
        folder = pipelines.find(x, progress)
        if folder is None and "prompt" in options and Path(x).is_dir():
            folder = Path(x)  # whose index is missing, which is then said
        if folder is not None and family is not None:
            raise SpecError(f"{x} is a pipeline of diffusers, of no family; leave out family")
        if folder is not None:
            return pipelines.load(folder, device=device, dtype=dtype, **options)
    plan = Plan.of(x, family=family, progress=progress)
    generator = plan.build(**options).eval().requires_grad_(False)
    return generator.to(device=device, dtype=dtype or torch.float32)


def own(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a map that were given by name, where `load` takes others.

    Raises:
        SpecError: If one of them is none of the map's.
    """
    if others := sorted({"family", "device", "dtype", "progress"} & options.keys()):
        raise SpecError(
            f"the option '{others[0]}' is none of the map's; give it beside the options: --{others[0]}"
        )
    return options


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


def _entry(x: str) -> registry.Entry | None:
    if x in names() or Path(x).exists():
        return None
    return added().get(x) or registry.written(x)


def _make(entry: registry.Entry, options: dict[str, Any]) -> "Generator":
    from latentzoo.generator import Generator

    make = entry.maker(Generator)
    known = inspect.signature(make).parameters
    for name in options:
        if name not in known and not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            raise UnknownName(f"option of '{entry.name}':", name, known)
    made = make(**options)
    if not isinstance(made, Generator):
        raise SpecError(f"'{entry.name}' makes a {type(made).__name__}; return a Generator")
    return made


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
