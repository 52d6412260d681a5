import math

import pytest
import torch
from views import gradient, load, poses, see, sizes_agree

from latentzoo.errors import SpecError, UnknownName
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.rng import Rng
from latentzoo.views.camera import Camera
from latentzoo.views.mesh import extract
from latentzoo.zoo import eg3d
from latentzoo.zoo.eg3d import EG3D
from laws import obey, randomise

TINY = {
    "widths": [16, 12, 8],
    "z_dim": 6,
    "w_dim": 8,
    "plane_channels": 4,
    "hidden": 8,
    "features": 5,
    "enlarger_widths": (8, 6),
    "enlarger_start": 8,
    "samples": 6,
    "importance": 5,
    "resolution": 6,
    "chunk": 32,
}


def tiny(**options):
    torch.manual_seed(0)
    generator = eg3d.build(**{**TINY, **options})
    randomise(generator)
    return generator


def records(config):
    return {"modules": {"": {"_init_kwargs": config, "neural_rendering_resolution": 8}}}


@pytest.mark.parametrize(
    "options", [{}, {"camera": "latent", "noise": "latent", "reach": (1.0, 0.5)}]
)
def test_laws(options):
    generator = tiny(truncation=0.7, **options)
    obey(generator)
    see(generator)


@pytest.mark.parametrize("enlarger", ["8X", "4X", "2X"])
def test_every_enlarger_obeys(enlarger):
    obey(tiny(enlarger=enlarger, white=True))


def test_one_pass_obeys_too():
    obey(tiny(importance=0))


def test_chunks_change_neither_the_image_nor_the_gradient():
    whole, parts = (tiny(chunk=chunk).double() for chunk in (None, 7))
    z = Rng(1, 2, dtype=torch.float64).normal(6)
    torch.testing.assert_close(whole(z), parts(z))
    torch.testing.assert_close(gradient(whole, z), gradient(parts, z))


@pytest.mark.parametrize("card", ["ffhq_8xdc", "cars_2x"])
def test_an_official_file_gives_the_authors_picture(card):
    generator, arrays = load(eg3d, "eg3d", card, records)
    generator.network.w_avg.copy_(arrays["w_avg"])
    wrapped = EG3D(
        generator.network,
        own=Camera(
            0.0, eg3d.ELEVATION, eg3d.diagonal(18.837), generator.radius, generator.camera.pivot
        ),
        truncation=0.7,
        resolution=generator.resolution,
    )
    torch.testing.assert_close(wrapped(arrays["z"]), arrays["wrapper_image"], rtol=1e-4, atol=1e-4)


def test_other_files_are_not_taken():
    assert eg3d.infer(Checkpoint({"synthesis.b4.const": torch.zeros(1)})) is None


def test_cards_build_their_files():
    sizes_agree(
        eg3d,
        "eg3d",
        {
            "eg3d-ffhq-512": "ffhq512-128",
            "eg3d-ffhq-512-64": "ffhq512-64",
            "eg3d-ffhq-rebalanced-512": "ffhqrebalanced512-128",
            "eg3d-ffhq-rebalanced-512-64": "ffhqrebalanced512-64",
            "eg3d-afhqcat-512": "afhqcats512-128",
            "eg3d-shapenet-cars-128": "shapenetcars128-64",
        },
    )


def test_the_default_camera_is_the_authors():
    generator = tiny()
    v = math.pi / 2 - 0.2
    polar = math.acos(1 - 2 * v / math.pi)
    assert generator.camera.elevation == pytest.approx(90 - math.degrees(polar))
    assert generator.camera.fov == pytest.approx(eg3d.diagonal(18.837), abs=1e-3)
    assert eg3d.label(generator.camera, torch.zeros(1))[0, 16].item() == pytest.approx(
        4.2647, rel=1e-3
    )


def test_rays_of_a_label_pass_the_pivot_and_open_by_the_angle_of_view():
    camera = Camera(30.0, -10.0, 40.0, 2.7, (0.1, 0.0, 0.2))
    c = eg3d.label(camera, torch.zeros(1, dtype=torch.float64))
    origin, direction = eg3d.view(c, 2)
    middle = direction.sum(dim=1)
    distance = (torch.tensor([0.1, 0.0, 0.2]).double() - origin).norm()
    hit = origin + distance * middle / middle.norm()
    torch.testing.assert_close(hit[0], torch.tensor([0.1, 0.0, 0.2]).double())
    across = torch.nn.functional.normalize(direction[0, 0] + direction[0, 2], dim=0)
    along = middle[0] / middle.norm()
    slope = math.tan(math.acos((across @ along).item()))
    assert slope == pytest.approx(math.tan(math.radians(20)) / 2)


def test_the_planes_are_xy_xz_and_zx():
    network = tiny().network
    ramp = (torch.arange(64) + 0.5) / 32 - 1
    planes = torch.zeros(1, 3, 4, 64, 64)
    planes[0, 0, 0], planes[0, 0, 1] = ramp.expand(64, 64), ramp[:, None].expand(64, 64)
    planes[0, 1, 2] = ramp[:, None].expand(64, 64)
    planes[0, 2, 3] = ramp.expand(64, 64)
    network.decoder[0].weight.copy_(torch.zeros(8, 4)).fill_diagonal_(2.0)
    network.decoder[0].bias.zero_()
    network.decoder[1].weight.copy_(torch.zeros(6, 8)).fill_diagonal_(1.0)
    network.decoder[1].bias.zero_()
    point = torch.tensor([[[0.1, -0.2, 0.3]]])
    sigma, colour = network.field(planes, point)
    logit = ((colour[0, 0, :3] + 0.001) / 1.002).logit()
    found = torch.cat([sigma[0], logit]) * math.sqrt(8)
    back = torch.log(torch.expm1(found)) * 3
    torch.testing.assert_close(back, 2 * torch.tensor([0.1, -0.2, 0.3, 0.3]), rtol=1e-3, atol=1e-3)


def test_what_is_behind_an_empty_scene_is_white():
    generator = tiny(white=True)
    generator.network.decoder[1].bias[0] = -1e4
    scene = generator.scene(generator.space.split(Rng(1).normal(6)))
    origin, direction = eg3d.view(eg3d.label(generator.camera, scene.w), 6)
    seen = generator.network.render(scene.planes, origin, direction)
    torch.testing.assert_close(seen.feature, torch.ones_like(seen.feature))
    assert seen.depth.isfinite().all()


def test_latent_cameras_fill_the_range_around_the_authors():
    generator = tiny(camera="latent", reach=(20.0, 10.0))
    azimuth, elevation = poses(generator)
    assert azimuth.abs().max() <= 20 and azimuth.std().item() == pytest.approx(
        20 / 3**0.5, rel=0.02
    )
    height = torch.sin(torch.deg2rad(elevation - generator.camera.elevation))
    assert height.std().item() == pytest.approx(math.sin(math.radians(10)) / 3**0.5, rel=0.02)


def test_a_camera_further_away_sees_the_same_scene_smaller():
    generator = tiny()
    z = Rng(1).normal(6)
    far = generator.view(Camera(elevation=generator.camera.elevation, radius=5.0))(z)
    assert far.isfinite().all() and not torch.allclose(far, generator(z), atol=1e-4)


def test_the_mesh_of_a_scene_is_closed():
    pytest.importorskip("skimage")
    generator = tiny()
    generator.network.decoder[1].bias[0] = 10.0
    assert extract(generator, Rng(1).normal(6), resolution=24).closed


@pytest.mark.parametrize(
    "wrong, error",
    [
        ({"truncation": float("nan")}, SpecError),
        ({"noise": "random"}, SpecError),
        ({"camera": "behind"}, SpecError),
        ({"camera": {"azimut": 3}}, UnknownName),
        ({"enlarger": "16X"}, UnknownName),
    ],
)
def test_wrong_arguments_are_named(wrong, error):
    with pytest.raises(error):
        tiny(**wrong)
