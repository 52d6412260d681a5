"""Cameras, views, orbits and meshes on a generator whose scenes are known: a coloured ball."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from latentzoo.energies.base import Function
from latentzoo.errors import SpecError, UnknownName
from latentzoo.nn import volume
from latentzoo.rng import Rng
from latentzoo.views import mesh, orbit
from latentzoo.views.camera import Camera, Solid, Viewable, fan

FRONT = Camera(fov=30.0, radius=4.0, pivot=(0.0, 0.0, 0.0))


class Ball(Viewable, Solid):
    """A ball off the centre, whose position and colour are the latent."""

    extent = 1.5

    def __init__(self, camera=None, side=16):
        super().__init__(camera, FRONT, (side, side), place=(3,), colour=(3,))

    def scene(self, blocks):
        return 0.2 * blocks["place"], blocks["colour"].sigmoid()

    def solidity(self, scene, points):
        return 0.7 - (points - scene[0][:, None]).norm(dim=2)

    def photograph(self, scene, camera):
        camera = camera.over(self.camera)
        pose = camera.pose(scene[0]).expand(len(scene[0]), -1, -1)
        plane = 0.27 * volume.pixels(self.size[0], like=pose)
        origin, direction = volume.rays(pose, plane[None])
        t = torch.linspace(2, 6, 41)
        points = origin[:, None, None] + direction[:, :, None] * t[:, None]
        density = (
            (20 * self.solidity(scene, points.flatten(1, 2)))
            .sigmoid()
            .unflatten(1, points.shape[1:3])
        )
        seen = volume.visibility(5 * density, torch.full_like(density, 0.1)).sum(dim=2)
        return (seen[..., None] * scene[1][:, None]).mT.unflatten(2, self.size)

    def aim(self, u):
        return Camera(azimuth=20 * u[:, 0], elevation=10 * u[:, 1])


def z(n=2, ball=None):
    return Rng(*range(n)).normal((ball or Ball()).space.dim)


def test_the_camera_stands_where_its_angles_say():
    like = torch.zeros((), dtype=torch.float64)
    places = {(0, 0): (0, 0, 4), (90, 0): (4, 0, 0), (-90, 0): (-4, 0, 0), (180, 0): (0, 0, -4)}
    places[30.0, 45.0] = (np.sqrt(2), np.sqrt(8), np.sqrt(6))
    for (azimuth, elevation), place in places.items():
        pose = replace(FRONT, azimuth=azimuth, elevation=elevation).pose(like)
        assert pose.shape == (1, 3, 4) and pose.dtype == torch.float64
        assert pose[0, :, 3].tolist() == pytest.approx(place, abs=1e-9)


def test_one_camera_per_image():
    angles = torch.tensor([10.0, 20.0, 30.0])
    many = replace(FRONT, azimuth=angles).pose(angles)
    alone = torch.cat([replace(FRONT, azimuth=float(a)).pose(angles) for a in angles])
    torch.testing.assert_close(many, alone)


def test_cameras_are_read_from_records():
    camera = Camera.read({"azimuth": 20, "pivot": [0, 0, 0.2]})
    assert camera.over(FRONT) == Camera(azimuth=20, fov=30.0, radius=4.0, pivot=(0, 0, 0.2))
    assert Camera.read(camera) is camera
    with pytest.raises(UnknownName, match="did you mean 'azimuth'"):
        Camera.read({"azimut": 20})
    with pytest.raises(SpecError, match="not a camera"):
        Ball("behind")


@pytest.mark.parametrize("wrong", [{"elevation": 90}, {"fov": 0}, {"fov": 180}, {"radius": -1}])
def test_impossible_cameras_are_refused(wrong):
    with pytest.raises(SpecError, match="out of range"):
        Camera(**wrong)


def test_a_camera_without_a_radius_has_no_place():
    with pytest.raises(SpecError, match="no radius"):
        Camera().pose(torch.zeros(()))


def test_a_view_is_the_map_with_that_camera():
    side = Camera(azimuth=40)
    fixed = Ball({"azimuth": 40})
    assert torch.equal(Ball().view(side)(z()), fixed(z()))
    assert not torch.allclose(Ball()(z()), fixed(z()))
    assert Ball().view(side).space == fixed.space


def test_the_latent_camera_is_the_camera_it_stands_for():
    ball = Ball("latent")
    latent = z(2, ball)
    blocks = ball.space.split(latent)
    for i in range(2):
        camera = Camera(
            *(float(a * b) for a, b in zip((20, 10), blocks["camera"][i], strict=True))
        )
        expected = Ball(camera)(latent[i : i + 1, :6])
        torch.testing.assert_close(ball(latent)[i : i + 1], expected, atol=1e-5, rtol=1e-5)
    assert ball.view(Camera()).space == Ball().space


def test_a_fan_is_even_and_around_the_camera():
    cameras = fan(replace(FRONT, azimuth=10.0), 5, azimuth=40)
    assert [camera.azimuth for camera in cameras] == [-10, 0, 10, 20, 30]
    assert all(replace(camera, azimuth=0.0) == FRONT for camera in cameras)
    assert fan(FRONT, 1) == (FRONT,)
    with pytest.raises(SpecError, match="0 views"):
        fan(FRONT, 0)


def test_orbit_takes_the_pictures_of_the_views():
    ball = Ball("latent")
    latent, cameras = z(3, ball), fan(FRONT, 4)
    pictures = orbit.orbit(ball, latent, cameras)
    assert pictures.shape == (4, 3, 3, 16, 16)
    for picture, camera in zip(pictures, cameras, strict=True):
        torch.testing.assert_close(picture, ball.view(camera)(latent[:, :6]))


def test_strip_and_animation_show_every_view(tmp_path):
    pictures = orbit.orbit(Ball(), z(2), fan(FRONT, 5))
    orbit.write_strip(tmp_path / "strip.png", pictures)
    strip = Image.open(tmp_path / "strip.png")
    assert strip.size == (5 * 18 - 2, 2 * 18 - 2)
    expected = (pictures[3, 1].clamp(0, 1) * 255).round().permute(1, 2, 0)
    assert np.array_equal(np.asarray(strip)[18:34, 54:70], expected)
    orbit.write_animation(tmp_path / "orbit.webp", pictures)
    moving = Image.open(tmp_path / "orbit.webp")
    assert moving.n_frames == 8 and moving.size == (34, 16)
    moving.seek(5)
    again = np.asarray(moving.convert("RGB"))
    assert np.array_equal(again[:, 18:], expected), "after five views there, the fourth comes back"


def test_the_energy_over_views_is_the_mean_of_the_views():
    ball, cameras = Ball(), fan(FRONT, 3, azimuth=80)
    views = orbit.Views(ball, cameras)
    assert views.size == (16, 48) and views.space == ball.space
    energy = Function(lambda x: x.square().sum((1, 2, 3)).sqrt() + x[:, 0, 3, 5])
    mean = sum(energy(ball.view(camera)(z())) for camera in cameras) / 3
    torch.testing.assert_close(orbit.EachView(energy, 3)(views(z())), mean)
    with pytest.raises(SpecError, match="at least one camera"):
        orbit.Views(ball, ())


def test_the_scene_is_made_once_for_all_views(monkeypatch):
    calls, scene = [], Ball.scene
    monkeypatch.setattr(Ball, "scene", lambda self, blocks: calls.append(1) or scene(self, blocks))
    orbit.Views(Ball(), fan(FRONT, 4))(z())
    assert len(calls) == 1


def test_the_mesh_of_a_ball_is_a_closed_ball():
    pytest.importorskip("skimage")
    ball = mesh.extract(Ball(), z(1), resolution=48)
    assert ball.closed
    assert ball.volume == pytest.approx(4 / 3 * np.pi * 0.7**3, rel=0.01)
    centre = 0.2 * z(1)[0, :3].numpy()
    distance = np.linalg.norm(ball.vertices - centre, axis=1)
    assert np.abs(distance - 0.7).max() < 0.01
    edges = 3 * len(ball.faces) / 2
    assert len(ball.vertices) - edges + len(ball.faces) == 2, "not a sphere"


def test_a_subject_that_leaves_the_grid_is_closed_at_its_border():
    pytest.importorskip("skimage")
    x = np.linspace(-1, 1, 24)
    pillar = 0.5 - np.hypot(x[:, None, None], x[None, :, None]) + 0 * x
    cut = mesh.marching_cubes(pillar, 1.0)
    assert cut.closed and cut.volume == pytest.approx(2 * np.pi * 0.25, rel=0.1)


@pytest.mark.parametrize("whole", [False, True])
def test_a_field_that_is_zero_on_the_grid_has_no_triangles_without_area(whole):
    """Tools that merge corners of one place would find the surface torn."""
    pytest.importorskip("skimage")
    x = np.linspace(-1, 1, 21)
    field = 0.7 - np.sqrt(x[:, None, None] ** 2 + x[:, None] ** 2 + x**2)
    ball = mesh.marching_cubes(np.round(10 * field) if whole else field, 1.0)
    assert ball.closed and len(np.unique(ball.vertices, axis=0)) == len(ball.vertices)


def test_an_open_mesh_is_seen_to_be_open():
    corners = np.eye(4, 3)
    tetrahedron = np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]])
    assert mesh.Mesh(corners, tetrahedron).closed
    assert not mesh.Mesh(corners, tetrahedron[:3]).closed
    assert not mesh.Mesh(corners, tetrahedron[:, [0, 2, 1]][:1]).closed
    flipped = tetrahedron.copy()
    flipped[0] = flipped[0, ::-1]
    assert not mesh.Mesh(corners, flipped).closed


def test_a_ply_file_holds_the_mesh(tmp_path):
    vertices, faces = np.eye(4, 3, dtype=np.float32), np.array([[0, 1, 2], [0, 3, 1]])
    mesh.Mesh(vertices, faces).write(tmp_path / "a.ply")
    header, body = (tmp_path / "a.ply").read_bytes().split(b"end_header\n")
    assert b"element vertex 4" in header and b"element face 2" in header
    assert np.array_equal(np.frombuffer(body, "<f4", 12).reshape(4, 3), vertices)
    rows = np.frombuffer(body[48:], [("n", "u1"), ("v", "<i4", 3)])
    assert rows["n"].tolist() == [3, 3] and np.array_equal(rows["v"], faces)


def test_a_scene_without_a_surface_is_named():
    pytest.importorskip("skimage")
    with pytest.raises(SpecError, match="no surface"):
        mesh.marching_cubes(-np.ones((4, 4, 4)), 1.0)
    with pytest.raises(SpecError, match="one latent"):
        mesh.extract(Ball(), z(2))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_field_without_numbers_is_refused(value):
    pytest.importorskip("skimage")
    field = np.ones((4, 4, 4))
    field[1, 2, 3] = value
    with pytest.raises(SpecError, match="NaN or infinite"):
        mesh.marching_cubes(field, 1.0)
