"""From the tensors of a file to a network: each accounted for, each parameter given, or an error that names it."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from latentzoo.errors import CheckpointError
from latentzoo.hub.keys import Rule, translate

Network = TypeVar("Network", bound=nn.Module)
KEEP = Rule("{name*}", "{name}")
"""The rule of a file that has our names."""
COUNTER = "num_batches_tracked"


class _Untouched(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)


@contextmanager
def uninitialised() -> Iterator[None]:
    """Networks built inside do not draw their weights, and the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]), _Untouched():
        yield


def fit(
    network: Network,
    tensors: Mapping[str, Tensor],
    rules: Iterable[Rule] = (KEEP,),
    *,
    source: str,
    others: Mapping[str, Tensor] | None = None,
) -> Network:
    """Gives a network the tensors of a file; counters of batches seen in training may be missing.

    A tensor that has the network's type and lies in order is taken as it was read, without a copy. Of a large file
    it is a view, whose pages are read when they are needed and are shared by all processes that load it; of a small
    one it is apart from the file already (`hub.read.COPIED`).

    Arguments:
        network: The network.
        tensors: The tensors by the file's names.
        rules: From those names to the network's.
        source: What to call the file in errors.
        others: What stands for tensors that the file need not have, by the network's names.

    Returns:
        The network, frozen and in evaluation mode.

    Raises:
        CheckpointError: If a tensor has no rule, or one is missing, surplus, of another shape, or not finite.
    """
    rules = list(rules)
    state = translate(tensors, rules, source=source)
    own = network.state_dict()
    state = {n: x for n, x in own.items() if n.endswith(COUNTER)} | {**(others or {})} | state
    for kind, names in (
        ("lacks", own.keys() - state.keys()),
        ("has surplus", state.keys() - own.keys()),
    ):
        if names:
            some = ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
            raise CheckpointError(
                f"{source}: {kind} {len(names)} tensors ({some}); is it of this family and size?"
            )
    for name, value in state.items():
        if value.shape != own[name].shape:
            shapes = f"the shape {tuple(value.shape)} and the network {tuple(own[name].shape)}"
            raise CheckpointError(
                f"{source}: '{name}' has {shapes}; is it of this family and size?"
            )
        if value.is_complex() or value.is_floating_point() != own[name].is_floating_point():
            raise CheckpointError(
                f"{source}: '{name}' holds {value.dtype}, the network {own[name].dtype}"
            )
        state[name] = numbers(value, name, source=source).to(own[name].dtype).contiguous()
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def numbers(value: Tensor, name: str, *, source: str) -> Tensor:
    """A tensor of a file as a network takes it: dense, and finite.

    Raises:
        CheckpointError: If it has no numbers, or some are not finite.
    """
    if value.is_meta:
        raise CheckpointError(
            f"{source}: '{name}' has a shape and no numbers; it was saved from the device 'meta'"
        )
    value = value.to_dense() if value.layout != torch.strided else value
    if not value.is_floating_point():
        return value
    value = value.float() if value.element_size() == 1 else value  # float8 knows no `isfinite`
    if value.numel() and not all(end.isfinite() for end in value.aminmax()):
        raise CheckpointError(
            f"{source}: '{name}' holds NaN or infinite numbers; the file is damaged"
        )
    return value
