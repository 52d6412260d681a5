"""Volume rendering against geometry and integrals that are known."""

import math

import pytest
import torch

from latentzoo.nn import volume

DOUBLE = torch.zeros((), dtype=torch.float64)


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_look_at_is_a_rotation_whose_backward_axis_points_away_from_the_target():
    position, target = random(5, 3), (0.1, -0.2, 0.3)
    pose = volume.look_at(position, target)
    rotation = pose[:, :, :3]
    torch.testing.assert_close(rotation.mT @ rotation, torch.eye(3).double().expand(5, 3, 3))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(5).double())
    away = torch.nn.functional.normalize(position - torch.tensor(target), dim=1)
    torch.testing.assert_close(rotation[:, :, 2], away)
    assert (rotation[:, 1, 1] > 0).all(), "the camera stands on its head"
    torch.testing.assert_close(pose[..., 3], position)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_look_at_of_a_camera_does_not_depend_on_its_batch(batch):
    position = random(batch, 3)
    alone = torch.cat([volume.look_at(p[None]) for p in position])
    assert torch.equal(volume.look_at(position), alone)


def test_pixels_run_row_by_row_from_the_top_left():
    centres = volume.pixels(2, like=DOUBLE)
    assert centres.tolist() == [[-0.5, 0.5], [0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]]
    assert volume.pixels(3, like=DOUBLE, corners=True)[0].tolist() == [-1, 1]
    assert volume.pixels(3, like=DOUBLE, corners=True)[4].tolist() == [0, 0]


def test_the_ray_through_the_middle_meets_the_target_at_the_distance():
    pose = volume.look_at(random(4, 3), (0.1, 0.2, 0.3))
    origin, direction = volume.rays(pose, torch.zeros(1, 1, 2).double())
    distance = (origin - torch.tensor([0.1, 0.2, 0.3])).norm(dim=1)
    hit = origin + distance[:, None] * direction[:, 0]
    torch.testing.assert_close(hit, torch.tensor([0.1, 0.2, 0.3]).double().expand(4, 3))


def test_a_ray_goes_back_to_the_pixel_it_came_from():
    pose, plane = volume.look_at(random(2, 3)), 0.3 * volume.pixels(4, like=DOUBLE)
    origin, direction = volume.rays(pose, plane[None])
    seen = (origin[:, None] + 2.5 * direction - origin[:, None]) @ pose[:, :, :3]
    torch.testing.assert_close(seen[..., :2] / -seen[..., 2:], plane.expand(2, 16, 2))


def test_depths_are_even_and_jitter_shifts_them_forward():
    near, far = torch.tensor([2.0, 1.0]), torch.tensor([4.0, 2.0])
    assert volume.stratify(near, far, 3).tolist() == [[2, 3, 4], [1, 1.5, 2]]
    assert volume.stratify(near, far, 4, ends=False).tolist() == [
        [2, 2.5, 3, 3.5],
        [1, 1.25, 1.5, 1.75],
    ]
    half = volume.stratify(near, far, 3, jitter=torch.full((2, 3), 0.5))
    assert half.tolist() == [[2.5, 3.5, 4.5], [1.25, 1.75, 2.25]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_refined_depths_are_the_quantiles_of_the_weights(side):
    edges, weight = random(6, 9).abs().cumsum(dim=-1), random(6, 8).abs()
    u = torch.linspace(0.01, 0.99, 23).double().expand(6, 23)
    depth = volume.refine(edges, weight, u, side=side, eps=1e-12)
    mass = weight / weight.sum(dim=-1, keepdim=True)
    width = edges.diff(dim=-1)
    covered = ((depth[..., None] - edges[:, None, :-1]) / width[:, None]).clamp(0, 1)
    torch.testing.assert_close((covered * mass[:, None]).sum(dim=-1), u)
    assert (depth.diff(dim=-1) >= 0).all()


def test_refinement_goes_where_the_weight_is():
    peaked = torch.eye(10)[6] * 100
    depth = volume.refine(torch.linspace(0, 1, 11), peaked, torch.linspace(0.01, 0.99, 9))
    assert ((depth >= 0.6) & (depth <= 0.7)).all()


def test_refined_depths_have_their_derivative():
    edges, weight = random(2, 6).abs().cumsum(dim=-1), random(2, 5).abs().requires_grad_()
    u = torch.linspace(0.05, 0.95, 4).double().expand(2, 4)
    assert torch.autograd.gradcheck(lambda w: volume.refine(edges, w, u), weight)


@pytest.mark.parametrize("sigma", [0.3, 4.0])
def test_a_uniform_fog_absorbs_exponentially(sigma):
    n, length = 50, 2.0
    interval = torch.full((n,), length / n, dtype=torch.float64)
    weight = volume.visibility(torch.full((n,), sigma).double(), interval)
    assert weight.sum().item() == pytest.approx(1 - math.exp(-sigma * length), rel=1e-6)
    assert weight[10].item() / weight[9].item() == pytest.approx(
        math.exp(-sigma * length / n), rel=1e-6
    )


def test_what_is_behind_a_wall_is_not_seen():
    weight = volume.visibility(torch.tensor([0.0, 1e6, 5.0]), torch.tensor([1.0, 1.0, 1e10]))
    assert weight.tolist() == [0, 1, 0]
    shown = volume.composite(weight, torch.tensor([[1.0, 2], [3, 4], [5, 6]]))
    assert shown.tolist() == [3, 4]


def test_visibility_has_its_derivative():
    density = random(3, 7).abs().requires_grad_()
    interval = random(3, 7).abs()
    assert torch.autograd.gradcheck(lambda sigma: volume.visibility(sigma, interval), density)


def render(rays, scale):
    def inner(x, y):
        h = (x * scale).sin() * y
        return h.cumsum(dim=-1), h.square().sum(dim=-1, keepdim=True)

    return inner(*rays)


@pytest.mark.parametrize("chunk", [1, 6, 7, 1000])
def test_chunks_change_neither_the_picture_nor_its_gradient(chunk):
    x, y, scale = random(2, 10, 5), random(2, 10, 5) + 1, random(5).requires_grad_()
    inner = lambda x, y: render((x, y), scale)
    whole, parts = volume.in_chunks(inner, None, x, y), volume.in_chunks(inner, chunk, x, y)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    loss = lambda out: (out[0].cos().sum() * out[1].sum()).log().abs()
    (expected,) = torch.autograd.grad(loss(whole), scale)
    (given,) = torch.autograd.grad(loss(parts), scale)
    torch.testing.assert_close(given, expected)


def test_with_chunks_the_rays_alone_are_kept_for_the_backward_pass():
    scale, widths = random(5).requires_grad_(), []

    def inner(x):
        widths.append(x.shape[1])
        return render((x, x + 1), scale)

    def kept(chunk):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.append(t.numel()) or t, lambda t: t
        ):
            volume.in_chunks(inner, chunk, random(1, 256, 5))
        return sum(sizes)

    assert kept(None) >= 3 * 256 * 5
    widths.clear()
    assert kept(8) == 256 * 5
    assert set(widths) == {8}
