"""Putting the tensors of a file into a guide network, strictly."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from torch import Tensor, nn

from latentzoo.errors import CheckpointError
from latentzoo.hub.keys import Rule, translate

Network = TypeVar("Network", bound=nn.Module)


def fill(
    network: Network, tensors: Mapping[str, Tensor], *, rules: Iterable[Rule] = (), source: str
) -> Network:
    """Loads tensors by name, strictly; counters of batches seen in training may be missing.

    Arguments:
        network: The network, changed in place and returned frozen.
        tensors: The tensors by the file's names.
        rules: The rules from the file's names to ours; none keeps them.
        source: What to call the file in errors.

    Raises:
        CheckpointError: If a tensor is missing, surplus, or has another shape.
    """
    state = translate(tensors, [*rules, Rule("{name*}", "{name}")], source=source)
    own = network.state_dict()
    counters = {k: v for k, v in own.items() if k.endswith("num_batches_tracked")}
    state = counters | {k: v.to(own[k].dtype) if k in own else v for k, v in state.items()}
    for kind, names in (
        ("missing", own.keys() - state.keys()),
        ("surplus", state.keys() - own.keys()),
    ):
        if names:
            some = ", ".join(sorted(names)[:5])
            raise CheckpointError(
                f"{source}: {len(names)} tensors are {kind} ({some}); is it another network's file?"
            )
    for name, value in state.items():
        if value.shape != own[name].shape:
            given, wanted = tuple(value.shape), tuple(own[name].shape)
            raise CheckpointError(
                f"{source}: '{name}' has shape {given}, the network needs {wanted}; is it another's?"
            )
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)
