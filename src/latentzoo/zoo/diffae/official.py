"""The authors' files of DiffAE: the names of their tensors, and what they tell of the settings."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from latentzoo.errors import CheckpointError
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule, prefixed
from latentzoo.nn import adm
from latentzoo.zoo.diffae.map import DiffAE

NETWORKS = [
    Rule("time_embed.time_embed.{x*}", "unet.time_embed.{x}"),
    Rule("latent_net.layers.{i}.linear_emb.{t}", None),
    Rule("latent_net.layers.{i}.cond_layers.1.{t}", "latent_net.layers.{i}.linear_emb.{t}"),
    Rule("latent_net.{x*}", "latent_net.{x}"),
    Rule("encoder.{x*}", "encoder.{x}"),
    Rule("{x*}", "unet.{x}"),
]
"""The rules of the networks; `linear_emb` is there twice, and the later of the two counts."""


def _dialect(prefix: str) -> Callable[[DiffAE], list[Rule]]:
    beside = [Rule(name, name) for name in ("conds_mean", "conds_std")]
    raw = [Rule("model.{x*}", None), Rule("x_T", None)]
    return lambda generator: [*raw, *beside, *prefixed(prefix, NETWORKS)]


KEYS: dict[str, Callable[[DiffAE], list[Rule]]] = {
    "official": _dialect("ema_model."),
    "network": _dialect(""),
}
"""The averaged weights of a file of the second stage, or a network alone; `x_T` is noise that training looked at."""
TOLD = {
    "img_size": "resolution",
    "net_beatgans_attn_head": "heads",
    "beta_scheduler": "betas",
    "latent_beta_scheduler": "latent_betas",
    "T": "times",
}
"""The settings of a training that no tensor tells, and our names of them."""
EXPECTED = {"latent_znormalize": True, "net_latent_condition_bias": 1}
"""Those of which only one value is known here."""
OWN = "{}time_embed.time_embed.0.weight"


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the networks from the tensors, the rest from the settings beside them.

    The resolution is that of the noise beside the networks; without it, attention is taken to be at 16 pixels, as in
    every published model.

    Raises:
        CheckpointError: If the file lacks the network of codes or their statistics, or its settings say what is not
            known here.
    """
    file = checkpoint.tensors
    keys, prefix = (
        ("official", "ema_model.") if OWN.format("ema_model.") in file else ("network", "")
    )
    net = {k.removeprefix(prefix): v for k, v in file.items() if k.startswith(prefix)}
    if OWN.format("") not in net or "encoder.out.3.weight" not in net:
        return None
    settings = checkpoint.records.get("hyper_parameters") or {}
    _require(file, prefix, settings)
    plan = adm.read_plan(
        {k.replace("time_embed.time_embed", "time_embed"): v for k, v in net.items()}
    )
    hidden, style = net["latent_net.layers.0.linear.weight"].shape
    depth, width = plan["depth"], plan["width"]
    stages = {k.split(".")[2] for k in net if k.startswith("encoder.input_blocks.")}
    first = range(1, len(stages), depth + 1)
    rows = lambda n: len(net[f"encoder.input_blocks.{n}.0.in_layers.2.weight"])
    layers = {k.split(".")[2] for k in net if k.startswith("latent_net.layers.")}
    side = 16 * min(plan["attention"], default=8)
    config = {
        "resolution": file["x_T"].shape[-1] if "x_T" in file else side,
        "mult": plan["mult"],
        "encoder_mult": [rows(n) // width for n in first],
        "width": width,
        "depth": depth,
        "encoder_depth": depth,
        "levels": [factor.bit_length() - 1 for factor in plan["attention"]],
        "style": style,
        "hidden": hidden,
        "layers": len(layers),
        "channels": net["input_blocks.0.0.weight"].shape[1],
        "latent_width": net["latent_net.time_embed.0.weight"].shape[1],
    }
    assumed = {
        "resolution": f"{side}, as if attention were at 16 pixels, as in published models",
        "heads": "1, as in published models",
        "betas": "linear, as in published models",
        "latent_betas": "const0.008, as in published models",
        "times": "1000, as in published models",
    }
    if "x_T" in file:
        del assumed["resolution"]
    for theirs, ours in TOLD.items():
        if theirs in settings:
            config[ours] = settings[theirs]
            assumed.pop(ours, None)
    return {"config": config, "keys": keys, "assumed": assumed}


def _require(file: Mapping[str, Tensor], prefix: str, settings: Mapping[str, Any]) -> None:
    if f"{prefix}latent_net.layers.0.linear.weight" not in file:
        raise CheckpointError(
            f"the file has no {prefix}latent_net.layers.0.linear.weight: it is a DiffAE without the model of its "
            "codes, which cannot draw; give the file of the second stage ('..._latent')"
        )
    for name in ("conds_mean", "conds_std"):
        if name not in file:
            raise CheckpointError(
                f"the file has no {name}: a DiffAE draws codes in units of their mean and deviation over its data; "
                "save it beside the network, as the file of the second stage has it"
            )
    for name, value in EXPECTED.items():
        if settings.get(name, value) != value:
            raise CheckpointError(
                f"its settings say {name}: {settings[name]}, and only {value} is known here"
            )
