r"""The latent space: one flat isotropic Gaussian vector and its named blocks.

Every generator reads its randomness from

.. math:: z = (z_1, \dots, z_K) \sim \mathcal{N}(0, I_D), \qquad D = \sum_k \prod_i n_{k,i}

where the blocks have names and shapes: `style` (512,), `start` (3, 64, 64), `noise` (49, 3, 64,
64). Kernels see the flat vector, people see the blocks.
"""

from collections.abc import Iterator
from math import prod

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from latentzoo.errors import SpecError, UnknownName


class Space:
    """Creates a latent space from named blocks, in the order they are given.

    Arguments:
        blocks: The shape of each block, without the batch dimension.

    Example:
        >>> space = Space(start=(3, 8, 8), noise=(2, 3, 8, 8))
        >>> space.dim
        576
    """

    def __init__(self, **blocks: tuple[int, ...]) -> None:
        if not blocks:
            raise SpecError("a Space has no blocks; name at least one, e.g. Space(style=(512,))")
        self.blocks = {name: tuple(shape) for name, shape in blocks.items()}
        self.sizes = {name: prod(shape) for name, shape in self.blocks.items()}
        self.dim = sum(self.sizes.values())

    def split(self, z: Float[Tensor, "B D"]) -> dict[str, Tensor]:
        """Views the flat vector as its blocks; nothing is copied.

        Arguments:
            z: The latent, with shape (B, dim).

        Returns:
            Each block with shape (B, *shape), in the order of the blocks.

        Raises:
            SpecError: If `z` is no tensor of real numbers, or has another number of coordinates.
        """
        if not (isinstance(z, Tensor) and z.is_floating_point()):
            kind = z.dtype if isinstance(z, Tensor) else type(z).__name__
            raise SpecError(
                f"a latent is a tensor of real numbers, and this is {kind}; give z.float()"
            )
        if z.ndim != 2 or z.shape[1] != self.dim:
            raise SpecError(
                f"a latent of shape {tuple(z.shape)} does not fit {self!r}; give (B, {self.dim})"
            )
        parts = z.split(list(self.sizes.values()), dim=1)
        return {
            name: part.unflatten(1, shape) if len(shape) > 1 else part
            for (name, shape), part in zip(self.blocks.items(), parts, strict=True)
        }

    def join(self, **blocks: Tensor) -> Float[Tensor, "B D"]:
        """Flattens blocks of shape (B, *shape) into the latent (B, dim): the inverse of `split`.

        Raises:
            UnknownName: If a block does not exist.
            SpecError: If a block is missing or has another shape.
        """
        for name in blocks:
            if name not in self.blocks:
                raise UnknownName("latent block", name, self.blocks)
        for name, shape in self.blocks.items():
            if name not in blocks:
                raise SpecError(
                    f"the latent block '{name}' is missing; {self!r} needs all of its blocks"
                )
            if tuple(blocks[name].shape[1:]) != shape:
                given = tuple(blocks[name].shape)
                raise SpecError(
                    f"the latent block '{name}' has shape {given}; give (B, {str(shape)[1:]}"
                )
        return torch.cat([blocks[name].flatten(1) for name in self.blocks], dim=1)

    def mask(self, *names: str) -> Bool[Tensor, "D"]:
        """Marks the coordinates of the named blocks.

        Raises:
            UnknownName: If a block does not exist.
        """
        for name in names:
            if name not in self.blocks:
                raise UnknownName("latent block", name, self.blocks)
        return torch.cat([torch.full((n,), name in names) for name, n in self.sizes.items()])

    def subspace(self, *names: str) -> "Space":
        """Keeps the named blocks only, in the order of this space."""
        self.mask(*names)
        return Space(**{name: shape for name, shape in self.blocks.items() if name in names})

    def __iter__(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        return iter(self.blocks.items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Space({', '.join(f'{name}={shape}' for name, shape in self)})"

    def __str__(self) -> str:
        """The blocks in words, "start 3x64x64, noise 49x3x64x64"; the middle of many is left out."""
        words = [f"{name} {'x'.join(map(str, shape))}" for name, shape in self]
        if len(words) > 4:
            return f"{words[0]}, ..., {words[-1]} ({len(words)} blocks)"
        return ", ".join(words)
