"""EG3D: official arguments, 25-number cameras, and every draw as an input."""

import copy
import math
from typing import Any

import torch
from torch import Tensor

from latentzoo.hub.keys import Rule
from latentzoo.views.camera import Camera
from latentzoo.zoo import eg3d
from latentzoo.zoo.eg3d import EG3D
from latentzoo.zoo.eg3d.official import read

OUTPUTS = {"jitter": "_jit", "trunc": "_t07"}


def build(config: dict[str, Any]) -> EG3D:
    return eg3d.build(**read(config), fov=eg3d.diagonal(18.837))


def rules(generator: EG3D, config: dict[str, Any]) -> list[Rule]:
    return eg3d.KEYS["official"](generator)


def manifest(config: dict[str, Any]) -> tuple[EG3D, list[Rule]]:
    generator = build(config)
    return generator, rules(generator, config)


def call(
    generator: EG3D,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    suffix = "_f64" if name.endswith("_f64") else ""
    name = name.removesuffix("_f64")
    if "w_avg" in inputs:
        generator = copy.deepcopy(generator)
        generator.network.w_avg.copy_(inputs["w_avg"])
    network = generator.network
    if name == "camera":
        v = inputs["v_angle"].clamp(1e-5, math.pi - 1e-5)
        camera = Camera(
            (inputs["h_angle"] - math.pi / 2).rad2deg(),
            (1 - 2 * v / math.pi).asin().rad2deg(),
            eg3d.diagonal(options["fov_degrees"]),
            options["radius"],
            tuple(options["pivot"]),
        )
        return {"camera_out": eg3d.label(camera, v)}
    if name == "rays":
        origin, direction = eg3d.view(inputs["c_cam"], options["resolution"])
        return {"ray_origins": origin[:, None].expand_as(direction), "ray_dirs": direction}
    if name == "wrapper":
        wrapped = EG3D(
            network,
            own=generator.camera,
            truncation=options["truncation_psi"],
            resolution=options["neural_rendering_resolution"],
        )
        return {"wrapper_image": wrapped(inputs["z"])}
    z = inputs["z"].requires_grad_(name.startswith("grad"))
    psi, cutoff = options.get("truncation_psi", 1), options.get("truncation_cutoff")
    ws = network.styles(z, inputs["c_cond"], psi, cutoff)
    if name.startswith("mapping"):
        return {"ws" + name.removeprefix("mapping"): ws}
    planes = network.planes(ws)
    if name == "backbone":
        stride = options["stride"]
        return {"planes_sub": planes.flatten(1, 2)[..., ::stride, ::stride]}
    if name == "points":
        sigma, rgb = network.field(planes, inputs["coordinates"])
        return {"point_rgb": rgb, "point_sigma": sigma[..., None]}
    draws = {}
    if "u_coarse" in inputs:
        draws["jitter"] = inputs["u_coarse"].squeeze(-1)
    if "u_fine" in inputs:
        draws["levels"] = inputs["u_fine"].unflatten(0, (len(z), -1))
    origin, direction = eg3d.view(inputs["c_cam"], options["neural_rendering_resolution"])
    seen = network.render(planes, origin, direction, exact=False, chunk=17, **draws)
    image = network.enlarge(seen.feature, ws[:, -1])
    if name.startswith("grad"):
        (grad,) = torch.autograd.grad((image * inputs["probe"]).sum(), z)
        return {"grad_z" + suffix: grad}
    end = OUTPUTS.get(name.partition("_")[2], "") + suffix
    outputs = {"image": image, "image_raw": seen.feature[:, :3], "image_depth": seen.depth}
    return {key + end: value for key, value in outputs.items()}
