"""The settings of a model of CompVis, `config.yaml`: what the tensors of its checkpoint do not tell."""

from collections.abc import Mapping
from typing import Any

from latentzoo.errors import CheckpointError

EXPECTED = {"parameterization": "eps", "beta_schedule": "linear"}
"""What a latent diffusion of this package takes for granted."""


def read(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `zoo.ldm.build` that settings tell; empty where they are of another program.

    Raises:
        CheckpointError: If the model is trained in a way that is not known here.
    """
    params = _below(settings, "model", "params")
    unet = _below(params, "unet_config", "params")
    if not unet:
        return {}
    for name, value in EXPECTED.items():
        if params.get(name, value) != value:
            raise CheckpointError(
                f"its config.yaml says {name}: {params[name]}, and only {value} is known here"
            )
    told: dict[str, Any] = {}
    width, heads = unet.get("num_head_channels", -1), unet.get("num_heads", -1)
    told |= {"head_width": width} if width != -1 else {"heads": heads} if heads != -1 else {}
    if isinstance(params.get("image_size"), int):
        told["size"] = params["image_size"]
    names = {"linear_start": "beta_start", "linear_end": "beta_end", "timesteps": "times"}
    told |= {ours: params[theirs] for theirs, ours in names.items() if theirs in params}
    if not params.get("scale_by_std"):
        told["scale"] = float(params.get("scale_factor", 1.0))
    return told


def _below(table: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        inner = table.get(name)
        table = inner if isinstance(inner, Mapping) else {}
    return table
