"""Alignment by five landmarks: the closed form is the best similarity, and faces land where the crop looks."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from energies import guides
from latentzoo import energies, picture
from latentzoo.errors import ImageError, SpecError
from latentzoo.guides.arcface import crop
from latentzoo.guides.landmarks import FACE, align, similarity, template


def turned(points: Tensor, angle: float, scale: float, x: float, y: float) -> Tensor:
    c, s = math.cos(angle) * scale, math.sin(angle) * scale
    return points.double() @ torch.tensor([[c, s], [-s, c]]).double() + torch.tensor([x, y])


def test_a_similarity_is_recovered() -> None:
    points = torch.tensor(FACE)
    matrix = similarity(points, turned(points, 0.7, 2.5, 9, -4))
    c, s = 2.5 * math.cos(0.7), 2.5 * math.sin(0.7)
    expected = torch.tensor([[c, -s, 9], [s, c, -4]]).double()
    torch.testing.assert_close(matrix, expected, rtol=1e-6, atol=1e-5)


def test_no_other_similarity_is_nearer() -> None:
    stream = torch.Generator().manual_seed(0)
    x, y = (torch.randn(5, 2, generator=stream).double() for _ in range(2))
    error = lambda m: (x @ m[:, :2].T + m[:, 2] - y).square().sum()
    best = similarity(x, y)
    for _ in range(50):
        a, b, u, v = 1e-3 * torch.randn(4, generator=stream).double()
        nearby = best + torch.stack([torch.stack([a, -b, u]), torch.stack([b, a, v])])
        assert error(nearby) >= error(best)
    mirrored = similarity(x, x * torch.tensor([-1.0, 1.0]))
    assert torch.linalg.det(mirrored[:, :2]) >= 0, "a face is never mirrored"


@pytest.mark.parametrize("scale", [0.6, 3.0])
def test_landmarks_land_where_the_network_expects_them(scale: float) -> None:
    points = turned(torch.tensor(FACE) - 56, 0.5, scale, 300, 280)
    at = torch.arange(600).double()
    places = torch.stack(torch.meshgrid(at, at, indexing="xy"), 2)
    width = 4 * scale
    for k, point in enumerate(points):
        blob = torch.exp(-(places - point).square().sum(2) / (2 * width**2)).float()
        face = crop(align(blob.expand(1, 3, -1, -1) + 0.0, points))[0, 0].double()
        inside = face.clamp(min=0.05) - 0.05
        grid = torch.stack(torch.meshgrid(*[torch.arange(112).double()] * 2, indexing="xy"), 2)
        seen = (inside[..., None] * grid).sum((0, 1)) / inside.sum()
        assert (seen - torch.tensor(FACE[k])).abs().max() < 0.6
    assert template().shape == (5, 2)


def test_references_with_landmarks(tmp_path: Path) -> None:
    model = str(guides.ir_se50(tmp_path / "model_ir_se50.pth"))
    stream = torch.Generator().manual_seed(0)
    rough = torch.rand(1, 3, 24, 24, generator=stream)
    face = torch.nn.functional.interpolate(rough, (256, 256), mode="bicubic").clamp(0, 1)
    large = torch.nn.functional.interpolate(face, (512, 512), mode="bilinear")
    upright = template().tolist()
    for name, image in (("a", face), ("b", large.rot90(1, (2, 3)))):
        picture.write(tmp_path / f"{name}.png", picture.to_uint8(image)[0])
    side = [[(y + 0.5) * 2 - 0.5, 511 - ((x + 0.5) * 2 - 0.5)] for x, y in upright]
    near = energies.load("identity", str(tmp_path / "a.png"), model=model, landmarks=upright)
    also = energies.load("identity", str(tmp_path / "b.png"), model=model, landmarks=side)
    torch.testing.assert_close(near(face), also(face), rtol=0, atol=2e-3)
    assert near(face).item() < 1e-3
    with pytest.raises(SpecError, match="ten for each"):
        energies.load("identity", str(tmp_path / "a.png"), model=model, landmarks=[1, 2])
    with pytest.raises(ImageError, match="all one point"):
        align(face, torch.zeros(5, 2))
