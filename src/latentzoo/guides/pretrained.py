"""What is taken from `transformers`: frozen networks and what goes with them, from a repository or a folder.

Nothing is downloaded where `LATENTZOO_OFFLINE` forbids it, no code of a repository runs, and nothing is printed.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from latentzoo.errors import CheckpointError, LatentzooError, MissingExtra
from latentzoo.hub import cache, offline


def package(name: str, extra: str, purpose: str) -> Any:
    """Imports an optional package.

    Raises:
        MissingExtra: If it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        raise MissingExtra(name, extra, purpose) from None


def load(kind: str, source: str, *, spare: str | None = None) -> Any:
    """Loads a network, a tokenizer or a processor; a network comes frozen and in float32.

    Arguments:
        kind: The class of `transformers`, e.g. "AutoModel".
        source: The repository, or a folder in its layout.
        spare: The part of a network that the files need not have.

    Raises:
        CheckpointError: If it cannot be had from there, or only a part: the library would draw the rest at random,
            and make a tokenizer without words.
        MissingExtra: If transformers is not installed.
    """
    asks = not Path(source).is_dir()
    options: dict[str, Any] = {"local_files_only": cache.offline() or (asks and offline.shut())}
    if kind.startswith("Auto"):
        options["trust_remote_code"] = False
    try:
        with (
            offline.obeyed(asks=asks),
            quiet(library := package("transformers", "clip", f"the model '{source}'")),
        ):
            maker = getattr(library, kind)
            if kind.startswith("AutoModel"):
                options["output_loading_info"] = True
            found = maker.from_pretrained(source, **options)
    except LatentzooError:
        raise
    except Exception as error:  # whatever the files of somebody else make the library raise
        line = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        cure = "install what is missing" if isinstance(error, ImportError) else offline.cure()
        raise CheckpointError(
            f"the model '{source}' cannot be loaded ({line}); give a repository or a folder, or {cure}"
        ) from error
    if kind == "AutoTokenizer" and len(found) <= len(set(found.all_special_ids)):
        raise CheckpointError(
            f"the tokenizer of '{source}' has no words, so that all texts would read alike; put its files beside it "
            "(tokenizer.json, or vocab.json and merges.txt)"
        )
    if not isinstance(found, tuple):
        return found
    network, told = found
    missing = [k for k in sorted(told["missing_keys"]) if spare not in k.split(".")]
    if missing:
        raise CheckpointError(
            f"the files of '{source}' lack {len(missing)} tensors of the network that is asked for "
            f"({', '.join(missing[:2])}, ...); take another model"
        )
    return network.float().eval().requires_grad_(False)


@contextmanager
def quiet(library: Any) -> Iterator[None]:
    """Keeps `transformers` from printing inside."""
    own = library.utils.logging
    verbosity, bars = own.get_verbosity(), own.is_progress_bar_enabled()
    own.set_verbosity_error()
    own.disable_progress_bar()
    try:
        yield
    finally:
        own.set_verbosity(verbosity)
        if bars:
            own.enable_progress_bar()


@contextmanager
def hushed() -> Iterator[None]:
    """Keeps libraries that log their errors beside raising them from printing inside; other threads are heard.

    A logger asks its own filters only, not those of its parents, and libraries make loggers when their modules are
    imported: so handlers have the filter too.
    """
    here = threading.get_ident()
    elsewhere = lambda record: threading.get_ident() != here
    made = [
        x for x in [*logging.root.manager.loggerDict.values()] if isinstance(x, logging.Logger)
    ]
    loggers = [logging.root, *made]
    handlers = [logging.lastResort, *(x for logger in loggers for x in logger.handlers)]
    filtered = [*loggers, *(x for x in handlers if x is not None)]
    for one in filtered:
        one.addFilter(elsewhere)
    try:
        yield
    finally:
        for one in filtered:
            one.removeFilter(elsewhere)
