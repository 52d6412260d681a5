"""What is done around a pipeline's networks and undone before the gradient, refused before the first step.

Offloading, casting of layers and caches are hooks: they change a network for its call and put it
back. The gradient comes after, and finds other weights, or none: an error, or NaN without a word.
"""

from typing import Any

from torch import nn

from latentzoo.errors import SpecError
from latentzoo.zoo.pipelines.habits import REFUSED

NEEDED = ("scheduler", "unet", "transformer", "vae")
"""Parts without which nothing is made, where a pipeline has them."""
CACHES = ("cache", "fbc", "taylorseer", "pyramid", "kv", "layer_skip", "guidance")
HOOKS = {
    "offload": "is offloaded: its weights are away when the gradient comes",
    "casting": "casts its layers for the call and back before the gradient",
    "cache": "gives results of earlier calls again, so that pictures depend on what came before",
    "other": "is changed by hooks around its call, which the gradient does not know",
}


def refuse(pipe: Any) -> None:
    """Looks a pipeline over.

    Raises:
        SpecError: If a part is missing, a network is under a hook, or the scheduler makes no map.
    """
    for name in NEEDED:
        optional = name not in vars(pipe) or name in type(pipe)._optional_components
        if not optional and getattr(pipe, name) is None:
            raise SpecError(f"the {type(pipe).__name__} has no {name}; load it with one")
    for name, part in vars(pipe).items():
        if name.endswith("_pipe") and hasattr(part, "components"):
            refuse(part)
        kind = type(part).__name__
        if kind in REFUSED:
            raise SpecError(f"{kind} makes no map: {REFUSED[kind]}; take another scheduler")
        if isinstance(part, nn.Module) and (what := hooked(part)) is not None:
            raise SpecError(
                f"the {name} of {type(pipe).__name__} {HOOKS[what]}; load the pipeline without it"
            )


def hooked(network: nn.Module) -> str | None:
    """Which kind of hook is around a network or in it; None for none."""
    for module in network.modules():
        if hasattr(module, "_hf_hook"):
            return "offload"
        registry = getattr(module, "_diffusers_hook", None)
        names = () if registry is None else tuple(registry.hooks)
        for name in names:
            if "group_offload" in name or "offload" in name:
                return "offload"
            if "casting" in name:
                return "casting"
            return "cache" if any(word in name for word in CACHES) else "other"
    return None
