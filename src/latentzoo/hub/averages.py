"""Weights that are kept as a list, in the order of a network's parameters: averages without names.

    {"model": STATE, "ema": {"decay": 0.9999, "shadow_params": [...]}}    ScoreSDE, torch_ema, diffusers' EMAModel

A state dict has the same order, with buffers in between, and a tensor twice that the list has once: one that is tied.
Where the list's shapes fit into the state's in one way only, its names are known; otherwise nothing is chosen. A list
under another key than `shadow_params` may be a history of losses: it is an average if it has the shapes of most of a
state's parameters. So is a dictionary whose names are none of the network's, as the numbers from 0 on.

References:
    | Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021)
    | https://arxiv.org/abs/2011.13456
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from latentzoo.errors import CheckpointError
from latentzoo.hub import wrapping
from latentzoo.hub.arrays import is_array
from latentzoo.hub.storage import Declared, View

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
    states = list(states)
    inner = value.get(LIST) if isinstance(value, Mapping) else value
    if is_unnamed(inner):
        sure = name == LIST or isinstance(value, Mapping)
        return inner if sure or any(is_copy(inner, state) for state in states) else None
    if not isinstance(value, Mapping):
        return None
    lists = {str(k): v for k, v in value.items() if is_unnamed(v)}
    copies = {k: v for k, v in lists.items() if any(is_copy(v, state) for state in states)}
    return copies[wrapping.choose(copies)] if copies else None


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
            f"its averaged weights '{name}' are without the network's names, and nothing beside them tells these "
            "surely; copy them into the network and save its state dict"
        )
    return dict(zip(ways[0][0], average, strict=True))


def parameters(state: Mapping[str, Declared]) -> dict[str, tuple[int, ...]]:
    """The shapes of what may be a network's parameters, in their order; one that is tied has its first name."""
    names = first_names(state)
    learned = (n for n in state if n == names[n] and n.rpartition(".")[2] not in STATISTICS)
    return {name: state[name].size for name in learned}


def first_names(state: Mapping[str, Declared]) -> dict[str, str]:
    """The first of the names by which a state has a tensor, by each of them."""
    found: dict[Any, str] = {}
    return {name: found.setdefault(_numbers(x), name) for name, x in state.items()}


def _numbers(x: Declared) -> Any:
    """What is the same of tensors that are tied."""
    return (id(x.storage), x.offset, x.size, x.stride) if isinstance(x, View) else id(x)


def filled(average: Mapping[str, Declared], whole: Mapping[str, Declared]) -> dict[str, Declared]:
    """An average of parameters with the buffers of its network; a tied tensor is averaged under all of its names."""
    names = first_names(whole)
    rest = {name: average.get(names[name], x) for name, x in whole.items() if name not in average}
    return {**average, **rest}


def places(
    sizes: Sequence[tuple[int, ...]], state: Mapping[str, tuple[int, ...]]
) -> list[str] | None:
    """The first names of a state that have these shapes in this order; None if there are none."""
    left = iter(state.items())
    found = [next((n for n, size in left if size == wanted), None) for wanted in sizes]
    return None if None in found else [n for n in found if n is not None]
