"""StyleNeRF: official arguments, cameras as pairs of 4 x 4 matrices, the background's latent as an input."""

import copy
import math
from typing import Any

import torch
from torch import Tensor

from latentzoo.hub.keys import Rule
from latentzoo.nn.volume import pixels, rays
from latentzoo.views.camera import Camera, upright
from latentzoo.zoo import stylenerf
from latentzoo.zoo.stylenerf import StyleNeRF
from latentzoo.zoo.stylenerf.field import outside
from latentzoo.zoo.stylenerf.official import read

ENDS = {"generate": "image", "generate_alpha": "image_alpha", "generate_trunc": "image_t07"}


def build(config: dict[str, Any]) -> StyleNeRF:
    return stylenerf.build(**read(config))


def rules(generator: StyleNeRF, config: dict[str, Any]) -> list[Rule]:
    return stylenerf.KEYS["official"](generator)


def manifest(config: dict[str, Any]) -> tuple[StyleNeRF, list[Rule]]:
    generator = build(config)
    return generator, rules(generator, config)


def matrices(generator: StyleNeRF, uvr: Tensor, camera: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """The official inverse intrinsics and poses, both 4 x 4, of positions in the ranges of the camera."""
    between = lambda span, x: span[0] + (span[1] - span[0]) * x
    azimuth = between(camera["range_u"], uvr[:, 0]).rad2deg()
    elevation = 90 - between(camera["range_v"], uvr[:, 1]).rad2deg()
    radius = between(camera["range_radius"], uvr[:, 2])
    poses = [
        Camera(a, e, radius=r.item()).pose(uvr)
        for a, e, r in zip(azimuth, elevation, radius, strict=True)
    ]
    pose = upright(torch.cat(poses))
    slope = math.tan(math.radians(generator.camera.fov) / 2)
    intrinsics = torch.diag(uvr.new_tensor([slope, slope, 1, 1])).expand(len(uvr), 4, 4)
    last = pose.new_tensor([0, 0, 0, 1]).expand(len(pose), 1, 4)
    return intrinsics, torch.cat([pose, last], dim=1)


def call(
    generator: StyleNeRF,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    generator = copy.deepcopy(generator)
    network, suffix = generator.network, "_f64" if name.endswith("_f64") else ""
    name = name.removesuffix("_f64")
    psi = options.get("truncation_psi", 1)
    if "w_avg" in inputs:
        network.w_avg.copy_(inputs["w_avg"])
    if "alpha" in options:
        network.alpha.fill_(options["alpha"])
    if name == "camera":
        synthesis = config["synthesis_kwargs"]
        camera = synthesis.get("camera_kwargs") or synthesis
        values = matrices(generator, inputs["uvr"], camera)
        return dict(zip(("camera_mat_out", "world_mat_out"), values, strict=True))
    if name == "wrapper":
        generator.truncation = psi
        z = torch.cat([inputs["z"], inputs["z_bg"]], dim=1) if "z_bg" in inputs else inputs["z"]
        return {"wrapper_image": generator(z)}
    if name == "field_bg":
        sigma, feature = network.bg_field(inputs["bg_points_in"], inputs["z_bg"])
        return {"bg_feat": feature, "bg_sigma": sigma[..., None]}
    if "camera_mat" in inputs:
        slope, pose = inputs["camera_mat"][:, :1, :1], inputs["world_mat"][:, :3]
    if name == "rays":
        plane = pixels(network.resolution, like=pose)
        origin, direction = rays(pose, slope * plane)
        inverse = network.nearest * torch.linspace(1, 0, network.samples_bg)
        return {
            "pixels": plane.expand(len(pose), -1, -1),
            "ray_vector": direction,
            "camera_world": origin,
            "bg_points": outside(origin, direction, inverse).flatten(1, 2),
        }
    z = inputs["z"].requires_grad_(name.startswith("grad"))
    ws = network.styles(z, psi)
    if name.startswith("mapping"):
        return {"ws": ws}
    if name == "field_fg":
        sigma, feature = network.fg_field(inputs["fg_points"], ws)
        return {"fg_feat": feature, "fg_sigma": sigma[..., None]}
    ends = generator.depths
    rgb, feature = network.render(
        ws, inputs.get("z_bg"), pose, slope, *ends, exact=False, chunk=23
    )
    if options.get("nerf_grad_disabled", name == "gradient_official"):
        rgb, feature = rgb.detach(), feature.detach()
    image = network.enlarge(ws, rgb, feature)
    if name.startswith("grad"):
        (grad,) = torch.autograd.grad((image * inputs["probe"]).sum(), z)
        return {name.replace("gradient", "grad_z") + suffix: grad}
    outputs = {ENDS[name]: image, "nerf_img": rgb, "nerf_feat": feature}
    return {key + suffix: value for key, value in outputs.items()}
