"""Devices and number types by name: those that there are, and one line for the others."""

from typing import Any

import pytest
import torch

import latentzoo as lz
from latentzoo.errors import SpecError


@pytest.mark.parametrize("dtype", ["float64", torch.float64])
def test_a_number_type_is_given_by_name_too(dtype: Any) -> None:
    generator = lz.load("avatar-vae", dtype=dtype, device="auto")
    assert generator.place[1] == torch.float64


BAD: dict[str, dict[str, Any]] = {
    "the dtype 'int8' is unknown; give one of float32": {"dtype": "int8"},
    "the dtype 'uint8' is unknown": {"dtype": torch.uint8},
    "the dtype '3' is unknown": {"dtype": 3},
    "the device 'foo' cannot be used": {"device": "foo"},
    "the device 'cuda:99' cannot be used .*; give cpu, or auto": {"device": "cuda:99"},
    "the device 'None' cannot be used": {"device": None},
}


@pytest.mark.parametrize("fact", BAD)
def test_what_there_is_not_is_refused_in_one_line_before_anything_is_read(fact: str) -> None:
    for what in ("avatar-vae", "/nowhere/model.pt"):
        with pytest.raises(SpecError, match=fact) as caught:
            lz.load(what, **BAD[fact])
        assert "\n" not in str(caught.value)
