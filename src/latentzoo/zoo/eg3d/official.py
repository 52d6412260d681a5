"""NVIDIA's files of EG3D: the names of their tensors, and what they tell of the settings."""

from collections.abc import Callable
from collections.abc import Mapping as Record
from typing import Any

from latentzoo import options
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.dialects import binomial, nvidia
from latentzoo.hub.keys import Rule
from latentzoo.nn.truncation import as_rows, rows
from latentzoo.zoo.eg3d.config import build
from latentzoo.zoo.eg3d.enlarger import ENLARGERS
from latentzoo.zoo.eg3d.map import EG3D

SCENE = (
    *("mapping_lr", "field_lr", "enlarger_clamp", "antialias", "clamp", "near", "far", "box"),
    *("samples", "importance", "white", "condition", "fov", "radius", "pivot"),
)
"""What only a file's constructor arguments tell."""


def official(generator: EG3D) -> list[Rule]:
    """The names of NVIDIA's pickles."""
    return [
        *nvidia("backbone.", "network.", as_rows(generator.network.w_avg)),
        Rule("superresolution.resample_filter", None, known=binomial),
        Rule("superresolution.{x*}.resample_filter", None, known=binomial),
        Rule("superresolution.{x*}", "network.enlarge.{x*}"),
        Rule("decoder.net.0.{t}", "network.decoder.0.{t}"),
        Rule("decoder.net.2.{t}", "network.decoder.1.{t}"),
    ]


KEYS: dict[str, Callable[[Any], list[Rule]]] = {"official": official}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the widths from the tensors, the rest from the file's constructor arguments; without them it is FFHQ's.

    The angle of view of the cameras is in no file.
    """
    tensors = checkpoint.tensors
    if not {"backbone.mapping.embed.weight", "decoder.net.0.weight"} <= tensors.keys():
        return None
    attributes = checkpoint.records.get("modules", {}).get("", {})
    arguments = attributes.get("_init_kwargs")
    shapes = checkpoint.shapes
    if arguments is None:
        config, assumed = enlarger_of(shapes)
        assumed |= options.defaults(build, *SCENE, why="as for FFHQ")
        return {"config": config | widths_of(shapes), "keys": "official", "assumed": assumed}
    rendering = attributes.get("rendering_kwargs", arguments["rendering_kwargs"])
    config = read({**arguments, "rendering_kwargs": rendering}) | widths_of(shapes)
    config["resolution"] = attributes.get("neural_rendering_resolution", 128)
    assumed = options.defaults(build, "fov", why="as for FFHQ, AFHQ")
    if "neural_rendering_resolution" not in attributes:
        assumed |= options.defaults(build, "resolution", why="as for FFHQ")
    return {"config": config, "keys": "official", "assumed": assumed}


def widths_of(shapes: Record[str, tuple[int, ...]]) -> dict[str, Any]:
    """The widths that the tensors tell; the layers of the mapping may differ in theirs."""
    fc = [n for n in shapes if n.startswith("backbone.mapping.fc") and n.endswith("weight")]
    embed = shapes["backbone.mapping.embed.weight"][0]
    first, last = (shapes[f"backbone.mapping.fc{i}.weight"] for i in (0, len(fc) - 1))
    convs = (f"backbone.synthesis.b{4 << k}.conv1.weight" for k in range(16))
    widths = [shapes[conv][0] for conv in convs if conv in shapes]
    planes = shapes[f"backbone.synthesis.b{2 << len(widths)}.torgb.weight"][0]
    return {
        "widths": widths,
        "z_dim": first[1] - embed,
        "w_dim": last[0],
        "layers": len(fc),
        "mapping_features": first[0] if len(fc) > 1 else None,
        "embed_features": embed,
        "means": rows(shapes["backbone.mapping.w_avg"]),
        "plane_channels": planes // 3,
        "hidden": shapes["decoder.net.0.weight"][0],
        "features": shapes["decoder.net.2.weight"][0] - 1,
        "enlarger_widths": [shapes[f"superresolution.block{i}.conv1.weight"][0] for i in (0, 1)],
    }


def enlarger_of(shapes: Record[str, tuple[int, ...]]) -> tuple[dict[str, Any], dict[str, str]]:
    """The enlarger that published files have whose first block makes such sides, and that this is assumed."""
    side = shapes.get("superresolution.block0.conv1.noise_const", (256,))[0]
    kind = {64: "2X", 128: "4X"}.get(side, "8XDC")
    start = side // 2 if ENLARGERS[kind][0] else side
    assumed = {
        "enlarger": f"{kind}, as published where the first block makes {side} pixels",
        "enlarger_start": f"{start}, as a {kind} has",
        "resolution": f"{start}, the side that is enlarged",
    }
    return {"enlarger": kind, "enlarger_start": start, "resolution": start}, assumed


def read(arguments: Record) -> dict[str, Any]:
    """Translates the arguments of the official constructor into those of `build`."""
    rendering, sr = arguments["rendering_kwargs"], arguments.get("sr_kwargs", {})
    mapping = arguments.get("mapping_kwargs", {})
    kind = rendering["superresolution_module"].rpartition("Hybrid")[2]
    side = arguments.get("plane_resolution", 256)
    base, most = arguments.get("channel_base", 32768), arguments.get("channel_max", 512)
    sides = [2**k for k in range(2, side.bit_length())]
    unseen = rendering.get("c_gen_conditioning_zero", False)
    start = {"2X": 64}.get(kind, 128)
    widths = (256, 128) if kind == "8XDC" else (128, 64)
    return {
        "widths": [min(base // side, most) for side in sides],
        "z_dim": arguments["z_dim"],
        "w_dim": arguments["w_dim"],
        "layers": mapping.get("num_layers", 8),
        "mapping_features": mapping.get("layer_features"),
        "embed_features": mapping.get("embed_features"),
        "mapping_lr": mapping.get("lr_multiplier", 0.01),
        "plane_channels": arguments.get("plane_channels", 32),
        "hidden": arguments.get("decoder_hidden_dim", 64),
        "features": arguments.get("decoder_output_dim", 32),
        "field_lr": rendering.get("decoder_lr_mul", 1.0),
        "enlarger": kind,
        "enlarger_widths": tuple(sr.get("sr_channels", widths)),
        "enlarger_start": sr.get("sr_input_resolution", start),
        "enlarger_clamp": 256.0 if arguments.get("sr_num_fp16_res", 0) > 0 else None,
        "antialias": rendering.get("sr_antialias", True),
        "clamp": arguments.get("conv_clamp"),
        "near": rendering["ray_start"],
        "far": rendering["ray_end"],
        "box": rendering["box_warp"],
        "samples": rendering["depth_resolution"],
        "importance": rendering["depth_resolution_importance"],
        "white": rendering.get("white_back", False),
        "condition": 0.0 if unseen else rendering.get("c_scale", 0),
        "radius": rendering.get("avg_camera_radius", 2.7),
        "pivot": tuple(rendering.get("avg_camera_pivot", (0.0, 0.0, 0.2))),
    }
