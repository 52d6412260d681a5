"""What is said of a call whose pictures are otherwise than it may seem.

That are options that change nothing, pictures whose size is changed, and what diffusers says in its log to ignore.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from latentzoo.errors import SpecError, without_addresses
from latentzoo.zoo.pipelines import effects, follow, options, pictures
from latentzoo.zoo.pipelines.asked import AGAINST
from latentzoo.zoo.pipelines.draws import Draws
from latentzoo.zoo.pipelines.first import First
from latentzoo.zoo.pipelines.pictures import Size
from latentzoo.zoo.pipelines.stage import Caller

SIDES = "height", "width"


def without_effect(first: First, given: Mapping[str, Any]) -> dict[str, str]:
    """What is said of the options that change nothing, by their names.

    Arguments:
        first: The first run.
        given: The options that the user gives.
    """
    call = first.call
    asked = next((a for a in first.known if a.against), next(iter(first.known)))
    whole = call.shared | call.own[asked.own]
    heard = {n: whole[n] for n in given if n in whole} | {AGAINST: asked.against}
    usual = {n: p.default for n, p in call.taken.items() if p.default is not p.empty}
    usual |= options.habits(type(call.pipe), heard)
    kept = call.resized.copy(), call.ignored.copy()

    def run(trace: Caller, ear: follow.Ear, change: Mapping[str, Any]) -> Tensor:
        against = change.get(AGAINST, asked.against)
        one = asked._replace(against=None if against is effects.LEFT_OUT else against)
        changed = {n: usual[n] if x is effects.LEFT_OUT else x for n, x in change.items()}
        changed.pop(AGAINST, None)
        with torch.no_grad():
            return call([one], Draws(), trace, ear, see=ear.see, change=changed)

    names = effects.unheard(run, first.probe, first.memory(asked), heard, usual)
    call.resized, call.ignored = kept
    return {n: without_addresses(effects.told(call.name, n, heard[n])) for n in names}


def otherwise(first: First, size: Size, given: Mapping[str, Any]) -> dict[str, str]:
    """What is said of the log and of pictures that are resized.

    Arguments:
        first: The first run.
        size: Height and width of its picture.
        given: The options that the user gives.

    Raises:
        SpecError: If a picture is changed out of its shape, see `pictures.resized`.
    """
    call = first.call
    free, asked = {*SIDES} <= {*call.taken}, all(map(given.get, SIDES))
    resized = pictures.resized(
        call.name, call.resized, size if asked else None, free=free and not asked
    )
    logs = [f"{call.name} says: {without_addresses(log)[:200]}" for log in sorted(call.ignored)]
    lines = {"call": "; ".join(logs), "resized": "; ".join(resized)}
    return {name: line for name, line in lines.items() if line}


def of_size(name: str, size: Size, given: Mapping[str, Any]) -> None:
    """Looks whether a picture has the size that is asked for.

    Raises:
        SpecError: If it has another.
    """
    height, width = size
    asked = (given.get("height") or height, given.get("width") or width)
    if asked == size:
        return
    cure = f"give height={height}, width={width}, or multiples that it knows"
    raise SpecError(
        f"{name} makes {height}x{width} pixels of the {asked[0]}x{asked[1]} that are "
        f"asked for; {cure if all(map(given.get, SIDES)) else 'give both height and width'}"
    )
