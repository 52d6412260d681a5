"""The authors' files of StyleNeRF: the names of their tensors, and what they tell of the settings."""

import math
import re
from collections.abc import Callable
from collections.abc import Mapping as Record
from typing import Any

from latentzoo import options
from latentzoo.errors import SpecError
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.dialects import binomial
from latentzoo.hub.keys import Rule
from latentzoo.nn.truncation import as_rows, rows
from latentzoo.zoo.stylenerf.config import build
from latentzoo.zoo.stylenerf.map import StyleNeRF

SCENE = (
    *("samples", "samples_bg", "nearest", "twice", "fov", "radius", "depths"),
    *("azimuths", "elevations", "normal"),
)
"""What only a file's constructor arguments tell."""
LEVEL = re.compile(r"synthesis\.b(\d+)\.conv1\.weight")
BLOCK = re.compile(r"synthesis\.fg_nerf\.blocks\.\d+\.weight")


def official(generator: StyleNeRF) -> list[Rule]:
    """The names of the authors' files."""
    network, flat = generator.network, "o i 1 1 -> o i"
    fg, bg = (f"synthesis.{name}." for name in ("fg_nerf", "bg_nerf"))
    rules = [
        Rule("{x*}.resample_filter", None, known=binomial),
        Rule("mapping.w_avg", "network.w_avg", as_rows(network.w_avg)),
        Rule("mapping.{x*}", "network.mapping.{x*}"),
        Rule("synthesis.alpha", "network.alpha"),
        Rule(f"{fg}{{x*}}.affine.{{t}}", "network.fg_field.{x*}.affine.{t}"),
        Rule(f"{fg}{{x*}}.weight", "network.fg_field.{x*}.weight", flat),
        Rule(f"{fg}{{x*}}.bias", "network.fg_field.{x*}.bias"),
        Rule(f"{bg}to_rgb.weight", "network.bg_field.to_rgb.weight", flat),
        Rule(f"{bg}{{x*}}", "network.bg_field.{x*}"),
    ]
    for i in range(len(network.levels)):
        theirs, ours = f"synthesis.b{network.resolution << (i + 1)}.", f"network.levels.{i}."
        for k, layer in enumerate(("squeeze", "widen")):
            adapter, doubling = f"{theirs}conv0.adapter.{k}.", f"{ours}conv0.doubling.{layer}."
            rules.append(Rule(f"{adapter}weight", f"{doubling}weight", flat))
            rules.append(Rule(f"{adapter}bias", f"{doubling}bias"))
        rules.append(Rule(f"{theirs}{{x*}}", f"{ours}{{x*}}"))
    return rules


KEYS: dict[str, Callable[[Any], list[Rule]]] = {"official": official}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the sizes from the tensors, the scene from the file's constructor arguments; without them it is FFHQ's."""
    tensors = checkpoint.tensors
    if "synthesis.fg_nerf.fc_in.affine.weight" not in tensors:
        return None
    arguments = checkpoint.records.get("modules", {}).get("", {}).get("_init_kwargs")
    config = sizes(checkpoint.shapes)
    if arguments is not None:
        return {"config": read(arguments) | config, "keys": "official"}
    assumed = options.defaults(build, *SCENE, why="as for FFHQ")
    if config["background"]:  # whose point and latent go into one layer
        octaves = config["octaves"]
        inputs = tensors["synthesis.bg_nerf.fc_in.weight"].shape[1]
        config |= {"octaves_bg": octaves, "z_dim_bg": inputs - 8 * octaves}
        assumed["octaves_bg"] = f"{octaves}, as the foreground has"
        assumed["z_dim_bg"] = f"{config['z_dim_bg']}, which such octaves leave"
    return {"config": config, "keys": "official", "assumed": assumed}


def sizes(shapes: Record[str, tuple[int, ...]]) -> dict[str, Any]:
    """What the shapes of the tensors tell."""
    count = lambda start: sum(n.startswith(start) and n.endswith(".weight") for n in shapes)
    fg, bg = "synthesis.fg_nerf.", "synthesis.bg_nerf."
    levels = {int(m[1]): n for n in shapes if (m := LEVEL.fullmatch(n))}
    hidden, inputs = shapes[f"{fg}fc_in.weight"][:2]
    found = {
        "widths": [shapes[levels[side]][0] for side in sorted(levels)],
        "z_dim": shapes["mapping.fc0.weight"][1],
        "w_dim": shapes["mapping.w_avg"][-1],
        "means": rows(shapes["mapping.w_avg"]),
        "layers": count("mapping.fc"),
        "hidden": hidden,
        "field_layers": 1 + sum(bool(BLOCK.fullmatch(n)) for n in shapes),
        "features": shapes[f"{fg}feat_out.weight"][0],
        "octaves": inputs // 6,
        "background": f"{bg}fc_in.weight" in shapes,
        "scaled": any(name.endswith("conv1.w_avg") for name in shapes),
    }
    if levels:
        found["resolution"] = min(levels) // 2
    if found["background"]:
        found["hidden_bg"] = shapes[f"{bg}fc_in.weight"][0]
        found["field_layers_bg"] = 1 + count(f"{bg}blocks.")
    return found


def read(arguments: Record[str, Any]) -> dict[str, Any]:
    """Translates the arguments of the official constructor into those of `build`.

    Raises:
        SpecError: If an option is one that no published file uses.
    """
    synthesis = arguments["synthesis_kwargs"]
    groups = ("camera_kwargs", "renderer_kwargs", "upsampler_kwargs")
    camera, renderer, upsampler = (synthesis.get(group) or synthesis for group in groups)
    fg, bg = (synthesis.get(f"{name}ground_kwargs", {}) for name in ("fore", "back"))
    known = {
        "upsample_mode": (synthesis.get("upsample_mode"), "nn_cat"),
        "use_noise": (synthesis.get("use_noise", False), False),
        "kernel_size": (synthesis.get("kernel_size", 1), 1),
        "ray_align_corner": (camera.get("ray_align_corner", True), False),
        "depth_transform": (camera.get("depth_transform"), None),
        "dists_normalized": (camera.get("dists_normalized", False), False),
        "angular_camera": (camera.get("angular_camera", False), True),
    }
    for name, (value, expected) in known.items():
        if value != expected:
            raise SpecError(
                f"a StyleNeRF with {name} = {value} is not known; only {expected} is, as published"
            )
    start = synthesis["resolution_vol"]
    base, most = int(32768 * upsampler["channel_base"]), upsampler["channel_max"]
    count = (arguments["img_resolution"] // start).bit_length() - 1
    heights = camera["range_v"]
    return {
        "widths": [min(base // (start << (k + 1)), most) for k in range(count)],
        "z_dim": arguments["z_dim"],
        "z_dim_bg": synthesis.get("z_dim_bg", 0),
        "w_dim": arguments["w_dim"],
        "layers": arguments.get("mapping_kwargs", {}).get("num_layers", 8),
        "hidden": fg.get("hidden_size", 128),
        "field_layers": fg.get("n_blocks", 8),
        "hidden_bg": bg.get("hidden_size", 128),
        "field_layers_bg": bg.get("n_blocks", 8),
        "features": synthesis["rgb_out_dim"],
        "octaves": fg.get("n_freq_posenc", 10),
        "octaves_bg": bg.get("n_freq_posenc", 10),
        "resolution": start,
        "samples": renderer["n_ray_samples"],
        "samples_bg": renderer["n_bg_samples"],
        "nearest": camera.get("bg_start", 1.0),
        "twice": renderer.get("hierarchical", True),
        "background": not renderer.get("no_background", False),
        "scaled": synthesis.get("magnitude_ema_beta", -1) > 0,
        "fov": float(camera["fov"]),
        "radius": sum(camera["range_radius"]) / 2,
        "depths": tuple(camera["depth_range"]),
        "azimuths": tuple(math.degrees(u) for u in camera["range_u"]),
        "elevations": tuple(90 - math.degrees(v) for v in reversed(heights)),
        "normal": camera.get("gaussian_camera", False),
    }
