r"""LoRAs in a pipeline: small changes of its networks' linear maps, each by its name and weight.

.. math:: W' = W + \sum_i w_i \tfrac{\alpha_i}{r_i} B_i A_i

The libraries skip tensors that no network knows, and draw missing ones at random, in a log line; here both are errors.

References:
    | LoRA: Low-Rank Adaptation of Large Language Models (Hu et al., 2021), https://arxiv.org/abs/2106.09685
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from latentzoo.errors import CheckpointError, MissingExtra, SpecError
from latentzoo.zoo.pipelines.quiet import heard, quiet


class Lora(NamedTuple):
    """A LoRA: its file or folder, what it is called, how much it counts."""

    path: Path
    name: str
    weight: float


def read_loras(given: Sequence[str | Mapping[str, Any]]) -> list[Lora]:
    """Reads each LoRA's path, or its table with path, name and weight.

    Raises:
        MissingExtra: If peft is not installed.
        SpecError: If a table lacks the path, has another key, a weight that is no number, or a name that is none of a
            part of a network; or two have one name.
        CheckpointError: If nothing is at the path.
    """
    try:
        import_module("peft")
    except ImportError:
        raise MissingExtra("peft", "lora", "a LoRA") from None
    loras = [_read(one, i) for i, one in enumerate(given)]
    names = [lora.name for lora in loras]
    if len(set(names)) < len(names):
        raise SpecError(f"two LoRAs are called {', '.join(names)}; give each a name of its own")
    return loras


def _read(given: str | Mapping[str, Any], place: int) -> Lora:
    table = {"path": given} if isinstance(given, str) else given
    known = isinstance(table, Mapping) and {"path"} <= {*table} <= {"path", "name", "weight"}
    weight: Any = table.get("weight", 1.0) if known else None
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    there: Any = table.get("path") if known else None
    placed = isinstance(there, str | PathLike) and str(there).strip()
    if not placed or not number or not math.isfinite(weight):
        raise SpecError(
            f"the LoRA {given!r} is not readable; give a path, or {{path: ..., name: ..., weight: 0.8}}"
        )
    name: Any = table.get("name", f"lora{place}")
    if not isinstance(name, str) or not name.strip() or "." in name:
        raise SpecError(
            f"the LoRA's name {name!r} is no name of a part of a network; give a text without a dot, or leave name out"
        )
    path = Path(there)
    if not path.exists():
        raise CheckpointError(f"{path}: there is no such LoRA; check the path")
    if path.is_dir() and len(files := sorted(p.name for p in path.glob("*.safetensors"))) > 1:
        raise CheckpointError(
            f"{path}: there are several LoRAs, {', '.join(files[:4])}; give the file of one"
        )
    return Lora(path, name, float(weight))


def adapt(pipe: Any, loras: Sequence[Lora], *, safe: bool = True) -> None:
    """Puts LoRAs into a pipeline.

    Arguments:
        pipe: The pipeline, which is changed.
        loras: The LoRAs.
        safe: Whether pickled ones are refused.

    Raises:
        SpecError: If the pipeline takes none.
        CheckpointError: If one is of another network.
    """
    if not hasattr(pipe, "load_lora_weights"):
        raise SpecError(f"{type(pipe).__name__} takes no LoRA; leave lora out")
    for lora in loras:
        put(pipe, lora, safe=safe)
    pipe.set_adapters([lora.name for lora in loras], [lora.weight for lora in loras])


def put(pipe: Any, lora: Lora, *, safe: bool) -> None:
    """Loads one LoRA, whole.

    Raises:
        CheckpointError: If a tensor has no place in the networks, or a place no tensor.
    """
    failed: list[str] = []
    with quiet(), heard() as said, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that there is another LoRA already
        try:
            pipe.load_lora_weights(lora.path, adapter_name=lora.name, use_safetensors=safe)
        except Exception as error:  # whatever a file makes its readers do
            failed = [str(error)]
    known = any(lora.name in adapters for adapters in pipe.get_list_adapters().values())
    if failed or not known or (failed := wrong(said, lora.name)):
        reason = " ".join("; ".join(failed or ["no network knows its tensors"]).split())[:200]
        raise CheckpointError(f"{lora.path}: no LoRA of {type(pipe).__name__} ({reason})")


def wrong(said: Sequence[str], name: str) -> list[str]:
    """What diffusers' log says of tensors without a place and places without a tensor.

    Places of other LoRAs, of which it speaks too, are whole.
    """
    unexpected, missing = "unexpected keys found in the model:", "missing keys in the model:"
    found = [
        words.partition("Loading adapter")[0] or words for words in said if unexpected in words
    ]
    for words in said:
        keys = words.partition(missing)[2].strip(" .").split(", ")
        found += [f"{key} is missing" for key in keys if f".{name}." in key][:1]
    return found
