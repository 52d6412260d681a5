"""The heads of balls and boxes: rays meet what marching along them meets, and numbers mean what they say."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from latentzoo.builtin.heads import (
    CAMERA,
    LAMP,
    NUMBERS,
    Heads,
    assemble,
    cast,
    draw,
    numbers,
    picture,
)
from latentzoo.views.camera import Camera

K = sum(NUMBERS.values())


def some(count=6, seed=0):
    return draw(count, torch.Generator().manual_seed(seed))


def inside(scene, points):
    """Whether points (B, M, 3) are inside each of the 21 solids, (B, M, 21)."""
    local = [
        (points[:, :, None] - kind[:, None, :, 0]) / kind[:, None, :, 1]
        for kind in (scene.balls, scene.boxes)
    ]
    return torch.cat([local[0].norm(dim=3) < 1, local[1].abs().amax(dim=3) < 1], dim=2)


@pytest.mark.parametrize("azimuth", [0.0, 50.0])
def test_a_ray_sees_the_first_solid_that_it_enters(azimuth):
    scene = some(3)
    stream = torch.Generator().manual_seed(1)
    origin = replace(CAMERA, azimuth=azimuth, elevation=15.0).pose(scene.background)[..., 3]
    direction = F.normalize(
        torch.rand(3, 150, 3, generator=stream) * 1.6 - 0.8 - origin[:, None], dim=2
    )
    origin = origin[:, None].expand(3, 150, 3)
    label = torch.arange(1.0, 22.0)
    marked = torch.stack([label, label.new_ones(21), 0 * label], dim=1).expand(3, -1, -1)
    seen = cast(scene._replace(colour=marked, background=torch.zeros(3, 3)), origin, direction)
    t = torch.linspace(2, 6, 4001)
    points = origin[:, :, None] + direction[:, :, None] * t[:, None]
    met = inside(scene, points.flatten(1, 2)).unflatten(1, (150, -1))
    first = met.any(dim=3).int().argmax(dim=2)
    there = met.gather(2, first[:, :, None, None].expand(-1, -1, 1, 21))[:, :, 0]
    expected = torch.where(there.any(dim=2), there.int().argmax(dim=2) + 1, 0)
    found = torch.where(seen[..., 1] > 0, seen[..., 0] / seen[..., 1].clamp(min=0.1), 0).round()
    assert (found == expected).float().mean() > 0.985, "more than grazing rays disagree"
    assert len(expected.unique()) > 10


def test_the_light_is_the_lamp_s():
    ball = Heads(
        torch.tensor([[[[0.0, 0, 0], [0.5, 0.5, 0.5]]]]),
        torch.tensor([[[[0.0, 9, 0], [0.1, 0.1, 0.1]]]]),
        torch.ones(1, 2, 3),
        torch.zeros(1, 3),
    )
    lamp = F.normalize(torch.tensor(LAMP), dim=0)
    normals = F.normalize(torch.randn(1, 40, 3, generator=torch.Generator().manual_seed(0)), dim=2)
    seen = cast(ball, 3 * normals, -normals)[0, :, 0]
    torch.testing.assert_close(seen, 0.6 + 0.4 * (normals[0] @ lamp).clamp(min=0))


def test_heads_are_symmetric_and_the_camera_goes_around_them():
    scene = some(4)
    bare = scene._replace(colour=torch.zeros(4, 21, 3), background=torch.ones(4, 3))
    left, right = (picture(bare, Camera(azimuth=a, elevation=10.0), 32) for a in (-40.0, 40.0))
    assert (left != right.flip(3)).float().mean() < 0.005, "one is not the mirror image"
    assert (left != right).float().mean() > 0.02


def test_a_head_is_its_numbers_alone():
    u = torch.rand(5, K, generator=torch.Generator().manual_seed(3))
    for whole, alone in zip(assemble(u), assemble(u[2:3]), strict=True):
        torch.testing.assert_close(whole[2:3], alone, atol=0, rtol=0)
    assert {name: part.shape[1] for name, part in numbers(u).items()} == NUMBERS


def test_the_colour_of_a_hat_is_seen_on_its_wearer():
    u = torch.full((2, K), 0.5)
    parts = numbers(u)
    parts["hat"][:], parts["hat_color"][:] = 0.9, torch.tensor([1.0, 0.0, 0.0])
    parts["hat"][1] = 0.1
    x = picture(assemble(torch.cat(list(parts.values()), dim=1)), Camera(), 64)
    red = (x[:, 0] > 0.5) & (x[:, 1] < 0.1)
    assert red[0, :20].float().mean() > 0.15
    assert not red[1].any()
    assert math.isclose(float(x[0, 0, 0, 0]), 0.75, abs_tol=1e-6), "the background's corner"
