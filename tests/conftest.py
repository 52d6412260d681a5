"""Fixtures that many tests share; their classes are in `toys.py`."""

import pytest
import torch

from toys import Affine, Bright

torch.set_num_threads(1)


@pytest.fixture
def affine() -> Affine:
    return Affine()


@pytest.fixture
def bright() -> Bright:
    return Bright()
