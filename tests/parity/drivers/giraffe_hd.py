"""GIRAFFE-HD: official arguments, and poses as inputs."""

import math
from typing import Any

import torch
from torch import Tensor

from latentzoo.hub.keys import Rule
from latentzoo.views.camera import Camera, upright
from latentzoo.zoo import giraffe_hd
from latentzoo.zoo.giraffe_hd import PARTS, Box, Codes, GiraffeHD
from latentzoo.zoo.giraffe_hd.official import read

LAYERS = ("image", "fg_image", "bg_image", "fg_raw", "fg_residual", "fg_mask")
ENDS = {"generate_temperature": "_temp07", "generate_inject": "_inject"}


def build(config: dict[str, Any]) -> GiraffeHD:
    return giraffe_hd.build(**read(config))


def rules(generator: GiraffeHD, config: dict[str, Any]) -> list[Rule]:
    return giraffe_hd.KEYS["official"](generator)


def manifest(config: dict[str, Any]) -> tuple[GiraffeHD, list[Rule]]:
    generator = build(config)
    return generator, rules(generator, config)


def world(inputs: dict[str, Tensor]) -> Tensor:
    """The official pose of u (which is a turn about z), v and radius, one radius for all."""
    u, v, radius = (inputs[key].flatten() for key in ("u", "v", "radius"))
    elevation = (1 - 2 * v).asin().rad2deg()
    poses = [
        Camera(360 * u[i], elevation[i], radius=radius[i].item()).pose(u) for i in range(len(u))
    ]
    return upright(torch.cat(poses))


def call(
    generator: GiraffeHD,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    network, suffix = generator.network, "_f64" if name.endswith("_f64") else ""
    name = name.removesuffix("_f64")
    slope = math.tan(math.radians(config["fov"]) / 2)
    turn = lambda: giraffe_hd.turn(2 * math.pi * inputs["rval"].flatten())
    if name == "camera":
        pose = world(inputs)
        last = pose.new_tensor([0, 0, 0, 1]).expand(len(pose), 1, 4)
        return {
            "world_mat": torch.cat([pose, last], dim=1),
            "camera_mat": torch.diag(pose.new_tensor([slope, slope, 1, 1]))[None],
            "object_R": turn()[:, None],
        }
    if name == "wrapper":
        map_options = {key: options[key] for key in ("temperature",) if key in options}
        ranges = read(config)
        ranges = {key: ranges[key] for key in ("fov", "heights", "turns", "scales", "places")}
        wrapped = GiraffeHD(network, inject=options["inject_index"], **ranges, **map_options)
        return {"wrapper_image": wrapped.to(inputs["z"])(inputs["z"])}
    z = inputs["z"].requires_grad_(name.startswith("grad"))
    parts = (options.get("temperature", 1.0) * z).split(list(network.sizes), dim=1)
    codes = Codes(**dict(zip(PARTS, parts, strict=True)))
    styles = network.styles(codes)
    if name == "mapping":
        return dict(zip(("w_shape_fg", "w_app_fg", "w_shape_bg", "w_app_bg"), styles, strict=True))
    if name == "field":
        used = lambda shape, shade: shade if network.appearance else shape
        ways = inputs.get("points_dir", inputs["points"])
        fg = network.fg_field(inputs["points"], ways, codes[0], used(*codes[:2]))
        bg = network.bg_field(inputs["points_bg"], ways, codes[2], used(*codes[2:]))
        names = ("fg_sigma", "fg_feat", "bg_sigma", "bg_feat")
        return dict(zip(names, (*fg, *bg), strict=True))
    box = Box(inputs["s"], inputs["t"], turn())
    maps = network.render(codes, styles, world(inputs), slope, box, chunk=100)
    if name.startswith("volume"):
        return dict(zip(("fg_volume", "bg_volume"), maps, strict=True))
    painting = network.paint(*maps, styles, options["inject_index"])
    if name.startswith("grad"):
        (grad,) = torch.autograd.grad((painting.image * inputs["probe"]).sum(), z)
        return {"grad_z" + suffix: grad}
    end = ENDS.get(name, "") + suffix
    return {key + end: value for key, value in zip(LAYERS, painting, strict=True)}
