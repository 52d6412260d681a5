"""Folders as `transformers` and `diffusers` write them: config.json beside the weights, one folder per component.

model_index.json                            diffusers: the pipeline and its components
unet/config.json, unet/*.safetensors        a component; its tensors are named "unet.NAME" here
config.json, *.safetensors | *.bin          or a single model, names as they are
"""

import json
from collections.abc import Callable, Container
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from latentzoo.errors import CheckpointError

SETTINGS = ("config.json", "scheduler_config.json", "preprocessor_config.json")
WEIGHTS = ("diffusion_pytorch_model", "model", "pytorch_model")
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
        for name, component in sorted({**at_root(path, folders), **folders}.items()):
            if (config := settings(component, name)) is not None:
                records[name] = config
            if name != "scheduler":
                tensors |= {f"{name}.{k}": v for k, v in weights(component, tensors_of).items()}
    else:
        tensors, records = weights(path, tensors_of), {"config": settings(path)}
        if (path / "scheduler_config.json").is_file():
            records["scheduler"] = settings(path, "scheduler")
    if not tensors:
        raise CheckpointError(
            f"{path}: a folder without weights (*.safetensors or *.bin); give the file itself"
        )
    return tensors, records


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
    """The tensors in a folder: safetensors rather than pickles, whole rather than in parts, and half precision last."""
    for name in (f"{stem}.{ending}" for ending in ("safetensors", "bin") for stem in WEIGHTS):
        if (path / name).is_file():
            return tensors_of(path / name)
        if (path / f"{name}.index.json").is_file():
            parts = set(read_json(path / f"{name}.index.json").get("weight_map", {}).values())
            return {
                k: v for part in sorted(parts) for k, v in tensors_of(inside(path, part)).items()
            }
    single = sorted(p for p in path.glob("*.safetensors") if p.is_file())
    return tensors_of(single[0]) if len(single) == 1 else {}


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
