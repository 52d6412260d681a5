import math

import pytest
import torch
from views import gradient, load, poses, see, sizes_agree

from latentzoo.errors import SpecError
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.rng import Rng
from latentzoo.views.camera import Camera
from latentzoo.views.mesh import extract
from latentzoo.zoo import stylesdf
from latentzoo.zoo.stylesdf import StyleSDF
from laws import obey, randomise

TINY = {
    "widths": [8, 6],
    "width": 6,
    "depth": 2,
    "w_dim": 12,
    "resolution": 8,
    "samples": 5,
    "chunk": 50,
}


def tiny(**options):
    torch.manual_seed(0)
    generator = stylesdf.build(**{**TINY, **options})
    randomise(generator)
    return generator


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"camera": "latent", "noise": "latent", "truncation": 0.7, "spread": (0.5, 0.25)},
        {"widths": [], "still": False, "truncation": 0.7},
        {"even": False, "unit": False, "opaque": False, "signed": False},
    ],
)
def test_laws(options):
    generator = tiny(**options)
    obey(generator)
    see(generator)


def test_chunks_change_neither_the_image_nor_the_gradient():
    whole, parts = (tiny(chunk=chunk).double() for chunk in (None, 7))
    z = Rng(1, 2, dtype=torch.float64).normal(6)
    torch.testing.assert_close(whole(z), parts(z))
    torch.testing.assert_close(gradient(whole, z), gradient(parts, z))


@pytest.mark.parametrize("card, still", [("ffhq_like", True), ("afhq_like", False)])
def test_an_official_file_gives_the_authors_picture(card, still):
    generator, arrays = load(stylesdf, "stylesdf", card)
    network = generator.network
    network.still, network.samples = still, arrays["sdf"].shape[3]
    wrapped = StyleSDF(network, truncation=0.7)
    wrapped.mean.w, wrapped.mean_decoder.w = arrays["mean_renderer"][0], arrays["mean_decoder"][0]
    torch.testing.assert_close(wrapped(arrays["z"]), arrays["wrapper_image"], rtol=3e-4, atol=3e-4)


def test_other_files_are_not_taken():
    assert stylesdf.infer(Checkpoint({"style.0.weight": torch.zeros(4, 4)})) is None


def test_cards_build_their_files():
    sizes_agree(
        stylesdf,
        "stylesdf",
        {
            "stylesdf-ffhq-1024": "ffhq1024x1024",
            "stylesdf-afhq-512": "afhq512x512",
            "stylesdf-ffhq-64": "ffhq_vol_renderer",
            "stylesdf-afhq-64": "afhq_vol_renderer",
        },
    )


def test_the_means_are_of_the_weights_that_are_loaded():
    generator, other = tiny(truncation=0.7), tiny(truncation=0.7)
    randomise(other, seed=1)
    before, _ = generator.means()
    assert generator.means()[0] is before, "the means are taken again and again"
    generator.load_state_dict(other.state_dict())
    after, after_decoder = generator.means()
    torch.testing.assert_close(after, other.means()[0])
    torch.testing.assert_close(after_decoder, other.means()[1])
    assert not torch.allclose(before, after)


def test_truncation_zero_would_be_the_mean_and_one_is_none():
    z = Rng(1, 2).normal(6)
    near = tiny(truncation=1e-6)(z)
    torch.testing.assert_close(near[0], near[1], rtol=1e-3, atol=1e-3)
    w, _ = tiny().network.styles(z)
    assert torch.equal(tiny().scene({"style": z}).w, w)


class Ball(torch.nn.Module):
    """A field that is a ball of a given radius, in the units of the field."""

    width = 6

    def __init__(self, radius):
        super().__init__()
        self.radius, self.rgb = radius, torch.nn.Linear(6, 3)

    def forward(self, points, views, w):
        feature = torch.cat([points, views], dim=2)
        return 0 * points, points.norm(dim=2) - self.radius, feature


def test_a_ball_is_seen_as_a_disc_of_its_size_and_its_mesh_is_a_ball():
    pytest.importorskip("skimage")
    generator = tiny(widths=[], resolution=64, samples=200, opaque=False)
    generator.network.field = Ball(0.5)
    generator.network.beta.fill_(1e-4)
    z = Rng(1).normal(6)
    scene = generator.scene({"style": z})
    pose = generator.camera.pose(z)
    ends = (torch.tensor([0.88]), torch.tensor([1.12]))
    seen = generator.network.render(
        scene.w, pose, torch.tensor([math.tan(math.radians(6))]), *ends
    )
    area = (2 * math.tan(math.radians(6))) ** 2
    disc = ((seen.thumbnail[0, 0] + 1).sum() / 64**2).item() * area
    assert disc == pytest.approx(math.pi * 0.06**2, rel=0.02)
    front = seen.point[0, :, 31:33, 31:33].mean(dim=(1, 2))
    assert front[2].item() == pytest.approx(0.06, abs=2e-3), "the near side is not what is seen"
    ball = extract(generator, z, resolution=48)
    assert ball.closed and ball.volume == pytest.approx(4 / 3 * math.pi * 0.06**3, rel=0.01)


def test_light_that_is_left_goes_to_the_last_sample():
    generator = tiny(widths=[])
    generator.network.field = Ball(-9.0)
    z = Rng(1).normal(6)
    seen = generator.network.render(
        z, generator.camera.pose(z), *(torch.tensor([x]) for x in (0.1, 0.88, 1.12))
    )
    torch.testing.assert_close(seen.background, torch.ones_like(seen.background))


def test_depths_jitter_within_their_strata():
    network = tiny(even=False).network
    near, far, u = torch.tensor([[1.0]]), torch.tensor([[2.0]]), torch.rand(1, 9, 5)
    t = network._depths(near, far, u)
    edges = torch.tensor([1, 1.125, 1.375, 1.625, 1.875, 2])
    assert ((t >= edges[:-1]) & (t <= edges[1:])).all()


def test_latent_cameras_are_normal():
    azimuth, elevation = poses(tiny(camera="latent"))
    assert azimuth.std().item() == pytest.approx(math.degrees(0.3), rel=0.02)
    assert elevation.std().item() == pytest.approx(math.degrees(0.15), rel=0.02)
    assert abs(azimuth.mean().item()) < 0.5


def test_a_field_alone_has_no_decoder():
    generator = tiny(widths=[])
    assert generator.size == (8, 8)
    with pytest.raises(SpecError, match="field alone"):
        generator.network.decode(torch.zeros(1, 12), torch.zeros(1, 6, 8, 8))


@pytest.mark.parametrize(
    "wrong", [{"truncation": float("nan")}, {"noise": "none"}, {"camera": "x"}]
)
def test_wrong_arguments_are_named(wrong):
    with pytest.raises(SpecError):
        tiny(**wrong)


def test_the_whole_picture_turns_with_the_camera():
    generator = tiny(widths=[], still=False, resolution=16, samples=60)
    generator.network.field = Ball(0.5)
    z = Rng(1).normal(6)
    images = [generator.view(Camera(azimuth=a))(z) for a in (0.0, 50.0)]
    torch.testing.assert_close(*images, rtol=1e-4, atol=1e-4)
