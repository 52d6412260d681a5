"""An average beside its network, under names that are spelt in another way.

    model.main.0.weight    model_ema.main0weight    LitEma of CompVis: the names of buffers have no dots
    main.0.weight          shadow.main_0_weight

Both are spelt with the same letters and numbers. An average is of a network's parameters, and has the buffers of the
network.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from latentzoo.hub import wrapping
from latentzoo.hub.averages import STATISTICS
from latentzoo.hub.checkpoint import Checkpoint

SIGNS = re.compile(r"[^0-9A-Za-z]+")
Sizes = Mapping[str, tuple[int, ...]]


def respelt(average: Sizes, state: Sizes) -> dict[str, str]:
    """The names of an average by those of its network; empty if it is none, or spelt in no other way.

    Arguments:
        average: The shapes of an average by their names.
        state: The shapes of a network by theirs.
    """
    own = {SIGNS.sub("", name): whole for name, whole in wrapping.bare(average).items()}
    parameters = [name for name in state if name.rpartition(".")[2] not in STATISTICS]
    if wrapping.bare(average).keys() == wrapping.bare(state).keys():
        return {}
    for names in wrapping.unwrapped(state):
        there = {SIGNS.sub("", name): whole for name, whole in names.items()}
        found = {there.get(letters, ""): name for letters, name in own.items()}
        fits = all(name in state and average[n] == state[name] for name, n in found.items())
        one = len(there) == len(state) and len(found) == len(average)
        if fits and one and 2 * len(found) > len(parameters):
            return found
    return {}


def completed(checkpoint: Checkpoint) -> Checkpoint:
    """A file with the average of its network beside it as that network, averaged; any other as it is.

    Raises:
        CheckpointError: If there are several averages.
    """
    sizes = {n: x for n, x in checkpoint.shapes.items() if not wrapping.counts(n, x)}
    groups: dict[str, dict[str, tuple[int, ...]]] = {}
    for name, size in sizes.items():
        groups.setdefault(name.partition(".")[0] if "." in name else "", {})[name] = size
    averaged = {first: own for first, own in groups.items() if wrapping.is_averaged(first)}
    rest = {k: v for k, v in groups.items() if k not in averaged and not wrapping.is_beside(k)}
    whole = {name: size for own in rest.values() for name, size in own.items()}
    each = (whole, *rest.values())
    told = {
        f"{first}.": next(filter(None, (respelt(own, state) for state in each)), {})
        for first, own in averaged.items()
    }
    if not (found := {first: names for first, names in told.items() if names}):
        return checkpoint
    chosen, tensors = wrapping.choose(found), checkpoint.tensors
    left = (name for name in tensors if not name.startswith(chosen))
    return replace(checkpoint, tensors={n: tensors[found[chosen].get(n, n)] for n in left})
