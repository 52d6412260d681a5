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


def pytest_configure(config):
    """Most tests load files that do not say all; zoo/test_assumed.py is about what is said of it."""
    config.addinivalue_line("filterwarnings", "ignore::latentzoo.errors.Assumption")
