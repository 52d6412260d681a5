"""The parts of a pipeline, and of the pipelines inside it; nothing here changes one."""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from latentzoo.zoo.pipelines.habits import PAINT


def stages(pipe: Any) -> Iterator[tuple[str, Any]]:
    """A pipeline, and those inside it."""
    yield "", pipe
    for name, part in vars(pipe).items():
        if name.endswith("_pipe") and hasattr(part, "components"):
            yield name, part


def networks(pipe: Any) -> dict[str, nn.Module]:
    """The networks of a pipeline and of those inside it, by name; one in two places has one."""
    found: dict[int, tuple[str, nn.Module]] = {}
    for prefix, p in stages(pipe):
        for name, part in vars(p).items():
            if isinstance(part, nn.Module):
                found.setdefault(id(part), (f"{prefix}_{name}".strip("_"), part))
    return dict(found.values())


def encoders(pipe: Any) -> set[str]:
    """The names of its text encoders."""
    return {name for _, p in stages(pipe) for name in vars(p) if "text_encoder" in name}


def without(pipe: Any, names: set[str]) -> Any:
    """A copy without some parts."""
    new = copy.copy(pipe)
    for name, part in vars(pipe).items():
        if name in names:
            vars(new)[name] = None
        elif name.endswith("_pipe") and hasattr(part, "components"):
            vars(new)[name] = without(part, names)
    return new


def bare(pipe: Any) -> Any:
    """A copy without what paints over pictures, that tells no progress."""
    new = without(pipe, set(PAINT))
    for _, p in stages(new):
        vars(p)["_progress_bar_config"] = {"disable": True}
    return new


def upcast(networks: Iterable[nn.Module]) -> None:
    """Decodes in 32 bits where 16 overflow; the pipeline would cast there, and back before the gradient."""
    for net in networks:
        wide = getattr(getattr(net, "config", None), "force_upcast", False)
        if wide and hasattr(net, "decode") and net.dtype == torch.float16:
            net.float()


def switched(networks: Iterable[nn.Module]) -> None:
    """Gives a network the switch that it asks for where gradients are on, and that its class forgets (the ControlNet of
    Z-Image)."""
    for net in networks:
        if getattr(net, "_supports_gradient_checkpointing", False) and not hasattr(
            net, "gradient_checkpointing"
        ):
            vars(net)["gradient_checkpointing"] = False
