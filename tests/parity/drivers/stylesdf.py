"""StyleSDF: official options, cameras as (extrinsics, focal, near, far), and every draw as an input."""

import math
from typing import Any

import torch
from torch import Tensor

from latentzoo.hub.keys import Rule
from latentzoo.views.camera import Camera
from latentzoo.zoo import stylesdf
from latentzoo.zoo.stylesdf import StyleSDF
from latentzoo.zoo.stylesdf.official import read

OUTPUTS = {
    "generate": ("image", "thumb_full"),
    "generate_noise": ("image_noise", "thumb_noise"),
    "generate_trunc": ("image_t07", "thumb_t07"),
    "render": ("thumb", "features"),
    "render_jitter": ("thumb_jit", "features_jit"),
}


def build(config: dict[str, Any]) -> StyleSDF:
    return stylesdf.build(**read(config))


def rules(generator: StyleSDF, config: dict[str, Any]) -> list[Rule]:
    return stylesdf.KEYS["official"](generator)


def manifest(config: dict[str, Any]) -> tuple[StyleSDF, list[Rule]]:
    generator = build(config)
    return generator, rules(generator, config)


def camera(
    locations: Tensor, options: dict[str, Any], resolution: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The official camera of azimuths and elevations (N, 2): extrinsics, focal, near, far."""
    azimuth, elevation = locations.rad2deg().unbind(1)
    pose = Camera(azimuth, elevation, radius=1.0).pose(locations)
    one, depth = locations.new_ones(len(locations), 1, 1), options["dist_radius"]
    focal = 0.5 * resolution / math.tan(math.radians(options["fov_ang"]))
    return pose, focal * one, (1 - depth) * one, (1 + depth) * one


def call(
    generator: StyleSDF,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    network, suffix = generator.network, "_f64" if name.endswith("_f64") else ""
    name = name.removesuffix("_f64")
    if name == "camera":
        values = camera(inputs["locations"], options, network.resolution)
        return dict(
            zip(("extrinsics_out", "focal_out", "near_out", "far_out"), values, strict=True)
        )
    if name == "mean_latent":
        styles = zip(
            ("mean_renderer_out", "mean_decoder_out"),
            network.styles(inputs["z_many"]),
            strict=True,
        )
        return {name: style.mean(0, keepdim=True) for name, style in styles}
    z = inputs["z"].requires_grad_(name.startswith("grad"))
    if name == "wrapper":
        fixed = StyleSDF(
            network,
            truncation=options["truncation"],
            fov=2 * options["fov_ang"],
            reach=options["dist_radius"],
        )
        fixed.mean.w, fixed.mean_decoder.w = (
            inputs[f"mean_{part}"][0] for part in ("renderer", "decoder")
        )
        azimuth, elevation = inputs["locations_front"].rad2deg().unbind(1)
        scene = fixed.scene({"style": z})
        return {
            "wrapper_image": fixed.photograph(scene, Camera(azimuth, elevation).over(fixed.camera))
        }
    means = (inputs.get("mean_renderer"), inputs.get("mean_decoder"))
    w, w_decoder = network.styles(z, options.get("truncation", 1), *means)
    if name == "mapping":
        return {"w_renderer": w} | ({} if w_decoder is None else {"w_decoder": w_decoder})
    if name == "field":
        where = inputs["field_in"]
        points, views = where.flatten(1, 3).split(3, dim=2)
        rgb, distance, feature = network.field(points, views, w)
        out = torch.cat([rgb, distance[..., None], feature], dim=2)
        return {"field_out": out.unflatten(1, where.shape[1:4])}
    focal, near, far = (inputs[key].flatten() for key in ("focal", "near", "far"))
    slope = 0.5 * network.resolution / focal
    jitter = inputs.get("t_rand")
    if jitter is not None:
        jitter = jitter.reshape(len(jitter), network.resolution**2, -1)  # one for all, or one each
    seen = network.render(w, inputs["extrinsics"], slope, near, far, jitter=jitter, chunk=29)
    if name.startswith("render"):
        extra = {
            "sdf": seen.distance[..., None],
            "xyz": seen.point,
            "mask": seen.background,
        }
        outputs = dict(zip(OUTPUTS[name], (seen.thumbnail, seen.feature), strict=True)) | extra
        return {key + suffix: value for key, value in outputs.items()}
    noise = [inputs[f"noise_{i}"] for i in range(sum(key.startswith("noise_") for key in inputs))]
    image = network.decode(w_decoder, seen.feature, noise or None)
    if name.startswith("grad"):
        (grad,) = torch.autograd.grad((image * inputs["probe"]).sum(), z)
        return {"grad_z" + suffix: grad}
    outputs = zip(OUTPUTS[name], (image, seen.thumbnail), strict=True)
    return {key + suffix: value for key, value in outputs}
