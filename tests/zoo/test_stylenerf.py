import math

import pytest
import torch
from views import gradient, load, poses, see, sizes_agree

from latentzoo.errors import SpecError
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.nn import volume
from latentzoo.rng import Rng
from latentzoo.views.camera import Camera
from latentzoo.zoo import stylenerf
from latentzoo.zoo.stylenerf.field import outside
from latentzoo.zoo.stylenerf.levels import Doubling
from latentzoo.zoo.stylenerf.official import read
from laws import obey, official, randomise

TINY = {
    "widths": [8, 8],
    "z_dim": 6,
    "z_dim_bg": 3,
    "w_dim": 8,
    "layers": 2,
    "hidden": 8,
    "field_layers": 2,
    "hidden_bg": 6,
    "field_layers_bg": 2,
    "features": 8,
    "octaves": 3,
    "octaves_bg": 3,
    "resolution": 4,
    "samples": 6,
    "samples_bg": 3,
    "chunk": 9,
}


def tiny(**options):
    torch.manual_seed(0)
    generator = stylenerf.build(**{**TINY, **options})
    randomise(generator)
    generator.network.fg_field.sigma_out.bias.fill_(5.0)
    return generator


def records(config):
    return {"modules": {"": {"_init_kwargs": config}}}


@pytest.mark.parametrize(
    "options",
    [
        {"camera": "latent", "truncation": 0.7},
        {"background": False, "scaled": False, "twice": False},
        {"camera": "latent", "normal": False, "azimuths": [-180.0, 180.0]},
    ],
)
def test_laws(options):
    generator = tiny(**options)
    obey(generator)
    see(generator)


def test_chunks_change_neither_the_image_nor_the_gradient():
    whole, parts = (tiny(chunk=chunk).double() for chunk in (None, 5))
    z = Rng(1, 2, dtype=torch.float64).normal(9)
    torch.testing.assert_close(whole(z), parts(z))
    torch.testing.assert_close(gradient(whole, z), gradient(parts, z))


@pytest.mark.parametrize("card", ["ffhq_like", "three_levels"])
def test_an_official_file_gives_the_authors_picture(card):
    generator, arrays = load(stylenerf, "stylenerf", card, records)
    generator.truncation = 0.7
    generator.network.w_avg.copy_(arrays["w_avg"])
    z = generator.space.join(style=arrays["z"], background=arrays["z_bg"])
    torch.testing.assert_close(generator(z), arrays["wrapper_image"], rtol=2e-3, atol=2e-3)


def test_options_may_stand_flat_in_older_files():
    config, _ = official("stylenerf", "ffhq_like")
    synthesis = config["synthesis_kwargs"]
    flat = {**synthesis}
    for group in ("camera_kwargs", "renderer_kwargs"):
        flat |= flat.pop(group) | {group: {}}
    assert read({**config, "synthesis_kwargs": flat}) == read(config)


def test_options_that_are_not_known_are_named():
    config, _ = official("stylenerf", "ffhq_like")
    synthesis = {**config["synthesis_kwargs"], "upsample_mode": "pixelshuffle"}
    with pytest.raises(SpecError, match="upsample_mode = pixelshuffle"):
        read({**config, "synthesis_kwargs": synthesis})


def test_files_without_magnitudes_are_taken():
    _, file = official("stylenerf", "ffhq_like")
    assert stylenerf.infer(Checkpoint(file.tensors))["config"]["scaled"]
    without = {k: t for k, t in file.tensors.items() if not k.endswith("conv1.w_avg")}
    assert not stylenerf.infer(Checkpoint(without))["config"]["scaled"]
    assert stylenerf.infer(Checkpoint({"synthesis.alpha": torch.zeros(())})) is None


def test_cards_build_their_files():
    files = {f"stylenerf-ffhq-{side}": f"ffhq_{side}" for side in (256, 512, 1024)}
    sizes_agree(stylenerf, "stylenerf", files)


@pytest.mark.parametrize("inverse", [0.5, 0.1, 1e-3])
def test_points_outside_lie_on_the_ray_at_their_inverse_distance(inverse):
    pose = volume.look_at(torch.tensor([[0.3, -0.2, 0.9]]).double())
    origin, direction = volume.rays(pose, 0.2 * volume.pixels(4, like=pose)[None])
    points = outside(origin, direction, torch.tensor([inverse], dtype=torch.float64))[:, :, 0]
    torch.testing.assert_close(points[..., :3].norm(dim=2), torch.ones(1, 16).double())
    assert (points[..., 3] == inverse).all()
    place = points[..., :3] / inverse
    away = place - origin[:, None]
    along = torch.nn.functional.normalize(direction, dim=2)
    torch.testing.assert_close(away, (away * along).sum(dim=2, keepdim=True) * along)
    assert ((away * along).sum(dim=2) > 0).all()


def test_the_background_is_seen_through_an_empty_scene_only():
    generator = tiny()
    z = Rng(1).normal(9)
    other = z.clone()
    other[:, 6:] += 1
    sigma = generator.network.fg_field.sigma_out.bias
    sigma.fill_(1e6)
    torch.testing.assert_close(generator(z), generator(other))
    sigma.fill_(-1e6)
    assert not torch.allclose(generator(z), generator(other), atol=1e-4)


def test_alpha_blends_the_last_level_in():
    generator = tiny()
    network, z = generator.network, Rng(1).normal(9)
    ws = network.styles(z[:, :6])
    rgb, x = torch.randn(1, 3, 4, 4), torch.randn(1, 8, 4, 4)
    at = lambda alpha: network.alpha.fill_(alpha) and network.enlarge(ws, rgb, x)
    whole, half = at(1.0), at(0.5)
    assert torch.equal(at(-1.0), whole) and half.shape == (1, 3, 8, 8)
    smooth = torch.nn.functional.interpolate(half, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(at(0.875), 0.25 * smooth + 0.75 * whole)
    network.alpha.fill_(0.0)
    assert torch.equal(network.enlarge(ws, rgb, x), rgb)


def test_doubling_without_its_layers_repeats_and_filters():
    doubling = Doubling(4)
    doubling.widen.weight.data.zero_()
    x = torch.randn(1, 4, 5, 5)
    repeated = torch.nn.functional.interpolate(x, scale_factor=2)
    taps = torch.tensor([1.0, 3, 3, 1]) / 8
    kernel = torch.outer(taps, taps).expand(4, 1, 4, 4)
    padded = torch.nn.functional.pad(repeated, (2, 1, 2, 1))
    torch.testing.assert_close(doubling(x), torch.nn.functional.conv2d(padded, kernel, groups=4))


def test_latent_cameras_follow_the_training():
    azimuth, elevation = poses(tiny(camera="latent"))
    assert azimuth.std().item() == pytest.approx(math.degrees(0.3), rel=0.02)
    assert elevation.std().item() == pytest.approx(math.degrees(0.155), rel=0.02)
    azimuth, _ = poses(tiny(camera="latent", normal=False, azimuths=(-180.0, 180.0)))
    assert azimuth.abs().max() <= 180 and azimuth.std().item() == pytest.approx(103.9, rel=0.02)


def test_the_depths_follow_the_camera():
    generator = tiny()
    z = Rng(1).normal(9)
    for radius in (0.95, 1.0):
        assert generator.view(Camera(radius=radius))(z).isfinite().all()


@pytest.mark.parametrize("wrong", [{"truncation": float("inf")}, {"camera": "random"}])
def test_wrong_arguments_are_named(wrong):
    with pytest.raises(SpecError):
        tiny(**wrong)
