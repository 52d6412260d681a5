"""The zoo: every generator by its name, or from a file, an address or a Hugging Face id.

A family is a module here with `build`, `KEYS` and `infer`, or a folder that imports them from its own files; a card in
`cards/*.yaml` names a checkpoint of it. Nothing lists either: adding a family adds two files. Other packages add theirs
by entry points, see `latentzoo.registry`: a package laid out as this one, or a single map. Names and cards are read
without torch.
"""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentzoo import options as opts
from latentzoo import registry
from latentzoo.errors import Assumption, SpecError
from latentzoo.hub.card import Card
from latentzoo.zoo.shelf import added, card, families, family, names, packaged, where

__all__ = [
    "added",
    "card",
    "companion",
    "convert",
    "described",
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
    /,
    *,
    family: str | None = None,
    card: str | None = None,
    device: "torch.device | str" = "cpu",
    dtype: "torch.dtype | str | None" = None,
    compile: bool = False,
    progress: "Progress | None" = None,
    **options: Any,
) -> "Generator":
    """Loads a generator, downloading its weights if they are not here yet.

    Arguments:
        x: A card's name ("stylegan2-ada-ffhq-1024"); a file or a folder; "FILE.zip#MEMBER"; an address "https://...";
            "hf://owner/repo/file"; a Hugging Face id "owner/repo" or "owner/repo/file"; a map that another
            package adds, by its name or as "module:Class"; a pipeline of diffusers itself.
        family: The family of a file, where its tensors do not tell.
        card: The card whose settings a file takes that is given by its path.
        device: Where the network is put, by its name too; "auto" takes an accelerator if there is one.
        dtype: The type of its numbers, by its name too: float32 by default, float16, bfloat16, float64.
        compile: Whether the networks are translated by torch.compile when they are first called; see `compiling`.
        progress: Told of every block of a download.
        options: Arguments of the family's `build` (truncation, steps, class_index, ...), before those of the card;
            of a text-to-image pipeline its `prompt` and the arguments of its own call, see
            `latentzoo.zoo.pipelines`.

    Returns:
        The map, frozen and in evaluation mode. What its file does not say is warned of, and is in its `assumed`.

    Raises:
        UnknownName: If the name, the family, the card or an option does not exist.
        SpecError: If an option has a value of a wrong type, a card is joined with what is no file, the device
            cannot be used, or no generator is named.
        CheckpointError: If the file cannot be read safely, or its tensors are not those of the network.
        DownloadError: If the file cannot be had.
    """
    generator = _loaded(
        x, family=family, card=card, device=device, dtype=dtype, progress=progress, **options
    )
    if compile:
        from latentzoo import compiling

        compiling.compile(generator)
    return generator


def _loaded(
    x: "str | os.PathLike[str] | DiffusionPipeline",
    /,
    *,
    family: str | None,
    card: str | None,
    device: "torch.device | str",
    dtype: "torch.dtype | str | None",
    progress: "Progress | None",
    **options: Any,
) -> "Generator":
    import torch

    from latentzoo import place
    from latentzoo.zoo import pipelines
    from latentzoo.zoo._plan import Plan

    device = place.usable(device)
    dtype = None if dtype is None else place.number_type(dtype)
    if not isinstance(x, str | os.PathLike):
        return pipelines.load(x, device=device, dtype=dtype, **options)
    x = os.fspath(x)
    if not x.strip():
        raise SpecError("no generator is named; `latentzoo list` shows those there are")
    if card is None and (entry := _entry(x)) is not None:
        if family is not None:
            raise SpecError(f"{x} is a map of a package, of no family; leave out family={family}")
        generator = _make(entry, options).eval().requires_grad_(False)
        return generator.to(device=device, dtype=dtype or torch.float32)
    if x not in names() and card is None:
        if "config" in options and Path(x).is_file():  # one file, and the folder of its settings
            folder = Path(str(options.pop("config")))
            return pipelines.load(folder, file=Path(x), device=device, dtype=dtype, **options)
        if "prompt" in options and Path(x).is_file():
            raise SpecError(
                f"{x} is one file and has no settings; give the folder that has its model_index.json: config=FOLDER"
            )
        folder = pipelines.find(x, progress, options.get("variant"))
        if folder is None and "prompt" in options and Path(x).is_dir():
            folder = Path(x)  # whose index is missing, which is then said
        if folder is not None and family is not None:
            raise SpecError(f"{x} is a pipeline of diffusers, of no family; leave out family")
        if folder is not None:
            return pipelines.load(folder, device=device, dtype=dtype, **options)
    plan = Plan.of(x, family=family, card=card, progress=progress)
    generator = plan.build(**options).eval().requires_grad_(False)
    if said := generator.assumptions():
        warnings.warn(f"{x}: {said}", Assumption, stacklevel=2)
    return generator.to(device=device, dtype=dtype or torch.float32)


def described(x: str | os.PathLike[str], *, family: str | None = None) -> dict[str, Any]:
    """What a file of weights says of its network, and what is taken for granted; its map is built.

    Arguments:
        x: What `load` takes.
        family: The family, where the tensors do not tell.

    Returns:
        The family, the dialect, the arguments of `build`, what is assumed, size and latent.

    Raises:
        LatentzooError: As in `load`.
    """
    from latentzoo.zoo._plan import Plan

    plan = Plan.of(os.fspath(x), family=family)
    generator = plan.build()
    return {
        "family": plan.family,
        "keys": plan.keys,
        "container": plan.checkpoint.container,
        "config": dict(plan.config),
        "assumed": dict(generator.assumed),
        "size": "x".join(map(str, generator.size)),
        "latent": str(generator.space),
        "parameters": sum(p.numel() for p in generator.parameters()),
    }


def companion(generator: str, energy: str) -> str | None:
    """The model that judges a generator's images for a kind of energy; None if its card, or its README, names none."""
    from latentzoo.zoo import pipelines
    from latentzoo.zoo.pipelines import readme

    if generator in names():
        return card(generator).companions.get(energy)
    folder = pipelines.shipped().get(generator)
    return None if folder is None else readme.companions(folder).get(energy)


def own(options: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a map that were given by name, where `load` takes others.

    Raises:
        SpecError: If one of them is none of the map's.
    """
    if others := sorted(
        {"family", "card", "device", "dtype", "compile", "progress"} & options.keys()
    ):
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
    from latentzoo.zoo._find import find, place

    card, path = find(x, progress)
    if card is not None and card.base is not None:
        place(card.base, progress)
    return path


def _entry(x: str) -> registry.Entry | None:
    if x in names() or Path(x).exists():
        return None
    return added().get(x) or registry.written(x)


def _make(entry: registry.Entry, given: dict[str, Any]) -> "Generator":
    from latentzoo.generator import Generator

    make = entry.maker(Generator)
    known = opts.parameters(make)
    opts.check(given, known, owner=f"'{entry.name}'", shown=f"latentzoo show {entry.name}")
    made = make(**given)
    if not isinstance(made, Generator):
        raise SpecError(f"'{entry.name}' makes a {type(made).__name__}; return a Generator")
    return made


def convert(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    family: str | None = None,
    card: str | None = None,
) -> Card:
    """Writes a generator's file as safetensors with its card inside, so that it loads without further words.

    The tensors keep the names of the file; those that the network does not need are left out.

    Arguments:
        path: What `load` takes.
        out: The file to write.
        family: The family, where the tensors do not tell.
        card: The card whose settings the file takes.

    Returns:
        The card that was written.

    Raises:
        LatentzooError: As in `load`.
    """
    from latentzoo.zoo._plan import Plan

    return Plan.of(os.fspath(path), family=family, card=card).write(Path(out))
