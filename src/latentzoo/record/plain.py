"""From plain data to the record of a run, and every mistake in it as one line.

The data come from YAML or JSON files, from the command line, and from records that are changed.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml
from msgspec import Struct
from msgspec.structs import replace

from latentzoo import markup, options
from latentzoo.errors import SpecError, UnknownName
from latentzoo.record import words
from latentzoo.record.spec import Measured, Run, Term

MISSING = re.compile(r"Object missing required field '(\w+)'")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
SCALED = ("generator", "card", "options", "vary", "rest_seed", "energies", "strength")
"""The fields that decide the factor of all weights which gives a strength."""
T = TypeVar("T")


def parse(data: Any, *, source: str = "the record", record: type[Run] = Run) -> Run:
    """Makes a record from plain data.

    Arguments:
        data: What a YAML or JSON file held.
        source: What to call it in errors.
        record: The class of the record, `Run` or one that has more fields.

    Raises:
        SpecError: If a value has the wrong type or range, or the generator is missing.
        UnknownName: If a key is unknown, with the nearest one.
    """
    if not isinstance(data, dict):
        raise SpecError(
            f"{source}: a run is a table of keys and values; begin with `generator: NAME`"
        )
    check_keys(data, record, source)
    terms = data.get("energies")
    for i, term in enumerate(terms if isinstance(terms, list) else []):
        if isinstance(term, dict):
            check_keys(term, Term, f"{source}: energies[{i}]")
    if isinstance(data.get("kernel"), str):
        data = {**data, "kernel": {"name": data["kernel"]}}
    if isinstance(data.get("strength"), str):
        data = {**data, "strength": words.nats(data["strength"])}
    run = converted(data, record, source)
    converted(run.record, Measured, f"{source}: record")
    for name in ("strength", "scale"):
        if not options.finite(getattr(run, name)):
            raise SpecError(f"{source}: '{name}' is not finite; give a number")
    if not run.record.get("python"):  # a run of Python calls its terms as it likes
        _check_terms(run.energies, source)
    return run


def converted(
    data: Any,
    record: type[T],
    source: str,
    *,
    cure: str = "`latentzoo schema` shows what is allowed",
) -> T:
    """Makes a record of plain data.

    Arguments:
        data: What a YAML or JSON file held.
        record: The class of the record.
        source: What to call the data in errors.
        cure: The end of the error.

    Raises:
        SpecError: If a value has the wrong type or range.
    """
    try:
        return msgspec.convert(data, record)
    except msgspec.ValidationError as error:
        said = str(error).replace("`$.", "`").replace("`", "'").replace(" - at ", " at ")
        said = MISSING.sub(r"\1 is missing", said)
        raise SpecError(f"{source}: {said}; {cure}") from None


def check_keys(data: Mapping[Any, Any], record: type[Struct], source: str) -> None:
    """Checks that a table has no keys that a record does not have.

    Raises:
        UnknownName: If a key is unknown, with the nearest one.
    """
    known = [field.name for field in msgspec.structs.fields(record)]
    for key in data:
        if key not in known:
            raise UnknownName(f"key in {source}:", str(key), known)


def _check_terms(terms: list[Term], source: str) -> None:
    for term in terms:
        if not options.finite(term.weight):
            raise SpecError(
                f"{source}: the weight of '{term.target}' is not finite; give a number"
            )
        if term.name is not None and NAME.fullmatch(term.name) is None:
            raise SpecError(
                f"{source}: an energy cannot be called '{term.name}'; a name has letters, digits, _ and -"
            )
    names = [term.name for term in terms if term.name is not None]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SpecError(
            f"{source}: two energies are called '{twice}'; give each a name of its own"
        )


def read(path: Path) -> Run:
    """Reads a record from a YAML (or JSON) file.

    Raises:
        SpecError: If the file is missing, is no YAML, or is not a run.
    """
    cure = "`latentzoo sample --save-spec FILE` writes one"
    return parse(read_yaml(path, cure), source=str(path))


def read_yaml(path: Path, cure: str) -> Any:
    """Reads the plain data of a YAML file.

    Arguments:
        path: The file.
        cure: What to do where there is none, the end of the error.

    Raises:
        SpecError: If the file is missing, is no YAML, or has a key twice.
    """
    try:
        return markup.load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise SpecError(f"{path}: there is no such file; {cure}") from None
    except markup.TwiceError as error:
        raise SpecError(f"{path}: {error}; leave one out") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = " ".join(str(error).split())
        raise SpecError(f"{path}: not a YAML file ({line}); {cure}") from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror}); {cure}") from None


def changed(run: Run, values: Mapping[str, Any]) -> Run:
    """The record with some values changed.

    A factor `scale` that was found for a strength goes where the strength, the energies or the map
    change, and so do the hashes of what the run was made with where something else is named.

    Arguments:
        run: The record.
        values: The new values by their keys; "energies.0.weight" goes into a list and a table.

    Raises:
        SpecError: If a key leads nowhere, or a value is not allowed there.
    """
    data = msgspec.to_builtins(run)
    for key, value in values.items():
        *path, last = key.split(".")
        place: Any = data
        try:
            for step in path:
                place = place[int(step)] if isinstance(place, list) else place[step]
            place[int(last) if isinstance(place, list) else last] = value
        except (KeyError, IndexError, ValueError, TypeError):
            raise SpecError(
                f"--set {key}: the record has no such place; `latentzoo schema` shows it"
            ) from None
    if data["scale"] == run.scale and any(key.split(".")[0] in SCALED for key in values):
        data["scale"] = None
    new = parse(data, source="the changed record")
    if _made_with(new) != _made_with(run):
        new.record.pop("inputs", None)
    return new


def _made_with(run: Run) -> tuple[Any, ...]:
    """What says which networks and files a run is made with."""
    guides = [replace(term, weight=None, name=None) for term in run.energies]
    return run.generator, run.family, run.card, run.dtype, run.init, run.schedule, guides
