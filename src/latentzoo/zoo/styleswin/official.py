"""The authors' files of StyleSwin: the names of their tensors, and what they tell of the settings."""

import math
from collections.abc import Callable
from typing import Any

from latentzoo import options
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.dialects import binomial
from latentzoo.hub.keys import Rule
from latentzoo.zoo.styleswin.map import StyleSwin
from latentzoo.zoo.styleswin.network import StyleSwinNetwork


def official(generator: StyleSwin) -> list[Rule]:
    """The names of the official files."""
    n_mlp = len(generator.network.mapping)
    return [
        Rule("{x*}.relative_position_index", None),
        Rule("{x*}.attn_mask2", None),
        Rule("{x*}._float_tensor", None),
        Rule("{x*}.upsample.kernel", None, known=binomial),
        Rule("{x*}.relative_position_bias_table", "network.{x}.bias_table"),
        *(Rule(f"style.{i + 1}.{{x}}", f"network.mapping.fc{i}.{{x}}") for i in range(n_mlp)),
        Rule("{x*}.mlp.{y*}", "network.{x}.{y}"),
        Rule("input.input", "network.constant", "1 c h w -> h w c"),
        Rule("to_rgbs.{i}.conv.weight", "network.layers.{i}.to_rgb.weight", "o i 1 1 -> o i"),
        Rule("to_rgbs.{i}.conv.bias", "network.layers.{i}.to_rgb.bias"),
        Rule("to_rgbs.{i}.bias", "network.layers.{i}.bias", "1 c 1 1 -> c"),
        Rule("{x*}", "network.{x}"),
    ]


KEYS: dict[str, Callable[[StyleSwin], list[Rule]]] = {"official": official}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the configuration of a StyleSwin file from the shapes of its tensors."""
    shapes = {name: tensor.shape for name, tensor in checkpoint.tensors.items()}
    table = "layers.{}.blocks.0.attn.0.relative_position_bias_table"
    stages = sum(table.format(i) in shapes for i in range(len(shapes)))
    if stages == 0 or "style.1.weight" not in shapes:
        return None
    windows = {4 << i: (math.isqrt(shapes[table.format(i)][0]) + 1) // 2 for i in range(stages)}
    width, hidden = shapes["layers.0.blocks.0.mlp.fc2.weight"]
    config = {
        "size": 4 << (stages - 1),
        "style_dim": shapes["style.1.weight"][1],
        "n_mlp": sum(f"style.{i}.weight" in shapes for i in range(len(shapes))),
        "enable_full_resolution": max(4, *(side for side in windows if side == windows[side])),
        "mlp_ratio": hidden / width,
        "channels": shapes["to_rgbs.0.bias"][1],
        "qkv_bias": "layers.0.blocks.0.qkv.bias" in shapes,
    }
    if stages > 4:
        config["channel_multiplier"] = shapes["layers.4.blocks.0.proj.bias"][0] // 256
    assumed = options.defaults(StyleSwinNetwork, "lr_mlp", why="as in published files")
    return {"config": config, "keys": "official", "assumed": assumed}
