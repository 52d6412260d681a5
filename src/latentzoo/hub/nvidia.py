"""NVIDIA's persistent-class pickles (StyleGAN2-ADA, -3, -XL, EG3D, StyleNeRF, EDM), by pickle or by dill.

Such a file holds whole modules. Each is a call `torch_utils.persistence._reconstruct_persistent_obj(meta)` whose `meta`
has the class's name, the SOURCE TEXT of its Python module, which the official loader executes, and the module's
`__dict__` as `state`. Here the text is never looked at: the parameters, then the persistent buffers, then the children,
each in their order, are the state dict; what else is in `state` (widths, resolutions, the constructor's arguments) is
the module's record.

A pickle that holds no module at all, but dictionaries of tensors or arrays, is one of plain `pickle.dump`.
"""

from collections.abc import Iterator
from functools import partial
from itertools import chain
from typing import Any

from latentzoo.errors import CheckpointError
from latentzoo.hub import layout
from latentzoo.hub.machine import Budget, Built
from latentzoo.hub.names import CALLS, LOAD, admit_nvidia
from latentzoo.hub.pickles import Window, parse
from latentzoo.hub.records import Plain, Trail
from latentzoo.hub.storage import Declared, Storage
from latentzoo.hub.torch_file import read_legacy

PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
NETWORKS = ("G_ema", "G", "ema")
INNER = {
    "training",
    "_parameters",
    "_buffers",
    "_modules",
    "_non_persistent_buffers_set",
    "_is_full_backward_hook",
}


def read(buffer: memoryview) -> tuple[dict[str, Declared], dict[str, Any]]:
    """Reads the averaged generator of a file.

    Arguments:
        buffer: The file's bytes.

    Returns:
        Its tensors in the order of its state dict, and the records: `modules` has the attributes of each module by its
        path ("" is the generator), the other entries of the file stand beside it. Of dictionaries, see `hub.layout`.

    Raises:
        CheckpointError: If it names what it should not, or has no generator.
        ValueError, TypeError, LookupError: If it is damaged.
    """
    budget = Budget(len(buffer))
    calls = {**CALLS, LOAD: partial(load_storage, budget)}
    whole = parse(Window(buffer), calls=calls, admit=admit_nvidia, budget=budget)
    if layout.is_nameless(whole) or layout.holds_states(whole):
        return layout.split(whole)
    if not isinstance(whole, dict):
        raise CheckpointError(
            "the pickle holds no dictionary of networks; is it of StyleGAN's TensorFlow days?"
        )
    network = next((whole[name] for name in NETWORKS if is_module(whole.get(name))), None)
    if not any(map(is_module, whole.values())) and (states := layout.split(whole))[0]:
        return states
    if network is None:
        have = ", ".join(str(name)[:40] for name in list(whole)[:8])
        raise CheckpointError(f"the pickle has no G_ema or ema that is a network (it has {have})")
    tensors: dict[str, Declared] = {}
    modules: dict[str, Any] = {}
    plain = Plain()
    for path, kind, state in walk(network, "", Trail()):
        tensors |= own_tensors(path, state)
        hooks = {name for name in state if name.endswith("_hooks") or "_hooks_" in name}
        attributes = {name: value for name, value in state.items() if name not in INNER | hooks}
        modules[path] = {"class": kind, **plain(attributes, path)}
    others = {name: value for name, value in whole.items() if not is_module(value)}
    return tensors, {"modules": modules, **plain(others)}


def load_storage(budget: Budget, data: Any) -> Storage:
    """Stands for `torch.storage._load_from_bytes`: a legacy torch file inside the pickle, of one storage.

    Raises:
        ValueError: If the file holds something else.
    """
    storage = read_legacy(memoryview(data), budget)
    if not isinstance(storage, Storage):
        raise ValueError("a storage is declared whose bytes hold something else")
    return storage


def module(value: Any) -> tuple[str, dict[str, Any]] | None:
    """The class's name and the `__dict__` of a module, persistent or of torch.nn; None if it is no module."""
    if not isinstance(value, Built):
        return None
    kind, state = value.of.name, value.state
    if str(value.of) == PERSISTENT and len(value.args) == 1 and isinstance(value.args[0], dict):
        kind, state = value.args[0].get("class_name"), value.args[0].get("state")
    if not isinstance(kind, str) or not isinstance(state, dict) or "_parameters" not in state:
        return None
    return kind, state


def is_module(value: Any) -> bool:
    """Whether a value is a module."""
    return module(value) is not None


def walk(value: Any, name: str, trail: Trail) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Goes through a module and its children: path, class, state.

    Raises:
        ValueError: If a module contains itself.
    """
    found = module(value)
    if found is None:
        raise ValueError(f"its child {str(name)[:120]!r} is not a module")
    kind, state = found
    with trail.into(value, str(name)) as path:
        yield path, kind, state
        for inner, child in state.get("_modules", {}).items():
            if child is not None:
                yield from walk(child, inner, trail)


def own_tensors(path: str, state: dict[str, Any]) -> dict[str, Declared]:
    """The parameters and persistent buffers of one module, by their names in the state dict.

    Raises:
        ValueError: If a parameter or a buffer is no tensor.
    """
    passing = state.get("_non_persistent_buffers_set", set())
    buffers = {k: v for k, v in state.get("_buffers", {}).items() if k not in passing}
    named = chain(state["_parameters"].items(), buffers.items())
    tensors = {f"{path}.{name}".lstrip("."): value for name, value in named if value is not None}
    for name, value in tensors.items():
        if not isinstance(value, Declared):
            raise ValueError(f"'{name[:120]}' is not a tensor")
    return tensors
