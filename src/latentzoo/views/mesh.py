r"""Meshes: the surface of a found scene, by marching cubes.

The field :math:`f` that is positive inside is read on a regular grid and its zero set is
triangulated; a layer of outside around the grid closes the surface where the subject is cut off.

References:
    | Marching Cubes: A High Resolution 3D Surface Construction Algorithm
    | (Lorensen and Cline, 1987)
    | https://doi.org/10.1145/37402.37422
    |
    | Efficient Implementation of Marching Cubes' Cases with Topological Guarantees
    | (Lewiner et al., 2003)
    | https://doi.org/10.1080/10867651.2003.10487582
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import MissingExtra, SpecError
from latentzoo.files import write_bytes
from latentzoo.views.camera import Solid, Viewable

APART = 1e-4
"""How far from 0 a value of a field is kept, as a share of its largest: a value less is one outside."""


@dataclass(frozen=True)
class Mesh:
    """Creates a triangle mesh.

    Arguments:
        vertices: Points of the world, with shape (V, 3).
        faces: The three vertices of each triangle, anti-clockwise from outside, with shape (F, 3).
    """

    vertices: np.ndarray
    faces: np.ndarray

    @property
    def closed(self) -> bool:
        """Whether every edge belongs to two triangles that run through it in opposite ways."""
        edges = self.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
        there, times = np.unique(edges, axis=0, return_counts=True)
        back = np.unique(edges[:, ::-1], axis=0)
        return bool((times == 1).all() and np.array_equal(there, back))

    @property
    def volume(self) -> float:
        """The volume inside a closed mesh; positive where the triangles face outwards."""
        a, b, c = self.vertices[self.faces].astype(np.float64).transpose(1, 0, 2)
        return float((a * np.cross(b, c)).sum() / 6)

    def write(self, path: Path) -> None:
        """Writes the mesh as a binary .ply file."""
        header = (
            "ply\nformat binary_little_endian 1.0\n"
            f"element vertex {len(self.vertices)}\n"
            "property float x\nproperty float y\nproperty float z\n"
            f"element face {len(self.faces)}\n"
            "property list uchar int vertex_indices\nend_header\n"
        )
        faces = np.empty(len(self.faces), dtype=[("count", "u1"), ("vertices", "<i4", 3)])
        faces["count"], faces["vertices"] = 3, self.faces
        vertices = self.vertices.astype("<f4")
        write_bytes(path, header.encode() + vertices.tobytes() + faces.tobytes())


def require() -> Any:
    """The module of marching cubes.

    Raises:
        MissingExtra: If scikit-image is not installed.
    """
    try:
        from skimage import measure
    except ImportError:
        raise MissingExtra("skimage", "mesh", "a mesh") from None
    return measure


def marching_cubes(field: np.ndarray, extent: float) -> Mesh:
    """Triangulates the zero set of a field.

    Arguments:
        field: Values on a grid of shape (n, n, n), in x, y, z from -extent to extent; positive
            inside.
        extent: Half the side of the grid.

    Raises:
        MissingExtra: If scikit-image is not installed.
        SpecError: If the field is nowhere positive, or somewhere NaN or infinite.
    """
    measure = require()
    if not np.isfinite(field).all():
        raise SpecError(
            "the scene has no surface: its field is somewhere NaN or infinite; try another chain"
        )
    if not (field > 0).any():
        raise SpecError(
            "the scene has no surface: its field is nowhere positive; try another chain"
        )
    largest = np.abs(field).max()
    # Where a value is 0, the corners of several triangles are one point, and what merges them tears the surface.
    off = np.where(np.abs(field) < APART * largest, -APART * largest, field)
    padded = np.pad(off, 1, constant_values=-largest)
    vertices, faces, _, _ = measure.marching_cubes(padded, level=0.0, gradient_direction="ascent")
    step = 2 * extent / (len(field) - 1)
    return Mesh((vertices - 1) * step - extent, faces)


@torch.no_grad()
def extract(
    generator: Viewable, z: Float[Tensor, "B D"], *, resolution: int = 128, chunk: int = 2**17
) -> Mesh:
    """Finds the surface of the scene of one latent.

    Arguments:
        generator: A generator that is also `Solid`.
        z: One latent, with shape (1, D).
        resolution: The number of grid points along each side.
        chunk: How many points are evaluated at once.

    Raises:
        SpecError: If the generator's scenes have no surface, or there is not exactly one latent.
    """
    if not isinstance(generator, Solid):
        raise SpecError(
            f"{type(generator).__name__} has no surface to export; use EG3D, StyleSDF or avatar-3d"
        )
    if len(z) != 1:
        raise SpecError(f"a mesh shows one latent, {len(z)} were given; choose one, z[3:4]")
    scene = generator.scene(generator.space.split(z))
    x = torch.linspace(
        -generator.extent, generator.extent, resolution, device=z.device, dtype=z.dtype
    )
    points = torch.cartesian_prod(x, x, x)[None]
    field = torch.cat(
        [generator.solidity(scene, part) for part in points.split(chunk, dim=1)], dim=1
    )
    return marching_cubes(field.reshape(3 * (resolution,)).float().cpu().numpy(), generator.extent)
