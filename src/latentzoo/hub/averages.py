"""Weights that are kept as a list, in the order of a network's parameters: averages without names.

    {"model": STATE, "ema": {"decay": 0.9999, "shadow_params": [...]}}    ScoreSDE, torch_ema, diffusers' EMAModel

A state dict has the same order, with buffers in between. Where the list's shapes fit into the state's in one way only,
its names are known; otherwise nothing is chosen. A list under another key than `shadow_params` may be a history of
losses: it is an average if it has the shapes of most of a state's parameters.

References:
    | Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021)
    | https://arxiv.org/abs/2011.13456
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from latentzoo.errors import CheckpointError
from latentzoo.hub.arrays import is_array
from latentzoo.hub.storage import Declared

LIST = "shadow_params"
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""What normalisations count: buffers, with the shapes of the parameters beside them."""


def is_unnamed(value: Any) -> TypeGuard[Sequence[Any]]:
    """Whether a value is a list of tensors or arrays, and of nothing else."""
    return (
        isinstance(value, (list, tuple))
        and bool(value)
        and all(isinstance(v, Declared) or is_array(v) for v in value)
    )


def shadow(
    name: str, value: Any, states: Iterable[Mapping[str, Declared]]
) -> Sequence[Declared] | None:
    """The list of an average's entry; None if it has none.

    Arguments:
        name: What the file calls the entry.
        value: The entry: the list, or a dictionary with the list.
        states: The state dicts beside it.
    """
    inner = value.get(LIST) if isinstance(value, Mapping) else value
    if not is_unnamed(inner):
        return None
    sure = name == LIST or isinstance(value, Mapping)
    return inner if sure or any(is_copy(inner, state) for state in states) else None


def is_copy(average: Sequence[Any], state: Mapping[str, Declared]) -> bool:
    """Whether a list has the shapes of most of a state's parameters, in whatever order, and no other."""
    sizes, own = Counter(shapes(average)), Counter(parameters(state).values())
    return len(own) > 0 and sizes <= own and 2 * len(average) > own.total()


def shapes(average: Sequence[Any]) -> list[tuple[int, ...]]:
    """The shapes of the tensors of a list."""
    return [x.size for x in average if isinstance(x, Declared)]


def named(
    name: str, average: Sequence[Declared], states: Mapping[str, Mapping[str, Declared]]
) -> dict[str, Declared]:
    """An average's list under the names of the one state whose order it has.

    Arguments:
        name: What the file calls the average.
        average: Its tensors.
        states: The state dicts beside it.

    Raises:
        CheckpointError: If no state can be meant, or several, or it fits into one in several ways.
    """
    sizes = shapes(average)
    ways = [
        (first, last)
        for state in states.values()
        if (first := places(sizes, own := parameters(state)))
        and (last := places(sizes[::-1], dict(reversed(own.items()))))
    ]
    if len(sizes) != len(average) or len(ways) != 1 or ways[0][0] != ways[0][1][::-1]:
        raise CheckpointError(
            f"its averaged weights '{name}' are a list without names, and nothing beside it tells them surely; copy "
            "them into the network and save its state dict"
        )
    return dict(zip(ways[0][0], average, strict=True))


def parameters(state: Mapping[str, Declared]) -> dict[str, tuple[int, ...]]:
    """The shapes of what may be a network's parameters, in their order."""
    return {n: x.size for n, x in state.items() if n.rpartition(".")[2] not in STATISTICS}


def places(
    sizes: Sequence[tuple[int, ...]], state: Mapping[str, tuple[int, ...]]
) -> list[str] | None:
    """The first names of a state that have these shapes in this order; None if there are none."""
    left = iter(state.items())
    found = [next((n for n, size in left if size == wanted), None) for wanted in sizes]
    return None if None in found else [n for n in found if n is not None]
