"""The weights of a pipeline's networks: whole, safe, and of the variant that is asked for.

The libraries draw missing tensors at random and tell so in a log line; here every tensor that is missing, surplus or
of another shape is an error.
"""

import inspect
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from latentzoo.errors import CheckpointError
from latentzoo.zoo.pipelines.blame import unsound

WORDLESS = {"tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"}
"""Files of a tokenizer that hold no words."""
WRONG = {
    "its tensors lack": "missing_keys",
    "its tensors have the surplus": "unexpected_keys",
    "of another shape is": "mismatched_keys",
}
"""What is said of a network's tensors, by the key of the libraries' own account."""
FILE = re.compile(r"[^.]+\.(?:(?P<variant>[^.]+?)(?:-\d+-of-\d+)?\.)?(?:safetensors|bin)")
"""A file of weights: model.safetensors, model.fp16.safetensors, model.fp16-00001-of-00002.safetensors."""


def complete(folder: Path, names: Iterable[str]) -> None:
    """Looks whether the files of every component are there; the libraries make a tokenizer of no words where not.

    Raises:
        CheckpointError: If some are not.
    """
    for name in names:
        files = {path.name for path in (folder / name).glob("*")}
        if not files - (WORDLESS if "tokenizer" in name else set()):
            raise CheckpointError(
                f"{folder}: the files of its component '{name}' are not there; is it complete?"
            )


def named(kind: type[Any], folder: Path, index: Iterable[str]) -> None:
    """Looks whether a model index names every component that its pipeline is made of.

    Arguments:
        kind: The class of the pipeline.
        folder: Its folder.
        index: The components that are named.

    Raises:
        CheckpointError: If one is not.
    """
    taken = inspect.signature(kind.__init__).parameters.values()
    free = {"self", *kind._optional_components}
    asked = {p.name for p in taken if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD}
    if lost := sorted(asked - free - {*index}):
        raise CheckpointError(
            f"{folder / 'model_index.json'}: names no {', '.join(lost)}, of which a {kind.__name__} is made; is it "
            "complete?"
        )


def variants(folder: Path) -> set[str | None]:
    """The variants of a network's weights that are in its folder; None for those without a name."""
    found = (FILE.fullmatch(path.name) for path in folder.glob("*"))
    return {match["variant"] for match in found if match}


def choose(folder: Path, names: Iterable[str], variant: str | None) -> dict[str, str | None]:
    """The variant that is read of each network; that without a name where a network has no other, as diffusers does.

    Arguments:
        folder: The pipeline's folder.
        names: Its networks.
        variant: The variant that is asked for.

    Raises:
        CheckpointError: If no network has the variant, or one has other variants only.
    """
    there = {name: variants(folder / name) for name in names}
    if variant is not None and not any(variant in found for found in there.values()):
        known = sorted({str(v) for found in there.values() for v in found if v is not None})
        cure = f"give variant={' or '.join(known)}" if known else "leave variant out"
        raise CheckpointError(f"{folder}: there are no weights of the variant '{variant}'; {cure}")
    for name, found in there.items():
        if found and not {variant, None} & found:
            known = " or ".join(sorted(map(str, found)))
            raise CheckpointError(
                f"{folder / name}: there are weights of the variant {known} only; give variant={known}"
            )
    return {name: variant if variant in found else None for name, found in there.items()}


def network(kind: Any, folder: Path, settings: Mapping[str, Any]) -> nn.Module:
    """One network of a pipeline, whole.

    Arguments:
        kind: Its class.
        folder: Its folder.
        settings: How it is read: torch_dtype, variant, and use_safetensors, whether pickles are refused.

    Raises:
        CheckpointError: If a tensor is missing, surplus or of another shape, weights are pickled or cannot be read.
    """
    safe = any(folder.glob("*.safetensors"))
    if settings["use_safetensors"] and not safe:
        pickled = any(folder.glob("*.bin"))
        found = "pickled weights only" if pickled else "no weights"
        cure = (
            "give use_safetensors=false to read them as tensors" if pickled else "is it complete?"
        )
        raise CheckpointError(f"{folder}: {found}; {cure}")
    with unsound(folder):
        made, told = kind.from_pretrained(
            folder,
            **{**settings, "use_safetensors": safe},
            output_loading_info=True,
            local_files_only=True,
        )
    for what, key in WRONG.items():
        if names := sorted(map(str, told.get(key) or ())):
            some = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            raise CheckpointError(f"{folder}: {what} {some}; is it the file of another network?")
    return made
