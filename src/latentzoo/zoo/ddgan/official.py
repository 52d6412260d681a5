"""The authors' files of DDGAN: the names of their tensors, and what they tell of the settings."""

from collections.abc import Callable
from itertools import accumulate
from typing import Any

from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule, prefixed
from latentzoo.zoo.ddgan.blocks import Attention, Pyramid, ResBlock
from latentzoo.zoo.ddgan.map import DDGAN
from latentzoo.zoo.ddgan.network import NCSNpp


def official(network: NCSNpp) -> list[Rule]:
    """The rules of the published files, which number the modules in the order of execution."""
    kinds = ResBlock | Attention | Pyramid
    units = [name for name, module in network.named_modules() if isinstance(module, kinds)]
    rules = [
        Rule(f"z_transform.{2 * j + 1}.{{t}}", f"mapping.{j}.{{t}}")
        for j in range(len(network.mapping))
    ]
    for n, unit in enumerate(["time.0", "time.1", "stem", *units, "norm", "head"]):
        parts = [
            Rule("{t}", "{t}"),
            Rule("Conv_0.{t}", "conv1.{t}"),
            Rule("Conv_1.{t}", "conv2.{t}"),
            Rule("Conv_2.{t}", "skip.{t}"),
            Rule("Dense_0.{t}", "time.{t}"),
            Rule("GroupNorm_0.style.{t}", "norm1.style.{t}"),
            Rule("GroupNorm_1.style.{t}", "norm2.style.{t}"),
            Rule("GroupNorm_0.{t}", "norm.{t}"),
            Rule("Conv2d_0.{t}", "conv.{t}"),
        ]
        for k, ours in enumerate(("q", "k", "v", "out")):
            parts.append(Rule(f"NIN_{k}.W", f"{ours}.weight", "i o -> o i 1 1"))
            parts.append(Rule(f"NIN_{k}.b", f"{ours}.bias"))
        rules += prefixed(f"all_modules.{n}.", parts, f"{unit}.")
    return rules


KEYS: dict[str, Callable[[DDGAN], list[Rule]]] = {
    "official": lambda g: prefixed("module.", official(g.network), "network."),
    "bare": lambda g: prefixed("", official(g.network), "network."),
}
"""The published files were saved from a parallel wrapper (`module.`); `bare` is without."""


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the network from the tensors, and what these do not tell from the training's arguments, if they are there.

    Without them, attention is taken to be at 16 pixels, as in every published model, which gives the resolution.
    """
    bare = {k.removeprefix("module."): v for k, v in checkpoint.tensors.items()}
    if "z_transform.1.weight" not in bare or "all_modules.3.Conv_0.weight" not in bare:
        return None
    kinds = {"Conv_0": "b", "NIN_0": "a", "Conv2d_0": "p"}  # a block, attention, the pyramid
    names = [k.split(".") for k in bare if k.startswith("all_modules.")]
    units = {int(n): kinds[part] for _, n, part, *_ in names if part in kinds}
    levels = "".join(units[n] for n in sorted(units)).split("bp")
    starts = accumulate((len(level) + 2 for level in levels[:-1]), initial=3)
    width = bare["all_modules.2.weight"].shape[0]
    attends = [level for level, parts in enumerate(levels) if parts[1:2] == "a"]
    config = {
        "width": width,
        "mult": [bare[f"all_modules.{n}.Conv_0.weight"].shape[0] // width for n in starts],
        "depth": levels[0].count("b"),
        "levels": attends,
        "code": bare["z_transform.1.weight"].shape[1],
        "style": bare["z_transform.1.weight"].shape[0],
        "channels": bare["all_modules.2.weight"].shape[1],
        "mapping": sum(k.startswith("z_transform.") and k.endswith("weight") for k in bare),
    }
    config["resolution"] = 16 << attends[0] if attends else 256
    assumed = {
        "resolution": f"{config['resolution']}, as if attention were at 16 pixels, as in published models",
        "steps": "2, as for CelebA-HQ",
        "beta_min": "0.1, as in published models",
        "beta_max": "20, as in published models",
    }
    arguments = checkpoint.records.get("args") or {}
    names = {"image_size": "resolution", "num_timesteps": "steps"}
    for name in (*names, "beta_min", "beta_max"):
        if name in arguments:
            config[names.get(name, name)] = arguments[name]
            del assumed[names.get(name, name)]
    dialect = "bare" if "z_transform.1.weight" in checkpoint.tensors else "official"
    return {"config": config, "keys": dialect, "assumed": assumed}
