"""The authors' files of SN-DPM and NPR-DPM: the names of their tensors, and what they tell of the settings."""

from collections.abc import Callable
from typing import Any

from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.zoo.sn_dpm.map import SNDPM

KEYS: dict[str, Callable[[SNDPM], list[Rule]]] = {
    "official": lambda _: [Rule("{x*}", "network.{x}")],
}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the network from the tensors.

    What the second head predicts is not in the file; its name may tell. Attention is taken to be at 16 pixels, as in
    every published network, which gives the resolution.
    """
    shapes = {name: tensor.shape for name, tensor in checkpoint.tensors.items()}
    if not shapes.keys() >= {"temb.dense.0.weight", "conv_in.weight", "conv_out.weight"}:
        return None
    count = lambda template: sum(template.format(i) in shapes for i in range(len(shapes)))
    ch = shapes["conv_in.weight"][0]
    levels = range(count("down.{}.block.0.conv1.weight"))
    attends = [i for i in levels if f"down.{i}.attn.0.q.weight" in shapes]
    name = "" if checkpoint.path is None else checkpoint.path.name
    named = [head for head in ("eps2", "epsc") if head in name]
    config: dict[str, Any] = {
        "ch": ch,
        "ch_mult": [shapes[f"down.{i}.block.0.conv1.weight"][0] // ch for i in levels],
        "num_res_blocks": count("down.0.block.{}.conv1.weight"),
        "levels": attends,
        "head": named[0] if len(named) == 1 else "eps2",
        "channels": shapes["conv_in.weight"][1],
        "mode": "complex" if "before_out.conv1.weight" in shapes else "simple",
    }
    config["resolution"] = 16 << attends[0] if attends else 64
    assumed = {
        "resolution": f"{config['resolution']}, as if attention were at 16 pixels, as in published networks",
        "N": "1000 times of linear noise, as in published networks",
    }
    if "conv_out2.weight" not in shapes:
        config["head"] = "none"
    else:
        why = "by the file's name" if len(named) == 1 else "which its name does not tell either"
        assumed["head"] = f"{config['head']}, {why}"
    return {"config": config, "keys": "official", "assumed": assumed}
