"""Where the weights are in a file: names as the official state dict has them.

A checkpoint is a state dict, or a dictionary that holds one among other things: `{"g": ..., "d": ..., "g_ema": ...}`,
`{"state_dict": ..., "optimizer": ...}`, `{"model": ...}`. The averaged weights are taken where there are several (see
`hub.wrapping`); an average of the parameters alone is completed by the buffers that stand beside it, and one that is
a list has their names (see `hub.averages`). Names are those
inside of that dictionary, so that they are the same whatever a script wrapped around it; nested dictionaries are joined
with dots. Tensors that stand beside it (`latent_avg`) keep their own names; numbers, counts and the states of random
generators that a training keeps there are none of a network's.

A module of TorchScript is its attributes: tensors, numbers and modules.
"""

from collections.abc import Iterator, Mapping
from typing import Any, no_type_check

from latentzoo.errors import CheckpointError
from latentzoo.hub import averages, records, respelling, wrapping
from latentzoo.hub.arrays import Array, as_tensors, holds_tensors, is_array
from latentzoo.hub.checkpoint import ASIDE
from latentzoo.hub.machine import Built
from latentzoo.hub.names import MODULES
from latentzoo.hub.records import Plain, Trail
from latentzoo.hub.storage import Declared

NAMELESS = (
    "its weights have no names; save the network's state dict, a dictionary of names and tensors"
)
HOLDERS = (
    *("g_ema", "G_ema", "ema", "ema_state_dict", "state_dict_ema", "params_ema", "netG_ema"),
    *("state_dict", "model_state_dict", "model", "generator", "netG", "params", "G", "g"),
)


def split(root: Any) -> tuple[dict[str, Declared], dict[str, Any]]:
    """Splits the object of a file into the tensors of its weights and the plain records beside them.

    Raises:
        CheckpointError: If the weights have no names.
        ValueError: If the object is no dictionary, contains itself, or two tensors have one name.
    """
    if isinstance(root, Built) and not is_array(root):
        return split_module(attributes(root, "", Trail()))
    weights, beside = as_tensors(listed(root)), {}
    while (found := holder_of(weights)) is not None:
        holder, inner = found
        beside = {name: value for name, value in weights.items() if name != holder} | beside
        weights = inner
    if is_nameless(weights):
        raise CheckpointError(NAMELESS)
    if not isinstance(weights, Mapping):
        raise ValueError("it holds no dictionary of tensors")
    tensors = dict(flatten(weights, "", Trail()))
    for name, value in beside.items():
        if isinstance(value, Declared) and value.size and value.tensor().is_floating_point():
            if name in tensors:
                raise ValueError(f"it has two tensors of the name '{name}'")
            tensors[name] = value
    rest = {**beside, **{k: v for k, v in weights.items() if not isinstance(v, Declared)}}
    if not tensors and any(map(in_lists, rest.values())):
        raise CheckpointError(NAMELESS)
    plain = Plain()
    told = plain(
        {k: v for k, v in rest.items() if not isinstance(v, Declared) and not holds_tensors(v)}
    )
    return tensors, told | aside(tensors, weights)


def aside(tensors: Mapping[str, Declared], weights: Mapping[Any, Any]) -> dict[str, list[str]]:
    """The record of what stands among arrays that are weights, and is an array of something else."""
    names = [str(k) for k, v in weights.items() if is_array(v) and not records.is_plain(v)]
    own = any(isinstance(tensor, Array) for tensor in tensors.values())
    return {ASIDE: names} if names and own else {}


def split_module(root: Any) -> tuple[dict[str, Declared], dict[str, Any]]:
    """The same for the attributes of a module, of which none is taken for a wrapping.

    Raises:
        ValueError: If there is no module.
    """
    if not isinstance(root, Mapping):
        raise ValueError("it holds no module")
    rest = {k: v for k, v in root.items() if not isinstance(v, Declared) and not holds_tensors(v)}
    return dict(flatten(root, "", Trail())), Plain()(rest)


@no_type_check
def attributes(value: Any, name: str, trail: Trail) -> Any:
    """The attributes of a module of TorchScript, and of the modules in them, as dictionaries.

    Raises:
        ValueError: If a module has no attributes.
    """
    if not isinstance(value, Built) or value.of.module.split(".")[0] != MODULES:
        return value
    if not isinstance(value.state, Mapping):
        raise ValueError(f"its module '{name[:80]}' has no attributes")
    with trail.into(value, name):
        return {str(k): attributes(v, str(k), trail) for k, v in value.state.items()}


def holder_of(value: Any) -> tuple[str, Any] | None:
    """The entry of a dictionary that holds the weights, and these; None if the dictionary is itself the weights.

    Raises:
        CheckpointError: If there are several and it cannot be told which is meant.
    """
    if not isinstance(value, Mapping):
        return None
    value = with_names(value)
    cores = {
        str(name): core(dict(flatten(inner, "", Trail())))
        for name, inner in value.items()
        if isinstance(inner, Mapping) and not is_optimizer(inner) and holds_tensors(inner)
    }
    averaged = (n for n in cores if wrapping.is_averaged(n) and is_second(n, cores))
    first = next((name for name in (*HOLDERS, *averaged) if name in cores), None)
    if first is None:
        return None
    own = cores[first].keys()
    alike = {name: x for name, x in cores.items() if x.keys() == own}
    within = {name: x for name, x in cores.items() if wrapping.is_averaged(name) and x}
    within = {name: x for name, x in within.items() if x.keys() < own}
    chosen = wrapping.choose({**alike, **within})
    whole = next((x for x in cores.values() if x.keys() > cores[chosen].keys()), None)
    if whole is None or not wrapping.is_averaged(chosen):
        return chosen, value[chosen]
    return chosen, averages.filled(cores[chosen], whole)


def is_second(name: str, cores: Mapping[str, Mapping[str, Declared]]) -> bool:
    """Whether an entry is a copy: it has tensors, all of whose names are those of another entry, too."""
    own = cores[name].keys()
    return bool(own) and any(own <= x.keys() for n, x in cores.items() if n != name)


def with_names(value: Mapping[Any, Any]) -> dict[Any, Any]:
    """A dictionary whose averaged weights have names, those that are kept as a list too.

    Raises:
        CheckpointError: If the names of a list are not to be told.
    """
    averaged = {n: x for n, x in value.items() if wrapping.is_averaged(str(n))}
    states = {
        name: dict(flatten(inner, "", Trail()))
        for name, inner in value.items()
        if averaged and is_state(inner)
    }
    found = {name: named(str(name), inner, states) for name, inner in averaged.items()}
    return {**value, **{name: average for name, average in found.items() if average}}


def named(
    name: str, value: Any, states: Mapping[Any, Mapping[str, Declared]]
) -> dict[str, Declared]:
    """An averaged entry under the names of its network; empty if it has them already, or is no average.

    Arguments:
        name: What the file calls the entry.
        value: The entry.
        states: The state dicts of the file.

    Raises:
        CheckpointError: If the names are not to be told.
    """
    average = averages.shadow(name, value, states.values())
    if average is not None:
        return averages.named(name, average, states)
    own = core(states.get(name, {}))
    raw = {
        n: x
        for n, state in states.items()
        if not wrapping.is_averaged(str(n)) and (x := core(state))
    }
    if any(own.keys() <= state.keys() for state in raw.values()):
        return {}
    for state in (
        *raw.values(),
        *(states[n] for n in raw),
    ):  # what is wrapped around may be spelt, too
        if told := respelling.respelt(sizes(own), sizes(state)):
            return {there: own[here] for there, here in told.items()}
    numbered = all(n.isdigit() for n in own)
    if numbered and any(averages.is_copy([*own.values()], state) for state in raw.values()):
        return averages.named(name, [*own.values()], raw)
    return {}


def core(state: Mapping[str, Declared]) -> dict[str, Declared]:
    """A network's tensors without what is counted in it, and by their names without what is wrapped around them."""
    names = wrapping.bare(n for n, x in state.items() if not wrapping.counts(n, x.size))
    return {name: state[whole] for name, whole in names.items()}


def sizes(state: Mapping[str, Declared]) -> dict[str, tuple[int, ...]]:
    """The shapes of tensors by their names."""
    return {name: tensor.size for name, tensor in state.items()}


def is_state(value: Any) -> bool:
    """Whether an entry is a dictionary of tensors by their names."""
    return isinstance(value, Mapping) and averages.LIST not in value and not is_optimizer(value)


def is_optimizer(value: Mapping[Any, Any]) -> bool:
    """Whether a dictionary is the state of an optimizer of torch."""
    return value.keys() >= {"state", "param_groups"}


def in_lists(value: Any) -> bool:
    """Whether a value has tensors that lie in lists: names are those of dictionaries."""
    if isinstance(value, Mapping):
        return not is_optimizer(value) and any(map(in_lists, value.values()))
    return averages.is_unnamed(value) or (isinstance(value, list | tuple) and holds_tensors(value))


def is_nameless(root: Any) -> bool:
    """Whether an object is one tensor or array, or a list of them."""
    return isinstance(root, Declared) or is_array(root) or averages.is_unnamed(root)


def holds_states(root: Any) -> bool:
    """Whether an object is a list with state dicts in it."""
    return isinstance(root, (list, tuple)) and any(isinstance(v, Mapping) for v in root)


def listed(root: Any) -> Any:
    """A list of states as a dictionary: that of DDIM's authors, of five entries, ends with the averaged weights."""
    if not holds_states(root):
        return root
    entries = {str(i): value for i, value in enumerate(root)}
    if len(entries) == 5 and isinstance(entries["4"], Mapping):
        entries["model"], entries["ema"] = entries.pop("0"), entries.pop("4")
    return {k: v for k, v in entries.items() if not (isinstance(v, Mapping) and is_optimizer(v))}


@no_type_check
def flatten(value: Mapping[Any, Any], name: str, trail: Trail) -> Iterator[tuple[str, Declared]]:
    """The tensors of nested dictionaries, names joined with dots."""
    with trail.into(value, name) as path:
        for key, inner in value.items():
            if isinstance(inner, Declared):
                yield f"{path}.{key}" if path else str(key), inner
            elif isinstance(inner, Mapping) and not is_optimizer(inner):
                yield from flatten(inner, str(key), trail)
