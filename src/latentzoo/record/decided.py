"""By what of its record a run is decided: kept in its state, so that a run goes on as it began.

How it is computed may change on the way (device, micro-batches, translation), and how long it goes on. Files may have
been moved: they are known by what is in them.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from latentzoo.errors import SpecError
from latentzoo.files import apart
from latentzoo.record import places, spec

FREE = ("record", "device", "micro_batch", "compile", "steps")
"""The fields by which no chain becomes another; the plan tells the steps that matter."""
STEPS, HASH = "steps, as planned", "record.inputs."
LONGEST = 60
"""How much of a value an error shows, in characters."""


def decided(run: spec.Run, inputs: Mapping[str, str]) -> dict[str, Any]:
    """What decides a run, by its place in the record, "energies.0.weight", as JSON gives it back.

    Arguments:
        run: The record, with nothing left open.
        inputs: The hashes of what it is made with.
    """
    files = {place: words for place, words in places.named(run) if place in inputs}
    found: dict[str, Any] = {}
    for place, value in _leaves(msgspec.to_builtins(run)):
        name = place.replace(".options.", ".", 1)  # of an energy: so `places` calls them
        if place.split(".")[0] not in (*FREE, "plan"):
            found[place] = _unplaced(value, files[name]) if name in files else value
    found[STEPS] = run.plan or run.steps
    found |= {f"{HASH}{name}": digest for name, digest in inputs.items()}
    return json.loads(json.dumps(found, default=str))


def require_same(then: Mapping[str, Any], now: Mapping[str, Any], *, source: Path) -> None:
    """Refuses to go on with other settings than the first steps were made with; a state may tell none.

    Arguments:
        then: What decided them.
        now: What decides the run now.
        source: Its folder.

    Raises:
        SpecError: If one is another.
    """
    hashed = lambda place: place.startswith(
        HASH
    )  # what was exchanged is told by the hash of all, too
    for place in sorted({**then, **now}, key=hashed) if then else ():
        if then.get(place) != now.get(place):
            more = (
                f"; `latentzoo resume {source} --steps N` makes N more" if place == STEPS else ""
            )
            raise SpecError(
                f"{source}: its first steps were made with {_told(place, then)}, and its record says "
                f"{_told(place, now)}; put this back{more}, or make another run of the changed record: "
                f"`latentzoo run {source}/run.yaml --out NEW`"
            )


def _unplaced(value: str, words: str) -> str:
    """What is said of a file beside its path: a kind before it, and a member or a chain behind it."""
    path, member = apart(words)
    return value.removesuffix(words) + member if Path(path).is_absolute() else value


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The plain values within tables, and within lists that are not of numbers alone, by their places."""
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list | tuple) and any(isinstance(x, dict | str) for x in value):
        items = list(enumerate(value))
    else:
        yield place, value
        return
    for key, x in items:
        yield from _leaves(x, f"{place}.{key}" if place else str(key))


def _told(place: str, settings: Mapping[str, Any]) -> str:
    """A value in words; long ones are cut."""
    words = json.dumps(settings.get(place), ensure_ascii=False)
    return f"{place}: {words if len(words) <= LONGEST else words[:LONGEST] + '...'}"
