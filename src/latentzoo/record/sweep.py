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

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from latentzoo.errors import SpecError, UnknownName
from latentzoo.record import spec

KEYS = ("name", "axes", "run")


def read(path: Path) -> dict[str, spec.Run]:
    """Reads a sweep file.

    Returns:
        The records by name, in the order of the file.

    Raises:
        SpecError: If the file is missing or is no sweep, or two combinations have one name.
        UnknownName: If a key is unknown.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise SpecError(
            f"{path}: there is no such file; give a sweep, e.g. experiments/paper.yaml"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: not a YAML file ({' '.join(str(error).split())})") from None
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


def expand(group: Mapping[str, Any], *, source: str) -> Iterator[tuple[str, spec.Run]]:
    """Yields the name and the record of every combination of a group's labels."""
    for key in group:
        if key not in KEYS:
            raise UnknownName(f"key in {source}:", str(key), KEYS)
    if set(group) != set(KEYS):
        missing = ", ".join(sorted(set(KEYS) - set(group)))
        raise SpecError(f"{source}: {missing} is missing; a group has name, axes and run")
    axes = group["axes"]
    for labels in product(*(axis for axis in axes.values())):
        chosen = dict(zip(axes, labels, strict=True))
        said: dict[str, Any] = {}
        for axis, label in chosen.items():
            said |= axes[axis][label] or {}
        try:
            name = group["name"].format(**chosen)
        except KeyError as error:
            raise UnknownName(f"axis in the name of {source}:", str(error.args[0]), axes) from None
        yield name, spec.parse(_filled(group["run"], said), source=f"{source}: {name}")


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
