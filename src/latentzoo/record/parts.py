"""The shards of a run, each in its folder, joined to the folder of the whole run.

    runs/hat/parts/00000-of-00004/     a run folder: run.yaml, state.safetensors, images, ...
    runs/hat/parts/00001-of-00004/
    ...

The whole state is those of the shards side by side (`run.join`), from which a walk goes on that is at its end: what it
leaves is the folder that one process would have left. Pictures are those that the shards drew, so no network is
loaded.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor

from latentzoo import picture
from latentzoo.errors import EnergyError, SpecError
from latentzoo.kernels.types import Point, Potential
from latentzoo.record import layout, plain, schedule, shard, spec
from latentzoo.record.folder import Pictures, RunFolder, is_started
from latentzoo.record.shard import Shard
from latentzoo.rng import Rng
from latentzoo.run import join, state
from latentzoo.run.result import Result, finish
from latentzoo.run.sampling import seeds
from latentzoo.run.trace import Trace
from latentzoo.run.walk import Walk

PROGRAMS = ("latentzoo", "torch")
"""The programs whose versions must be the same in all shards."""


class Part(NamedTuple):
    """A shard in its folder."""

    path: Path
    shard: Shard
    run: spec.Run

    @property
    def finished(self) -> bool:
        """Whether it came to its end."""
        return bool(self.run.record.get("finished"))


def find(folder: Path) -> list[Part]:
    """The shards that were begun in a folder: the folder itself, or those below that of the whole run."""
    places = [folder, *sorted((folder / layout.PARTS).glob("*-of-*"))]
    parts = []
    for path in places:
        if is_started(path):
            run = plain.read(path / layout.RECORD)
            if (words := run.record.get("shard")) is not None:
                parts.append(Part(path, shard.read(str(words)), run))
    return parts


def place(folder: Path, chosen: Shard) -> Path:
    """The folder of a shard below that of the whole run.

    Raises:
        SpecError: If the whole run is there already.
    """
    if is_started(folder):
        raise SpecError(
            f"{folder}: the folder holds a whole run already, so no shard of one is made here; give another --out"
        )
    return folder / layout.PARTS / chosen.folder


def merge(folders: Sequence[Path], out: Path, *, force: bool = False) -> Result:
    """Joins the shards of a run to the folder of the whole run.

    Arguments:
        folders: Where the shards are: their own folders, or that of the whole run.
        out: The folder of the whole run; where it held the shards, it then holds the run.
        force: Whether a run that is there is replaced.

    Raises:
        SpecError: If a shard is missing, unfinished or twice, they are not of one run, or the folder is taken.
    """
    parts = complete([part for folder in folders for part in find(folder)], folders)
    with RunFolder(out, force=force) as folder:
        result = fill(folder, parts, {"shards": len(parts)})
        folder.publish()
    return result


def fill(folder: RunFolder, parts: Sequence[Part], told: dict[str, Any]) -> Result:
    """Writes the whole run into its folder.

    Arguments:
        folder: The folder.
        parts: All of the run's shards, in their order.
        told: What the record tells of how the run was made.
    """
    run = parts[0].run
    result = _walked(folder, run, parts) if run.energies else _drawn(run, parts)
    record = replace(run, record=_measured(result, parts, told))
    folder.fill(result, spec.to_yaml(record), _pictures(parts))
    return result


def complete(parts: Iterable[Part], folders: Iterable[Path]) -> list[Part]:
    """All shards of one run, in their order.

    Raises:
        SpecError: If one is missing, unfinished or twice, or they are not of one run.
    """
    parts = sorted(parts, key=lambda part: part.shard)
    if not parts:
        where = ", ".join(map(str, folders))
        raise SpecError(f"{where}: there are no shards of a run here; make them with --shard i/n")
    first = parts[0]
    for part in parts[1:]:
        _same(first, part)
    have = [part.shard.index for part in parts]
    for one, two in pairwise(parts):
        if one.shard == two.shard:
            raise SpecError(
                f"the shard {one.shard} is in {one.path} and in {two.path}; leave one out"
            )
    if missing := sorted(set(range(first.shard.count)) - set(have)):
        said = ", ".join(f"{i}/{first.shard.count}" for i in missing[:8])
        raise SpecError(f"the shard {said} is missing; make it with --shard, or name its folder")
    for part in parts:
        if not part.finished:
            raise SpecError(
                f"{part.path}: the shard {part.shard} is not finished; go on with `latentzoo resume {part.path}`"
            )
    return parts


def _same(one: Part, other: Part) -> None:
    """Refuses shards of different runs."""
    if one.shard.count != other.shard.count:
        raise SpecError(
            f"{one.path} is a shard of {one.shard.count} and {other.path} one of {other.shard.count}; "
            "shards are joined with those of the same number"
        )
    a, b = (msgspec.to_builtins(replace(part.run, record={})) for part in (one, other))
    if differ := [key for key in a if a[key] != b[key]]:
        raise SpecError(
            f"{other.path} is of another run than {one.path}: their records differ in {', '.join(differ)}"
        )
    a, b = map(_made_with, (one, other))
    if differ := [key for key in {**a, **b} if a.get(key) != b.get(key)]:
        key = differ[0]
        raise SpecError(
            f"{other.path} was made with another {key} than {one.path} ({str(b.get(key))[:16]} instead of "
            f"{str(a.get(key))[:16]}); make its shard again with the same"
        )


def _made_with(part: Part) -> dict[str, str]:
    """The programs and the inputs by which what a shard computes is decided."""
    measured = part.run.record
    return {name: measured["versions"][name] for name in PROGRAMS} | measured["inputs"]


class _Told(Potential):
    """A potential of which only the names of the terms are known: a walk at its end asks for no more."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def evaluate(self, z: Tensor, *, gradient: bool = True) -> Point:
        raise EnergyError("the parts of this run are not at their end; resume them first")


def _walked(folder: RunFolder, run: spec.Run, parts: Sequence[Part]) -> Result:
    whole = join.join((state.read(part.path / layout.STATE) for part in parts), run.chains)
    state.write(folder.state, whole)
    walk = Walk(
        _Told(whole.texts["names"]),
        schedule.kernel(run),
        Rng(*seeds(run.seed, run.chains, run.stream)),
        steps=run.steps,
        plan=run.plan,
        tries=run.tries or 1,
        best=run.best,
        keep=run.keep,
    )
    walk.restore(whole)
    return finish(walk)


def _drawn(run: spec.Run, parts: Sequence[Part]) -> Result:
    read = lambda name: torch.cat([layout.read_latents(part.path, name) for part in parts])
    return Result(
        z=read("z"), start=read("start"), trace=Trace(seeds(run.seed, run.chains, run.stream))
    )


def _measured(result: Result, parts: Sequence[Part], told: dict[str, Any]) -> dict[str, Any]:
    """What the record tells of the whole; the seconds are those of all shards together."""
    of = [part.run.record for part in parts]
    each = lambda key: list(dict.fromkeys(record[key] for record in of))
    alone = lambda key: each(key)[0] if len(each(key)) == 1 else each(key)
    return {
        "versions": of[0]["versions"],
        "device": alone("device"),
        "threads": alone("threads"),
        "seeds": list(result.trace.seeds),
        "inputs": of[0]["inputs"],
        **({"assumed": of[0]["assumed"]} if "assumed" in of[0] else {}),
        **told,
        "finished": True,
        "gradients": result.gradients,
        "seconds": round(sum(record["seconds"] for record in of), 3),
    }


def _pictures(parts: Sequence[Part]) -> Pictures:
    """The pictures that the shards drew."""
    drawn = lambda name: [path for part in parts for path in layout.pictures(part.path / name)]
    paths = {name: drawn(name) for name in (layout.IMAGES, layout.START)}
    return {
        name: np.stack([picture.read_uint8(path) for path in some])
        for name, some in paths.items()
        if some
    }
