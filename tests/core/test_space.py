"""The latent space: split and join are inverse views, masks mark blocks, errors name the cure."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentzoo import Space
from latentzoo.errors import SpecError, UnknownName

shapes = st.lists(
    st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple), min_size=1, max_size=4
)


@given(shapes=shapes, batch=st.integers(1, 3))
def test_join_inverts_split(shapes: list[tuple[int, ...]], batch: int) -> None:
    space = Space(**{f"block{i}": shape for i, shape in enumerate(shapes)})
    z = torch.arange(batch * space.dim, dtype=torch.float32).view(batch, -1)
    blocks = space.split(z)
    assert torch.equal(space.join(**blocks), z)
    assert [tuple(block.shape[1:]) for block in blocks.values()] == shapes
    assert sum(space.mask(name).sum() for name in blocks) == space.dim


def test_join_takes_the_blocks_in_any_order() -> None:
    space = Space(start=(2,), noise=(3,))
    start, noise = torch.zeros(1, 2), torch.ones(1, 3)
    assert space.join(noise=noise, start=start).tolist() == [[0, 0, 1, 1, 1]]


def test_split_copies_nothing() -> None:
    space = Space(start=(3, 2, 2), code=(5,))
    z = torch.zeros(2, space.dim)
    space.split(z)["code"][:] = 1
    assert z[:, space.mask("code")].eq(1).all() and z[:, space.mask("start")].eq(0).all()


def test_subspace_keeps_the_order() -> None:
    space = Space(a=(2,), b=(3,), c=(1,))
    assert list(space.subspace("c", "a")) == [("a", (2,)), ("c", (1,))]


def test_errors_name_the_cure() -> None:
    space = Space(style=(4,), noise=(2,))
    with pytest.raises(
        SpecError, match=r"does not fit Space\(style=\(4,\), noise=\(2,\)\); give \(B, 6\)"
    ):
        space.split(torch.zeros(2, 5))
    with pytest.raises(UnknownName, match="did you mean 'style'"):
        space.mask("stlye")
    with pytest.raises(SpecError, match="'noise' is missing"):
        space.join(style=torch.zeros(1, 4))
    with pytest.raises(SpecError, match="'noise' has shape"):
        space.join(style=torch.zeros(1, 4), noise=torch.zeros(1, 3))
    with pytest.raises(SpecError, match="no blocks"):
        Space()
