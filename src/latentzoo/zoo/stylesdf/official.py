"""The authors' files of StyleSDF: the names of their tensors, and what they tell of the settings."""

import math
from collections.abc import Callable
from collections.abc import Mapping as Record
from typing import Any

from latentzoo import options
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.dialects import rosinality
from latentzoo.hub.keys import Rule
from latentzoo.zoo.stylesdf.config import build
from latentzoo.zoo.stylesdf.map import StyleSDF

SCENE = (
    "resolution",
    "samples",
    "fov",
    "reach",
    "spread",
    "even",
    "still",
    "unit",
    "opaque",
    "lr",
)
"""What no file tells."""


def official(generator: StyleSDF) -> list[Rule]:
    """The names of the authors' files; their decoder is rosinality's, with a second bias that is not used."""
    field, ours = "renderer.network.", "network.field."
    layers = {"pts_linears.{i}": "layers.{i}", "views_linears": "view"}
    heads = {"rgb_linear": "rgb", "sigma_linear": "distance"}
    rules = [
        Rule("style.{i}.{t}", "network.style.{i}.{t}"),
        Rule("renderer.sigmoid_beta", "network.beta"),
        *(Rule(f"{field}{a}.{{t}}", f"{ours}{b}.linear.{{t}}") for a, b in layers.items()),
        *(Rule(f"{field}{a}.{{s}}.{{t}}", f"{ours}{b}.{{s}}.{{t}}") for a, b in layers.items()),
        *(Rule(f"{field}{a}.{{t}}", f"{ours}{b}.{{t}}") for a, b in heads.items()),
    ]
    decoder = generator.network.decoder
    if decoder is None:
        return rules
    return [
        *rules,
        *(Rule(f"decoder.style.{i + 1}.{{t}}", f"network.mapping.fc{i}.{{t}}") for i in range(5)),
        Rule("decoder.conv1.bias", None),
        Rule("decoder.convs.{i}.bias", None),
        *rosinality(decoder, "decoder.", "network.decoder."),
    ]


KEYS: dict[str, Callable[[Any], list[Rule]]] = {"official": official}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the sizes from the shapes of a file; how it is rendered is in none, and taken as published."""
    shapes = checkpoint.shapes
    if "renderer.network.pts_linears.0.gamma.weight" not in shapes:
        return None
    field = (f"renderer.network.pts_linears.{i}.weight" for i in range(64))
    config = {
        "width": shapes["style.0.weight"][0],
        "depth": sum(name in shapes for name in field),
        "signed": "renderer.sigmoid_beta" in shapes,
    }
    assumed = options.defaults(build, *SCENE, why="as for FFHQ")
    if "decoder.conv1.conv.weight" not in shapes:
        return {"config": {**config, "widths": []}, "keys": "official", "assumed": assumed}
    convs = [f"decoder.convs.{2 * i + 1}.conv.weight" for i in range(16)]
    widths = [shapes[name][1] for name in ("decoder.conv1.conv.weight", *convs) if name in shapes]
    config |= {"widths": widths, "w_dim": shapes["decoder.style.1.weight"][0]}
    if "decoder.noises.noise_0" in shapes:
        config["resolution"] = shapes["decoder.noises.noise_0"][-1]
        del assumed["resolution"]
    return {"config": config, "keys": "official", "assumed": assumed}


def read(options: Record[str, Any]) -> dict[str, Any]:
    """Translates the official groups of options into the arguments of `build`."""
    model, rendering, pose = (
        options["model_opt"],
        options["rendering_opt"],
        options.get("camera", {}),
    )
    start, width = model["renderer_spatial_output_dim"], rendering["width"]
    m = model["channel_multiplier"]
    table = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256 * m, 128: 128 * m, 256: 64 * m}
    table |= {512: 32 * m, 1024: 16 * m}
    table |= {int(side): channels for side, channels in model.get("channels", {}).items()}
    sides = [start << k for k in range((model["size"] // start).bit_length())]
    config = {
        "widths": [table[side] for side in sides] if options.get("full_pipeline", True) else [],
        "width": width,
        "depth": rendering["depth"],
        "w_dim": 2 * width,
        "lr": model.get("lr_mapping", 0.01),
        "resolution": start,
        "samples": rendering["N_samples"],
        "even": not rendering.get("no_offset_sampling", False),
        "still": rendering.get("static_viewdirs", False),
        "unit": not rendering.get("no_z_normalize", False),
        "opaque": rendering.get("force_background", False),
        "signed": not rendering.get("no_sdf", False),
    }
    if pose:
        config["spread"] = tuple(math.degrees(pose[name]) for name in ("azim", "elev"))
        config |= {"fov": 2.0 * pose["fov"], "reach": pose["dist_radius"]}
    return config
