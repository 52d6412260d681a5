"""Text-to-image pipelines of diffusers: what `latentzoo.zoo.load` asks whether a name is one, and loads.

Nothing heavy is imported before one is found.
"""

import inspect
import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentzoo import options as opts
from latentzoo import registry
from latentzoo.errors import MissingExtra, SpecError
from latentzoo.zoo.pipelines import readme

if TYPE_CHECKING:
    import torch

    from latentzoo.generator import Generator
    from latentzoo.hub.fetch import Progress

INDEX = "model_index.json"
OWN = ("recompute", "chunk")
"""Options of the map that are no arguments of a pipeline's call."""
FAMILIES = (
    *("DDPMPipeline", "DDIMPipeline", "PNDMPipeline", "LDMPipeline", "ScoreSdeVePipeline"),
    "ConsistencyModelPipeline",
)
"""Unconditional pipelines, which families of the zoo read."""


def shipped() -> dict[str, Path]:
    """The pipelines that installed packages bring in their `pipelines/`, by name."""
    shelves = (
        registry.folder(package) / "pipelines" for package in registry.shelves("generators")
    )
    return {i.parent.name: i.parent for shelf in shelves for i in sorted(shelf.glob(f"*/{INDEX}"))}


def find(x: str, progress: "Progress | None" = None, variant: str | None = None) -> Path | None:
    """The folder of a pipeline that takes a text; None if `x` is anything else.

    Arguments:
        x: The name of one that a package brings, a folder, or a Hugging Face id "owner/repo", whose model index is
            then fetched.
        progress: Told of every block of a download.
        variant: Which of several kinds of files is downloaded.

    Raises:
        DownloadError: If the pipeline cannot be downloaded.
        SpecError: If it makes no pictures.
    """
    from latentzoo.hub import fetch

    if (ours := shipped().get(x)) is not None:
        return ours
    folder = Path(x)
    if folder.is_dir():
        return folder if (folder / INDEX).is_file() and _takes_text(folder / INDEX) else None
    if folder.exists() or "://" in x or x.count("/") != 1 or x.startswith((".", "/")):
        return None
    try:
        index = fetch.fetch(f"hf://{x}/{INDEX}", progress=progress)
    except fetch.DownloadError:
        return None
    return _download(x, index, variant) if _takes_text(index) else None


def load(
    source: Any,
    /,
    *,
    prompt: Any = None,
    file: Path | None = None,
    device: "torch.device | str" = "cpu",
    dtype: "torch.dtype | None" = None,
    **options: Any,
) -> "Generator":
    """Loads a pipeline as a map.

    Arguments:
        source: The folder, or a `DiffusionPipeline` itself.
        prompt: What the picture should show; several are those of the chains. None where a pipeline reads no text.
        file: One file with all networks, where the folder has configurations only.
        device: Where the networks are put.
        dtype: The type of their numbers; None takes float32, or that of the pipeline handed over.
        options: Arguments of the pipeline's call; and variant, use_safetensors, scheduler, lora of
            `latentzoo.zoo.pipelines.files.pipeline`; recompute and chunk of `TextToImage`.

    Raises:
        SpecError: If there is no prompt or class.
        MissingExtra: If diffusers or transformers is not installed.
        The errors of `latentzoo.zoo.pipelines.files`, `.pipeline` and `.first`.
    """
    _require_packages()
    from latentzoo.hub.offline import obeyed
    from latentzoo.zoo.pipelines.quiet import quiet

    with quiet():
        from latentzoo.zoo.pipelines import files, kinds, schedules
        from latentzoo.zoo.pipelines.asked import PROMPT, subject
        from latentzoo.zoo.pipelines.pipeline import TextToImage

    kind = files.describe(source)[0] if isinstance(source, Path) else type(source)
    kinds.judge(kind)
    if prompt is None and subject(kind) == PROMPT:
        raise SpecError("a text-to-image pipeline needs a prompt; give prompt='...'")
    known = opts.parameters(files.pipeline)
    known = {name: p for name, p in known.items() if name not in ("folder", "file", "dtype")}
    how = {name: options.pop(name) for name in [*options] if name in known}
    own = {name: p for name, p in opts.parameters(TextToImage).items() if name in OWN}
    given = how | {name: value for name, value in options.items() if name in own}
    opts.check(given, known | own, owner="a pipeline", shown="latentzoo show PIPELINE")
    if isinstance(source, Path):
        usual = readme.usual(source)
        if schedules.asked(options):  # times, which say how many steps there are
            usual.pop("num_inference_steps", None)
        options = {**usual, **options}
        with obeyed(asks=False):
            source = files.pipeline(source, file=file, dtype=dtype, **how)
    elif how:
        raise SpecError(
            f"the option {', '.join(how)} is for a folder; do it to the pipeline that is handed over"
        )
    generator = TextToImage(source, prompt, **options).requires_grad_(False)
    return generator.to(device) if dtype is None else generator.to(device, dtype)


def _require_packages() -> None:
    for package, extra in (("diffusers", "diffusers"), ("transformers", "clip")):
        try:
            import_module(package)
        except ImportError as error:
            raise MissingExtra(package, extra, "a text-to-image pipeline") from error


def about(folder: Path) -> dict[str, str]:
    """What is known of a folder's pipeline without loading it: class, components, licence."""
    from latentzoo.zoo.pipelines import files
    from latentzoo.zoo.pipelines.habits import ours

    kind, index = files.describe(folder)
    parts = {name: f"{library}.{part}" for name, (library, part) in index.items()}
    call = inspect.signature(kind.__call__).parameters
    hidden = {"self", "prompt", "kwargs"}
    shown = ", ".join(name for name in call if name not in hidden and ours(name) is None)
    return {
        "pipeline": kind.__name__,
        "licence": readme.licence(folder),
        **parts,
        "options": shown,
    }


def _takes_text(index: Path) -> bool:
    """Whether a model index is of no unconditional pipeline that families read."""
    from latentzoo.hub.folder import read_json

    name = read_json(index).get("_class_name")
    return name not in FAMILIES


def _download(repository: str, index: Path, variant: str | None) -> Path:
    """The folder of a repository's pipeline, by diffusers' own rules of what belongs to it.

    Its class is looked at first, in its model index: a video's networks are not downloaded to be refused.
    """
    from diffusers.pipelines.pipeline_utils import DiffusionPipeline

    from latentzoo.hub import cache
    from latentzoo.hub.fetch import DownloadError
    from latentzoo.hub.offline import obeyed, shut
    from latentzoo.zoo.pipelines import files, kinds

    kind, components = files.describe(index.parent)
    kinds.judge(kind)
    own = (
        {"cache_dir": cache.folder() / "huggingface"} if os.environ.get("LATENTZOO_CACHE") else {}
    )
    repository, _, revision = repository.partition("@")
    try:
        with obeyed(), files.at_home(components):
            folder = DiffusionPipeline.download(
                repository,
                revision=revision or None,
                variant=variant,
                local_files_only=shut(),
                trust_remote_code=False,
                **own,
            )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise DownloadError(f"{repository}: cannot be downloaded ({reason})") from error
    return Path(str(folder))
