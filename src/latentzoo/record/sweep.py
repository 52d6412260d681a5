"""Sweeps: many records from one file, as the product of its axes.

groups:
  - name: clip_{prompt}_{model}_{strength}       # one name per combination of labels
    axes:
      prompt: {baby: {text: a photo of a baby}, old: {text: a photo of an old person}}
      model: {sg2: {generator: stylegan2-ffhq-1024, options: {truncation: 0.7}}, ...}
      strength: {100: {weight: 100}, 500: {weight: 500}}
    run:                                         # a record; `$key` is what the labels say of `key`,
      generator: $generator                      # and is left out where they say nothing
      options: $options
      energies: [{target: $text, weight: $weight}]
"""

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

from msgspec import Struct

from latentzoo.errors import SpecError, UnknownName
from latentzoo.record import plain, spec

Label = str | int | float
FOLDER = re.compile(r"\w[\w .,+=@-]*")


class Group(Struct, frozen=True, forbid_unknown_fields=True):
    """The records of one template.

    Attributes:
        name: The name of each record, with `{AXIS}` for the labels; it is the name of the run's folder.
        axes: What each label of each axis says.
        run: The record, with `$key` for what the labels say.
    """

    name: str
    axes: dict[str, dict[Label, dict[str, Any] | None]]
    run: dict[str, Any]


def read(path: Path) -> dict[str, spec.Run]:
    """Reads a sweep file.

    Returns:
        The records by name, in the order of the file.

    Raises:
        SpecError: If the file is missing or is no sweep, two combinations have one name, or a name is not that
            of a folder.
        UnknownName: If a key is unknown.
    """
    data = plain.read_yaml(path, "give a sweep, e.g. experiments/paper.yaml")
    if not isinstance(data, dict) or not isinstance(data.get("groups"), list):
        raise SpecError(f"{path}: a sweep is a list of `groups`, each with name, axes and run")
    runs: dict[str, spec.Run] = {}
    for number, group in enumerate(data["groups"]):
        for name, run in expand(group, source=f"{path}: groups[{number}]"):
            if name in runs:
                raise SpecError(
                    f"{path}: two combinations are called '{name}'; name every axis in `name`"
                )
            runs[name] = run
    return runs


def expand(data: Any, *, source: str) -> Iterator[tuple[str, spec.Run]]:
    """Yields the name and the record of every combination of a group's labels.

    Arguments:
        data: The group as plain data.
        source: What to call it in errors.

    Raises:
        SpecError: If it is no group, or a name is not that of a folder.
        UnknownName: If a key or an axis is unknown.
    """
    if isinstance(data, dict):
        plain.check_keys(data, Group, source)
    cure = "a group has name, axes and run, see experiments/paper.yaml"
    group = plain.converted(data, Group, source, cure=cure)
    for labels in product(*group.axes.values()):
        chosen = dict(zip(group.axes, labels, strict=True))
        said: dict[str, Any] = {}
        for axis, label in chosen.items():
            said |= group.axes[axis][label] or {}
        name = _name(group, chosen, source)
        yield name, plain.parse(_filled(group.run, said), source=f"{source}: {name}")


def _name(group: Group, chosen: Mapping[str, Label], source: str) -> str:
    """The name of a combination, which must be one folder's."""
    try:
        name = group.name.format(**{axis: str(label) for axis, label in chosen.items()})
    except KeyError as error:
        raise UnknownName(
            f"axis in the name of {source}:", str(error.args[0]), group.axes
        ) from None
    except (ValueError, IndexError, AttributeError) as error:
        raise SpecError(
            f"{source}: the name '{group.name}' cannot be filled in ({error}); write {{AXIS}} for a label"
        ) from None
    if FOLDER.fullmatch(name) is None or len(name) > 200:
        raise SpecError(
            f"{source}: '{name}' cannot be the name of a folder; take letters, digits, spaces and _ . , + = @ -"
        )
    return name


def only(runs: Mapping[str, spec.Run], pattern: str | None) -> dict[str, spec.Run]:
    """Keeps the records whose name matches a shell pattern like `clip_*_stylegan2*`.

    Raises:
        SpecError: If none does.
    """
    chosen = {
        name: run for name, run in runs.items() if pattern is None or fnmatchcase(name, pattern)
    }
    if not chosen:
        raise SpecError(
            f"no experiment matches '{pattern}'; `latentzoo sweep FILE --list` shows their names"
        )
    return chosen


def _filled(value: Any, said: Mapping[str, Any]) -> Any:
    """Puts what the labels say in the place of every `$key`; a key they leave out is left out."""
    if isinstance(value, dict):
        kept = {key: inner for key, inner in value.items() if not _left_out(inner, said)}
        return {key: _filled(inner, said) for key, inner in kept.items()}
    if isinstance(value, list):
        return [_filled(inner, said) for inner in value if not _left_out(inner, said)]
    return said[value[1:]] if isinstance(value, str) and value.startswith("$") else value


def _left_out(value: Any, said: Mapping[str, Any]) -> bool:
    return isinstance(value, str) and value.startswith("$") and value[1:] not in said
