"""The radiance field of heads: seen from all sides, read from a picture, guided from several views at once."""

import pytest
import torch

from latentzoo import Posterior, Rng, load
from latentzoo.builtin.heads import draw, picture
from latentzoo.builtin.train.command import prepare, read
from latentzoo.builtin.volume import DEPTH, build
from latentzoo.diagnosis.check import check
from latentzoo.energies.base import Function
from latentzoo.views.camera import Camera, fan
from latentzoo.views.mesh import extract
from latentzoo.views.orbit import EachView, Views, orbit


@pytest.fixture(scope="module")
def generator():
    return load("avatar-3d", size=32)


@pytest.fixture(scope="module")
def fresh():
    """Heads that no training saw, and their frontal pictures."""
    scene = draw(16, torch.Generator().manual_seed(2**40))
    return scene, picture(scene, Camera())


def psnr(x, y):
    return float(-10 * (x - y).square().mean().log10())


@pytest.mark.parametrize("options", [{}, {"camera": "latent"}, {"camera": {"azimuth": 30}}])
def test_the_laws(options):
    generator = load("avatar-3d", size=16, samples=8, **options)
    assert ("camera" in generator.space.blocks) == (options.get("camera") == "latent")
    broken = check(generator).breaches
    assert not broken, broken


def test_a_field_that_is_empty_shows_the_background_and_one_that_is_full_its_colour():
    generator = build(size=8).requires_grad_(False)
    z = Rng(0, 1).normal(64)
    last = generator.network.field.outer
    last.weight.zero_()
    for raw, colour in ((-30.0, None), (30.0, torch.tensor([0.2, 0.5, 0.9]))):
        last.bias.copy_(
            torch.cat([torch.tensor([raw]), torch.logit(torch.tensor([0.2, 0.5, 0.9]))])
        )
        scene = generator.scene(generator.space.split(z))
        expected = scene.background if colour is None else colour.expand(2, 3)
        torch.testing.assert_close(
            generator(z), expected[:, :, None, None].expand(-1, -1, 8, 8), atol=1e-5, rtol=0
        )


def test_a_thin_field_is_as_opaque_as_the_law_of_beer_says():
    generator = build(size=8).requires_grad_(False)
    last = generator.network.field.outer
    last.weight.zero_()
    last.bias.copy_(torch.tensor([1.0, -50.0, -50.0, -50.0]))
    z = Rng(0).normal(64)
    density = 20 * torch.nn.functional.softplus(torch.tensor(-2.0))
    through = torch.exp(-2 * DEPTH * density)
    background = generator.scene(generator.space.split(z)).background
    torch.testing.assert_close(
        generator(z)[0, :, 3, 3], through * background[0], rtol=1e-4, atol=1e-6
    )


def test_chunks_change_neither_the_picture_nor_the_gradient():
    whole, parts = (load("avatar-3d", size=12, chunk=chunk) for chunk in (None, 50))
    z = Rng(0, 1).normal(64).requires_grad_()
    torch.testing.assert_close(whole(z), parts(z))
    gradients = [torch.autograd.grad(g(z).square().sum(), z)[0] for g in (whole, parts)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_a_head_that_was_never_seen_comes_back_and_so_do_its_other_sides(generator, fresh):
    scene, x = fresh
    with torch.no_grad():
        z = generator.encode(x, Rng(*range(len(x))))
    for camera, seen in zip(
        fan(generator.camera, 3, azimuth=70.0),
        orbit(generator, z, fan(generator.camera, 3, azimuth=70.0)),
        strict=True,
    ):
        truth = picture(scene, camera, 32)
        assert psnr(seen, truth) > 19.0
        other = psnr(seen, truth.roll(1, dims=0))
        assert psnr(seen, truth) > other + 6, "it could be anybody's head"


def test_a_picture_tells_where_it_was_taken_from(fresh):
    scene, _ = fresh
    looking = load("avatar-3d", camera="latent")
    u = Rng(5).normal(len(scene.background), 2)[0].clamp(-1.5, 1.5)
    x = picture(scene, looking.aim(u))
    read = looking.space.split(looking.encode(x, Rng(*range(len(x)))))["camera"]
    error = looking.aim(read).azimuth - looking.aim(u).azimuth
    assert error.abs().mean() < 6.0, "degrees"


def test_samples_differ_as_heads_do_and_one_is_the_same_from_all_sides(generator, fresh):
    z = Rng(*range(16)).normal(64)
    views = orbit(generator, z, fan(generator.camera, 3, azimuth=60.0))
    left, front, right = views.flatten(3).mean(dim=3)
    spread = [x.flatten(2).std(dim=0).mean() for x in (fresh[1], views[1])]
    assert spread[1] > 0.75 * spread[0], "the samples look too much alike"
    assert (left - front).abs().mean() < 0.03 and (right - front).abs().mean() < 0.03
    assert views.min() >= 0 and views.max() <= 1


def test_the_surface_of_a_sample_is_closed_and_as_large_as_a_head(generator):
    pytest.importorskip("skimage")
    mesh = extract(generator, Rng(3).normal(64), resolution=40)
    assert mesh.closed
    assert 0.4 < mesh.volume < 4.0


def redness(x):
    """How far the middle of the upper quarter of pictures of 24 pixels is from red, (B,)."""
    top = x[:, :, 2:6, 8:16].mean(dim=(2, 3))
    return (top - top.new_tensor([0.85, 0.1, 0.1])).square().sum(dim=1)


def test_three_views_are_guided_at_once():
    generator = load("avatar-3d", size=24, samples=12)
    cameras = fan(generator.camera, 3, azimuth=60.0)
    target = Posterior(Views(generator, cameras), {"red": 100 * EachView(Function(redness), 3)})
    z = start = Rng(*range(3)).normal(64)
    for _ in range(12):
        z = z - 0.3 * torch.nn.functional.normalize(target.evaluate(z).grad + 0.02 * z, dim=1)
    before, after = (orbit(generator, z, cameras) for z in (start, z))
    for old, new in zip(before, after, strict=True):
        assert redness(new).mean() < 0.6 * redness(old).mean()


def test_a_killed_training_resumes_where_it_was(tmp_path):
    record = read("avatar-3d")
    record["plan"] |= {"iterations": 2, "warmup": 1, "save_every": 1}
    record["options"] |= {"batch": 2, "looks": 8, "samples": 4, "counted": 4, "shown": 1}
    whole = list(prepare(record, tmp_path / "whole", tmp_path).run())
    list(prepare(record, tmp_path / "parts", tmp_path).run(steps=1))
    again = list(prepare(record, tmp_path / "parts", tmp_path).run())
    assert [r["step"] for r in again] == [2]
    assert all(again[0][k] == v for k, v in whole[1].items() if k != "seconds")
