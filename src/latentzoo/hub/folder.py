"""Folders as `transformers` and `diffusers` write them: config.json beside the weights, one folder per component.

model_index.json                            diffusers: the pipeline and its components
unet/config.json, unet/*.safetensors        a component; its tensors are named "unet.NAME" here
config.json, *.safetensors | *.bin          or a single model, names as they are
"""

import json
import re
from collections.abc import Callable, Container
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from latentzoo.errors import CheckpointError

SETTINGS = ("config.json", "scheduler_config.json", "preprocessor_config.json")
WEIGHTS = ("diffusion_pytorch_model", "model", "pytorch_model")
ENDINGS = ("safetensors", "bin")
PART = re.compile(r"-\d{5}-of-\d{5}\.")  # in the names of files that an index lists
LARGEST = 2**24  # bytes of a JSON file

Reader = Callable[[Path], dict[str, Tensor]]


def read(path: Path, tensors_of: Reader) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads a folder.

    Arguments:
        path: The folder.
        tensors_of: Reads one weights file.

    Returns:
        Its tensors, and its records: `config` of a single model, else `model_index` and the settings of each component.

    Raises:
        CheckpointError: If there is nothing to read.
    """
    if (path / "model_index.json").is_file():
        records: dict[str, Any] = {"model_index": read_json(path / "model_index.json")}
        tensors: dict[str, Tensor] = {}
        folders = {p.name: p for p in path.iterdir() if p.is_dir()}
        if named := {k for k, v in records["model_index"].items() if isinstance(v, list)}:
            folders = {k: p for k, p in folders.items() if k in named}
        for name, component in sorted({**at_root(path, folders), **folders}.items()):
            if (config := settings(component, name)) is not None:
                records[name] = config
            if name != "scheduler":
                tensors |= {f"{name}.{k}": v for k, v in weights(component, tensors_of).items()}
    else:
        tensors, records = weights(path, tensors_of), {"config": settings(path)}
        if (place := scheduler_of(path)) is not None:
            records["scheduler"] = settings(place, "scheduler")
    if not tensors:
        inner = " or ".join(str(p.parent) for p in sorted(path.glob("*/config.json"))[:3])
        raise CheckpointError(
            f"{path}: a folder without weights (*.safetensors or *.bin); give {inner or 'the file itself'}"
        )
    return tensors, records


def files(path: Path) -> set[Path]:
    """The files that `read` opens, and no others: other programs may put more into a shared folder.

    Raises:
        CheckpointError: If there is nothing to read.
    """
    opened: set[Path] = set()

    def note(file: Path) -> dict[str, Tensor]:
        opened.add(file)
        return {"": torch.empty(0)}

    read(path, note)
    places = {path, *(file.parent for file in opened), path / "scheduler", scheduler_of(path)}
    names = ("model_index.json", *SETTINGS)
    return opened | {p / n for p in places - {None} for n in names if (p / n).is_file()}


def scheduler_of(path: Path) -> Path | None:
    """Where the scheduler of a network stands: beside it, or where its pipeline keeps it.

    A component is a folder of its pipeline, `unet`, or of a state of its training, `checkpoint-500/unet`.
    """
    near = (path, path.parent / "scheduler", path.parent.parent / "scheduler")
    within = near if path.parent.name.startswith("checkpoint-") else near[:2]
    return next((place for place in within if (place / "scheduler_config.json").is_file()), None)


def at_root(path: Path, folders: Container[str]) -> dict[str, Path]:
    """The components of a pipeline without a folder of their own, as in the repositories of 2022.

    Several networks there would be one file; then none is meant.
    """
    index = read_json(path / "model_index.json")
    names = {k for k, v in index.items() if isinstance(v, list) and k not in folders}
    return dict.fromkeys(names, path) if len(names - {"scheduler"}) <= 1 else {}


def settings(path: Path, component: str = "") -> dict[str, Any] | None:
    """The configuration in a folder, if there is one; that of a scheduler has a name of its own."""
    names = ("scheduler_config.json",) if component == "scheduler" else SETTINGS
    return next((read_json(path / name) for name in names if (path / name).is_file()), None)


def weights(path: Path, tensors_of: Reader) -> dict[str, Tensor]:
    """The tensors in a folder: safetensors rather than pickles, whole rather than in parts, and variants last.

    A variant ("fp16") is named `STEM.fp16.safetensors`; in parts, its index is `STEM.safetensors.index.fp16.json`.

    Raises:
        CheckpointError: If there are several variants and nothing else.
    """
    for name in (f"{stem}.{ending}" for ending in ENDINGS for stem in WEIGHTS):
        if (path / name).is_file():
            return tensors_of(path / name)
        if (path / f"{name}.index.json").is_file():
            return parts(path, f"{name}.index.json", tensors_of)
    for ending in ENDINGS:
        whole = {p.name: p for stem in WEIGHTS for p in path.glob(f"{stem}.*.{ending}")}
        whole = {n: p for n, p in whole.items() if p.is_file() and not PART.search(n)}
        split = {p.name for stem in WEIGHTS for p in path.glob(f"{stem}.{ending}.index.*.json")}
        if len(whole) + len(split) > 1:
            some = " and ".join(sorted([*whole, *split])[:3])
            raise CheckpointError(f"{path}: has the variants {some}; give the file that is meant")
        if whole:
            return tensors_of(whole.popitem()[1])
        if split:
            return parts(path, split.pop(), tensors_of)
    single = sorted(p for p in path.glob("*.safetensors") if p.is_file())
    return tensors_of(single[0]) if len(single) == 1 else {}


def parts(path: Path, index: str, tensors_of: Reader) -> dict[str, Tensor]:
    """The tensors of all files that an index names."""
    named = read_json(path / index).get("weight_map", {})
    names = sorted(set(named.values()), key=str)
    return {k: v for name in names for k, v in tensors_of(inside(path, name)).items()}


def inside(folder: Path, name: Any) -> Path:
    """A file of a folder, by the name that its index gives.

    Raises:
        CheckpointError: If the name leads out of the folder.
    """
    if (
        not isinstance(name, str)
        or len(PurePosixPath(name).parts) != 1
        or name in ("..", ".")
        or "\\" in name
    ):
        raise CheckpointError(
            f"{folder}: its index names {str(name)[:120]!r}, which leads out of the folder"
        )
    return folder / name


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object of bounded size.

    Raises:
        CheckpointError: If it is none.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"of more than {LARGEST} bytes")
        value = json.loads(path.read_bytes())
        if not isinstance(value, dict):
            raise ValueError("not an object")
    except (ValueError, RecursionError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable configuration ({error})") from error
    return value
