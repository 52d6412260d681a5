import math
from dataclasses import replace

import pytest
import torch
from views import gradient, load, poses, see, sizes_agree

from latentzoo.errors import SpecError
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.rng import Rng
from latentzoo.views.camera import Camera, upright
from latentzoo.zoo import giraffe_hd
from latentzoo.zoo.giraffe_hd import PARTS, Box, Codes
from laws import obey, randomise

TINY = {
    "widths": [6, 5],
    "z_dim": 6,
    "z_dim_bg": 5,
    "features": 6,
    "layers": 2,
    "samples": 12,
    "resolution": 8,
    "inject": 2,
}
CAR = {
    "mask": True,
    "follow": True,
    "turns": [0.0, 1.0],
    "scales": [[0.2, 0.16, 0.16], [0.25, 0.2, 0.2]],
    "places": [[-0.22, -0.12, 0.0], [0.22, 0.12, 0.0]],
}


def tiny(**options):
    torch.manual_seed(0)
    generator = giraffe_hd.build(**{**TINY, **options})
    randomise(generator)
    network = generator.network
    for field in (network.fg_field, network.bg_field):
        field.sigma_out.bias += 1.0
        field.fc_in.weight[:, 24:] = 0
        if field.skip:
            field.fc_p_skip.weight[:, 24:] = 0
    return generator


@pytest.mark.parametrize(
    "options",
    [
        {"noise": "latent"},
        {"camera": "latent", **CAR},
        {"styled": False, "appearance": True, "views": True, "temperature": 0.7, "chunk": 20},
    ],
)
def test_laws(options):
    generator = tiny(**options)
    obey(generator)
    see(generator)


def test_the_latent_has_four_parts_and_the_placement_where_it_has_a_range():
    assert tiny().space.blocks == dict(zip(PARTS, ((6,), (6,), (5,), (5,)), strict=True))
    assert "placement" not in tiny(camera="latent").space.blocks
    assert tiny(camera="latent", **CAR).space.blocks["placement"] == (3,)


def test_the_placement_covers_its_range():
    generator = tiny(camera="latent", **CAR)
    z = 3 * Rng(*range(50)).normal(generator.space.dim)
    scene = generator.scene(generator.space.split(z))
    low, high = (torch.tensor(x) for x in CAR["scales"])
    assert ((scene.scale >= low - 1e-6) & (scene.scale <= high + 1e-6)).all()
    part = (scene.scale - low) / (high - low)
    torch.testing.assert_close(part[:, 0], part[:, 1], rtol=1e-3, atol=1e-4)
    assert scene.place[:, 0].abs().max() <= 0.22 and scene.place[:, 0].abs().max() > 0.2
    assert (scene.place[:, 2] == 0).all()


def test_chunks_change_neither_the_image_nor_the_gradient():
    whole, parts = (tiny(chunk=chunk).double() for chunk in (None, 9))
    z = Rng(1, 2, dtype=torch.float64).normal(22)
    torch.testing.assert_close(whole(z), parts(z))
    torch.testing.assert_close(gradient(whole, z), gradient(parts, z))


@pytest.mark.parametrize("card, inject", [("ffhq_like", 3), ("compcar_like", 1)])
def test_an_official_file_gives_the_authors_picture(card, inject):
    generator, arrays = load(giraffe_hd, "giraffe_hd", card, lambda config: {"args": config})
    generator.inject = inject
    torch.testing.assert_close(
        generator(arrays["z"]), arrays["wrapper_image"], rtol=3e-3, atol=3e-3
    )


def test_other_files_are_not_taken():
    assert giraffe_hd.infer(Checkpoint({"styles.0.1.weight": torch.zeros(4, 4)})) is None


def test_cards_build_their_files():
    sizes_agree(giraffe_hd, "giraffe_hd", {"giraffe-hd-ffhq-1024": "ffhq_1024"})


def test_temperature_does_nothing_where_codes_are_normalised_and_something_where_not():
    z = Rng(1).normal(22)
    torch.testing.assert_close(tiny(temperature=0.7)(z), tiny()(z), rtol=1e-4, atol=1e-4)
    raw = [tiny(styled=False, temperature=t)(z) for t in (0.7, 1.0)]
    assert not torch.allclose(*raw, atol=1e-3)


def test_the_shape_styles_the_first_layers_and_the_appearance_the_rest():
    generator, z = tiny(), Rng(1).normal(22)
    codes = generator.scene(generator.space.split(z)).styles
    near, behind = torch.randn(2, 1, 6, 8, 8).unbind(0)
    paint = lambda styles, inject: generator.network.paint(near, behind, styles, inject).raw
    other = codes._replace(appearance=codes.appearance + 1)
    assert torch.equal(paint(codes, 4), paint(other, 4))
    assert not torch.allclose(paint(codes, 2), paint(other, 2))
    other = codes._replace(shape=codes.shape + 1)
    assert torch.equal(paint(codes, 0), paint(other, 0))


def test_turning_the_camera_is_turning_the_object_and_leaves_the_background():
    generator, z = tiny(), Rng(1).normal(22)
    scene = generator.scene(generator.space.split(z))
    network, angle = generator.network, 40.0
    pose = lambda azimuth: upright(Camera(azimuth, 5.0, 10.0, 2.7, (0.0, 0.0, 0.0)).pose(z))
    box = lambda turn: Box(
        torch.full((1, 3), 0.3), torch.zeros(1, 3), giraffe_hd.turn(torch.tensor([turn]))
    )
    render = lambda azimuth, turn: network.render(*scene[:2], pose(azimuth), 0.09, box(turn))
    turned, still = render(0.0, math.radians(angle)), render(0.0, 0.0)
    walked = render(angle, 0.0)
    torch.testing.assert_close(turned[0], walked[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(turned[1], still[1])
    assert not torch.allclose(turned[0], still[0], atol=1e-2)


def test_an_object_outside_of_its_box_is_not_there():
    generator, z = tiny(), Rng(1).normal(22)
    scene = generator.scene(generator.space.split(z))
    aside = scene._replace(place=torch.tensor([[0.0, 9.0, 0.0]]))
    box = Box(aside.scale, aside.place, torch.eye(3)[None])
    pose = upright(generator.camera.pose(z))
    near, behind = generator.network.render(*aside[:2], pose, 0.09, box)
    assert (near == 0).all() and (behind != 0).any()


def test_images_stay_between_zero_and_one():
    images = tiny()(10 * Rng(1, 2).normal(22))
    assert images.min() >= 0 and images.max() <= 1


def test_latent_cameras_are_uniform_over_the_training_ranges():
    generator = tiny(camera="latent")
    azimuth, elevation = poses(generator)
    assert azimuth.abs().max() <= 360 * 0.09722 + 1e-3
    assert azimuth.std().item() == pytest.approx(35 / 3**0.5, rel=0.02)
    v = (1 - torch.sin(elevation.deg2rad())) / 2
    assert v.min() >= 0.4167 - 1e-5 and v.max() <= 0.5 + 1e-5
    assert v.mean().item() == pytest.approx(0.45835, abs=1e-3)
    middle = generator.aim(torch.zeros(1, 2))
    assert middle.elevation.item() == pytest.approx(generator.camera.elevation, abs=1e-3)


def test_each_cameras_pose_is_its_own():
    generator = tiny()
    z = Rng(1, 2, 3).normal(22)
    scene = generator.scene(generator.space.split(z))
    angles = torch.tensor([0.0, 5.0, 9.0])
    together = generator.photograph(scene, replace(generator.camera, elevation=angles))
    alone = [generator.view(Camera(elevation=float(a)))(z)[i] for i, a in enumerate(angles)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-3, atol=1e-3)


def test_codes_are_in_the_order_of_the_latent():
    assert Codes._fields == PARTS


@pytest.mark.parametrize("wrong", [{"temperature": 0}, {"noise": "none"}, {"camera": "x"}])
def test_wrong_arguments_are_named(wrong):
    with pytest.raises(SpecError):
        tiny(**wrong)
