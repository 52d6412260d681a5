"""The files that a record names, and where they are from any folder.

A generator, a schedule, a picture to start from, the pictures, networks and other files of energies,
and a pipeline's settings, LoRAs and pictures may be files. In the record of a run they stand with
their whole path, so that it is resumed and run from anywhere.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from latentzoo.files import apart
from latentzoo.record import origin, spec

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""The endings by which words of an energy are known to be a picture's path."""
OPTIONS = ("config", "lora", "path")
"""Options of a map, and keys of a LoRA's table, that are paths whatever their ending."""
KIND = re.compile(r"[a-z]\w*:")
"""What may stand before a file in the words of an energy: `mask:hole.png`, `mps:FILE`."""


def named(run: spec.Run) -> Iterator[tuple[str, str]]:
    """The places of a record at which a file may be named, and what stands there."""
    yield "generator", run.generator
    if run.init is not None and (origin.chain_of(run.init) or _is_file(run.init)):
        yield "init", run.init
    if run.schedule is not None and _is_file(run.schedule):
        yield "schedule", run.schedule
    found: list[tuple[str, str]] = []
    _each(run.options, "options", lambda place, words: found.append((place, words)) or words)
    yield from ((place, words) for place, words in found if _is_file(words))
    for i, term in enumerate(run.energies):
        if _is_picture(term.target):
            yield f"energies.{i}.target", term.target
        for key, words in {"model": term.model, **term.options}.items():
            if isinstance(words, str) and (file := _file_in(words)) is not None:
                yield f"energies.{i}.{key}", file


def located(run: spec.Run) -> spec.Run:
    """The record with the whole path of every file that is here."""
    terms = [
        replace(
            term,
            target=_whole(term.target) if _is_picture(term.target) else term.target,
            model=None if term.model is None else _after_kind(term.model),
            options={
                key: _after_kind(words) if isinstance(words, str) else words
                for key, words in term.options.items()
            },
        )
        for term in run.energies
    ]
    return replace(
        run,
        generator=_whole(run.generator),
        options=_each(run.options, "options", lambda _, words: _whole(words)),
        init=None if run.init is None else origin.whole(run.init) or _whole(run.init),
        schedule=None if run.schedule is None else _whole(run.schedule),
        energies=terms,
    )


def _each(value: Any, place: str, change: Callable[[str, str], str]) -> Any:
    """The options of a map with every path in them changed, told its place and its words."""
    if isinstance(value, dict):
        return {key: _each(x, f"{place}.{key}", change) for key, x in value.items()}
    if isinstance(value, list):
        return [_each(x, f"{place}.{i}", change) for i, x in enumerate(value)]
    keys = [key for key in place.split(".") if not key.isdecimal()]
    if isinstance(value, str) and (keys[-1] in OPTIONS or _is_picture(value)):
        return change(place, value)
    return value


def _file_in(words: str) -> str | None:
    """The file that words of an energy are, or end with after a kind; None if there is none."""
    kind = KIND.match(words)
    ends = (words, words[kind.end() :] if kind else "")
    return next(filter(_is_file, ends), None)


def _after_kind(words: str) -> str:
    """The words of an energy with the whole path of the file in them."""
    file = _file_in(words)
    return words if file is None else words.removesuffix(file) + _whole(file)


def _is_picture(words: str) -> bool:
    return words.lower().endswith(PICTURES)


def _whole(words: str) -> str:
    """The whole path of a file or folder that is here; `FILE#MEMBER` keeps its member; other words stay."""
    if not _is_file(words):
        return words
    path, member = apart(words)
    return f"{Path(path).resolve()}#{member}" if member else str(Path(path).resolve())


def _is_file(words: str) -> bool:
    """Whether words name a file or folder that is here; a long text is none.

    Nor is a bare word, even where a folder is called so: it is a name, such as `avatar-ldm`.
    """
    path, _ = apart(words)
    if "/" not in path and not Path(path).suffix:
        return False
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False
