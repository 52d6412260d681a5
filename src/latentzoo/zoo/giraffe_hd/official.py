"""The authors' files of GIRAFFE-HD: the names of their tensors, and what they tell of the settings."""

import re
from collections.abc import Callable
from collections.abc import Mapping as Record
from typing import Any

from latentzoo import options
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.dialects import rosinality
from latentzoo.hub.keys import Rule, prefixed
from latentzoo.zoo.giraffe_hd.config import build
from latentzoo.zoo.giraffe_hd.map import GiraffeHD

SCENE = (
    *("samples", "styled", "appearance", "views", "follow", "fov", "heights"),
    *("turns", "scales", "places", "lr"),
)
"""What only the training's arguments tell."""
REFINER = re.compile(r"refine_renderer\.(?!to_rgb).*conv\.weight")
MAPPING = re.compile(r"styles\.0\.\d+\.weight")


def official(generator: GiraffeHD) -> list[Rule]:
    """The names of the authors' files; their renderers are rosinality's."""
    network = generator.network
    fields = {"decoder": "fg_field", "background_generator": "bg_field"}
    refiner = [
        Rule("convs.{i}.conv.weight", "layers.{i}.weight", "1 o i h w -> o i h w"),
        Rule("convs.{i}.conv.modulation.{t}", "layers.{i}.affine.{t}"),
        Rule("convs.{i}.noise.weight", "layers.{i}.noise_strength", "1 ->"),
        Rule("convs.{i}.activate.bias", "layers.{i}.bias"),
        Rule("noises.noise_{i}", "layers.{i}.noise_const", "1 1 h w -> h w"),
        Rule("to_rgb.conv.weight", "torgb.weight", "1 o i h w -> o i h w"),
        Rule("to_rgb.conv.modulation.{t}", "torgb.affine.{t}"),
        Rule("to_rgb.bias", "torgb.bias", "1 c 1 1 -> c"),
    ]
    mappings = [
        Rule(f"styles.{{k}}.{i + 1}.{{t}}", f"network.mappings.{{k}}.fc{i}.{{t}}")
        for i in range(len(network.mappings[0]))  # pyright: ignore[reportArgumentType]
    ]
    return [
        *mappings,
        *prefixed("refine_renderer.", refiner, "network.refine_renderer."),
        *rosinality(network.fg_renderer, "fg_renderer.", "network.fg_renderer."),
        *rosinality(network.bg_renderer, "bg_renderer.", "network.bg_renderer."),
        *(
            rule
            for theirs, ours in fields.items()
            for rule in _field(f"vol_generator.{theirs}.", f"network.{ours}.")
        ),
    ]


def _field(theirs: str, ours: str) -> list[Rule]:
    return [
        Rule(f"{theirs}dense_layers.fc_z_skips.0.{{t}}", f"{ours}fc_z_skip.{{t}}"),
        Rule(f"{theirs}dense_layers.fc_p_skips.0.{{t}}", f"{ours}fc_p_skip.{{t}}"),
        Rule(f"{theirs}{{part}}_layers.{{x*}}", f"{ours}{{x*}}"),
    ]


KEYS: dict[str, Callable[[Any], list[Rule]]] = {"official": official}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the sizes from the tensors, the scene from the training's arguments; without them it is FFHQ's."""
    tensors = checkpoint.tensors
    if "vol_generator.decoder.dense_layers.fc_in.weight" not in tensors:
        return None
    arguments = checkpoint.records.get("args")
    config = sizes(checkpoint.shapes)
    assumed = {} if arguments is not None else options.defaults(build, *SCENE, why="as for FFHQ")
    if arguments is not None:
        config |= read(arguments)
    elif "resolution" not in config:
        assumed |= options.defaults(build, "resolution", why="as for FFHQ")
        config["resolution"] = 16
    size = config["resolution"] << (len(config["widths"]) - 1)
    config["inject"] = 2 if size <= 256 else 4
    assumed["inject"] = f"{config['inject']}, as the authors take for {size} pixels"
    return {"config": config, "keys": "official", "assumed": assumed}


def sizes(shapes: Record[str, tuple[int, ...]]) -> dict[str, Any]:
    """What the shapes of the tensors tell."""
    row = lambda name: shapes[f"fg_renderer.{name}.conv.weight"][1]
    convs = sum(name.startswith("fg_renderer.convs.") and "conv.weight" in name for name in shapes)
    fields = [f"vol_generator.{name}." for name in ("decoder", "background_generator")]
    refiner = [shape for name, shape in shapes.items() if REFINER.fullmatch(name)]
    noise = shapes.get("fg_renderer.noises.noise_0")
    return {
        "widths": [row("conv1"), *(row(f"convs.{i}") for i in range(1, convs, 2))],
        "z_dim": shapes[f"{fields[0]}dense_layers.fc_z.weight"][1],
        "z_dim_bg": shapes[f"{fields[1]}dense_layers.fc_z.weight"][1],
        "features": shapes[f"{fields[0]}feat_layers.feat_out.weight"][0],
        "layers": sum(bool(MAPPING.fullmatch(name)) for name in shapes),
        "mask": row("to_rgb1") == 4,
        "refine_layers": len(refiner),
        **({"refine_kernel": refiner[0][-1]} if refiner else {}),
        **({"resolution": noise[-1]} if noise is not None else {}),
    }


def read(arguments: Record[str, Any]) -> dict[str, Any]:
    """Translates the arguments of the official constructor into those of `build`."""
    a, m = arguments, 2
    start = a.get("resolution_vol", a.get("res_vol", 16))
    table = {4: 256, 8: 256, 16: 256, 32: 256, 64: 256, 128: 128 * m, 256: 64 * m}
    table |= {512: 32 * m, 1024: 16 * m}
    table |= {int(side): channels for side, channels in a.get("channels", {}).items()}
    sides = [start << k for k in range((a["size"] // start).bit_length())]
    return {
        "widths": [table[side] for side in sides],
        "z_dim": a["z_dim"],
        "z_dim_bg": a["z_dim_bg"],
        "features": a["feat_dim"],
        "layers": a.get("n_mlp", 8),
        "lr": a.get("lr_mlp", 0.01),
        "refine_layers": a.get("refine_n_styledconv", 2),
        "refine_kernel": a.get("refine_kernal_size", 3),
        "mask": a.get("fg_gen_mask", False),
        "resolution": start,
        "samples": a.get("overrides", {}).get("n_ray_samples", 64),
        "styled": a.get("grf_use_mlp", True),
        "appearance": a.get("grf_use_z_app", False),
        "views": a.get("use_viewdirs", False),
        "follow": a.get("pos_share", False),
        "fov": float(a["fov"]),
        "heights": tuple(a["range_v"]),
        "turns": tuple(a["rotation_range"]),
        "scales": (tuple(a["scale_range_min"]), tuple(a["scale_range_max"])),
        "places": (tuple(a["translation_range_min"]), tuple(a["translation_range_max"])),
    }
