"""A text-to-image pipeline from a folder in diffusers' layout, or from one file and such a folder.

Nothing of a folder runs: a component's class is one of diffusers or transformers, and weights are
safetensors unless pickles are asked for, which are read as tensors only.
"""

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import nn

from latentzoo import options
from latentzoo.errors import CheckpointError, MissingExtra, SpecError, UnknownName
from latentzoo.hub.folder import read_json
from latentzoo.zoo.pipelines import gguf, weights
from latentzoo.zoo.pipelines import settings as told
from latentzoo.zoo.pipelines.blame import refused, unsound
from latentzoo.zoo.pipelines.habits import REFUSED
from latentzoo.zoo.pipelines.lora import adapt, read_loras
from latentzoo.zoo.pipelines.quiet import quiet

LIBRARIES = ("diffusers", "transformers")
LENT: Counter[str] = Counter()
"""How many loads need a module of diffusers where `at_home` puts it; the last one takes it away."""
LOCK = threading.Lock()


def pipeline(
    folder: Path,
    *,
    file: Path | None = None,
    dtype: torch.dtype | None = None,
    variant: str | None = None,
    use_safetensors: bool = True,
    scheduler: str | Mapping[str, Any] | None = None,
    lora: str | Mapping[str, Any] | list[Any] | None = None,
) -> Any:
    """Loads a pipeline.

    Arguments:
        folder: The folder with model_index.json.
        file: The weights of all networks in one file; the folder then holds configurations and
            tokenizers only, and there is no variant. A GGUF file is the denoiser alone, and the folder holds the rest.
        dtype: The type of the networks' numbers, float32 by default.
        variant: Which of several kinds of files is read, "fp16".
        use_safetensors: Whether pickled weights are refused.
        scheduler: Another scheduler by its class; or the class and its settings, {"class": ...}.
        lora: A LoRA's file or folder; or {"path": ..., "name": ..., "weight": ...}; or several.

    Raises:
        CheckpointError: If the folder holds code, a component is not whole, or cannot be read.
        UnknownName: If a class does not exist.
        MissingExtra: If the LoRA's package is not installed.
    """
    kind, index = describe(folder)
    weights.named(kind, folder, index)
    packed = file is not None and file.suffix == gguf.ENDING
    own = gguf.denoiser(kind.__name__, index) if packed else None
    if file is None or packed:
        weights.complete(folder, (name for name in index if name != own))
    told.readable(folder, index)
    loras = [] if lora is None else read_loras(lora if isinstance(lora, list) else [lora])
    settings = {"torch_dtype": dtype or torch.float32}
    with unsound(file or folder), quiet(), at_home(index):
        if file is not None:
            whole(file, variant, safe=use_safetensors)
        if file is not None and own is None:
            pipe = _single(kind, file, folder, settings)
        else:
            classes = {name: _class(*where) for name, where in index.items()}
            kinds = {name: part for name, part in classes.items() if _weighs(part) and name != own}
            parts = {}
            if file is not None and own is not None:
                numbers = settings["torch_dtype"]
                parts[own] = gguf.network(classes[own], file, folder / own, numbers)
            chosen = weights.choose(folder, kinds, variant)
            read = {**settings, "use_safetensors": use_safetensors}
            parts |= {
                name: weights.network(part, folder / name, {**read, "variant": chosen[name]})
                for name, part in kinds.items()
            }
            parts |= {
                name: part.from_pretrained(folder / name, local_files_only=True)
                for name, part in classes.items()
                if isinstance(part, type) and issubclass(part, SchedulerMixin)
            }
            pipe = kind.from_pretrained(
                folder, **parts, **settings, local_files_only=True, trust_remote_code=False
            )
        pipe.set_progress_bar_config(disable=True)
    told.warn_of_unread(folder, pipe)
    if scheduler is not None:
        pipe.scheduler = exchange(pipe.scheduler, scheduler)
    if loras:
        with unsound(folder):
            adapt(pipe, loras, safe=use_safetensors)
    return pipe


def describe(folder: Path) -> tuple[Any, dict[str, tuple[str, str]]]:
    """The class of a folder's pipeline, and the library and class of each component.

    Raises:
        CheckpointError: If there is no model index, or it names code of its own.
        UnknownName: If diffusers has no such pipeline.
    """
    path = folder / "model_index.json"
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: no pipeline, there is no model_index.json; give the folder that has it"
        )
    record = read_json(path)
    name = record.get("_class_name")
    if not isinstance(name, str | list):
        raise CheckpointError(
            f"{path}: names no pipeline, its _class_name is {json.dumps(name)[:80]}; give diffusers' name of its class"
        )
    if not isinstance(name, str):
        raise CheckpointError(
            f"{folder}: its pipeline is code of its own ({json.dumps(name)[:80]}), which is not run"
        )
    kinds = [n for n in dir(diffusers) if n.endswith("Pipeline")]
    if name not in kinds:
        raise UnknownName("pipeline class", name, kinds, shown="see diffusers' documentation")
    index = {}
    for key, value in record.items():
        if not isinstance(value, list) or key.startswith("_") or len(value) != 2:
            continue
        library, part = value
        if not isinstance(part, str) or library is None:  # left out; or two numbers of a setting
            continue
        if library not in LIBRARIES and not _own(library):
            raise CheckpointError(
                f"{folder}: its component '{key}' is code of its own ({library}.{part}), which is "
                "not run"
            )
        index[key] = (_where(library, part), part)
    with quiet():
        return getattr(diffusers, name), index


def exchange(scheduler: Any, wanted: str | Mapping[str, Any]) -> Any:
    """Another scheduler, with the settings of the one that is there and those that are given.

    Raises:
        UnknownName: If there is no such class or setting.
        SpecError: If a setting is of a wrong type, or the class makes no map or refuses it.
    """
    given = (
        {"class": wanted} if isinstance(wanted, str) else {str(k): v for k, v in wanted.items()}
    )
    name = str(given.pop("class", type(scheduler).__name__))
    kinds = [n for n in dir(diffusers) if n.endswith("Scheduler")]
    if name not in kinds:
        raise UnknownName("scheduler", name, kinds, shown="see diffusers' documentation")
    if name in REFUSED:
        raise SpecError(f"{name} makes no map: {REFUSED[name]}; take another scheduler")
    kind = getattr(diffusers, name)
    known = {k: p for k, p in options.parameters(kind).items() if k != "self"}
    options.check(given, known, owner=name, shown=f"diffusers.{name}")
    with quiet(), refused(name, "its settings", "check them"):
        return kind.from_config(scheduler.config, **given)


@contextmanager
def at_home(index: Mapping[str, tuple[str, str]]) -> Iterator[None]:
    """Lets diffusers find the parts of its pipelines that it has moved away since repositories named them: Stable
    Cascade's decoder is one of Wuerstchen's, whose pipeline has retired."""
    libraries = {library for library, _ in index.values()} - {*LIBRARIES}
    with LOCK:
        lent = {n for n in libraries if LENT[n] or not hasattr(diffusers.pipelines, n)}
        for library, home in {n: _home(n) for n in lent}.items():
            setattr(diffusers.pipelines, library, home)
        LENT.update(lent)
    try:
        yield
    finally:
        with LOCK:
            LENT.subtract(lent)
            for library in lent:
                if not LENT[library]:
                    delattr(diffusers.pipelines, library)


def whole(file: Path, variant: str | None, *, safe: bool) -> None:
    """Looks whether a file can have all networks in it, as it is asked for.

    Raises:
        CheckpointError: If it is pickled and pickles are refused.
        SpecError: If a variant is asked for.
    """
    if safe and file.suffix not in (".safetensors", gguf.ENDING):
        raise CheckpointError(
            f"{file}: pickled weights; give use_safetensors=false to read them as tensors"
        )
    if variant is not None:
        raise SpecError(f"{file} is one file, of which there is no variant; leave variant out")


def _single(kind: Any, file: Path, folder: Path, settings: dict[str, Any]) -> Any:
    """A pipeline whose networks are in one file.

    Without accelerate, diffusers draws a lost tensor at random; with it, it stays without numbers.
    """
    if find_spec("accelerate") is None:
        raise MissingExtra("accelerate", "diffusers", "a pipeline in one file")
    if not hasattr(kind, "from_single_file"):
        raise SpecError(f"{kind.__name__} is not read from one file; give its folder")
    pipe = kind.from_single_file(str(file), config=str(folder), **settings, local_files_only=True)
    for name, part in pipe.components.items():
        if isinstance(part, nn.Module):
            bare = [n for n, p in part.named_parameters() if p.is_meta]
            if bare:
                raise CheckpointError(f"{file}: the {name} lacks {bare[0]}; is it complete?")
    return pipe


def _class(library: str, name: str) -> Any:
    module = import_module(library) if library in LIBRARIES else _home(library)
    kind = getattr(module, name, None)
    if not isinstance(kind, type):  # no such name, or that of a module or a function
        known = [n for n in dir(module) if n[:1].isupper()]
        raise UnknownName(f"class of {library}", name, known, shown="see its documentation")
    return kind


def _weighs(kind: Any) -> bool:
    """Whether a component is a network."""
    return isinstance(kind, type) and issubclass(kind, nn.Module)


def _own(library: Any) -> bool:
    """Whether a library is one of diffusers' own pipelines, which bring networks."""
    return isinstance(library, str) and _home(library) is not None


def _where(library: str, part: str) -> str:
    """The library of a component. diffusers writes the folder of a retired class for its library, and finds it there
    no more."""
    lost = library not in LIBRARIES and not hasattr(_home(library), part)
    return "diffusers" if lost and hasattr(diffusers, part) else library


def _home(library: str) -> Any:
    """The module of one of diffusers' own pipelines, retired ones too; None for any other name."""
    if hasattr(diffusers.pipelines, library):
        return getattr(diffusers.pipelines, library)
    retired = f"diffusers.pipelines.deprecated.{library}"
    return import_module(retired) if library.isidentifier() and find_spec(retired) else None
