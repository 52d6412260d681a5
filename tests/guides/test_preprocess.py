"""The steps of a picture's way into a network: crops of every remainder, types of numbers that stay."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from energies.guides import pictures
from latentzoo.errors import CheckpointError
from latentzoo.guides import compared
from latentzoo.guides.preprocess import Crop, Normalise, Preprocess, Resize, centred, in_type_of


@pytest.mark.parametrize("down", [True, False])
@pytest.mark.parametrize(("given", "wanted"), [(7, 8), (8, 7), (5, 8), (9, 8), (11, 4), (8, 8)])
def test_a_crop_has_the_side_that_was_asked_for(given: int, wanted: int, down: bool) -> None:
    image = torch.ones(1, 3, given, given + 3)
    seen = Crop((wanted, wanted + 1), down=down)(image)
    assert seen.shape == (1, 3, wanted, wanted + 1)
    assert seen.sum() == 3 * min(given, wanted) * min(given + 3, wanted + 1), (
        "all that fits is there"
    )


def test_where_an_odd_remainder_goes() -> None:
    rows = torch.arange(9.0).view(1, 1, 9, 1).expand(1, 3, 9, 4)
    assert Crop((6, 4), down=True)(rows)[0, 0, 0, 0] == 1  # transformers: 3 // 2
    assert Crop((6, 4))(rows)[0, 0, 0, 0] == 2  # torchvision: half to even


@pytest.mark.parametrize(("mode", "name"), [("bilinear", "BILINEAR"), ("bicubic", "BICUBIC")])
def test_a_resize_is_that_of_pillow(mode: str, name: str) -> None:
    for size in ((20, 30), (97, 113), (41, 59)):
        whole = compared.probe(40, 60)
        theirs = np.array(whole.resize(size[::-1], Image.Resampling[name]))
        pixels = torch.from_numpy(np.array(whole)).permute(2, 0, 1)[None].double()
        ours = Resize(size, mode)(pixels)[0].permute(1, 2, 0)
        assert (ours - torch.from_numpy(theirs)).abs().max() < 1.6  # two roundings to bytes


def test_double_precision_stays() -> None:
    way = centred(8, (0.1, 0.2, 0.3), (0.3, 0.2, 0.1))
    image = pictures(20).double()
    exact = (
        Resize(8, "bicubic")(image) - torch.tensor([0.1, 0.2, 0.3]).double().view(3, 1, 1)
    ) / (torch.tensor([3, 2, 1]).double().view(3, 1, 1) / 10)
    assert (way(image) - exact).abs().max() < 1e-6  # the tensors above were single
    mean = torch.tensor([1, 2, 3], dtype=torch.float64).view(3, 1, 1) / 10
    std = torch.tensor([3, 2, 1], dtype=torch.float64).view(3, 1, 1) / 10
    torch.testing.assert_close(
        way(image), (Resize(8, "bicubic")(image) - mean) / std, rtol=0, atol=1e-14
    )


def test_a_picture_takes_the_type_of_the_networks_numbers() -> None:
    image = pictures(8).bfloat16()
    assert in_type_of(image, nn.Linear(2, 2)).dtype == torch.float32
    assert in_type_of(image, nn.Linear(2, 2).double()).dtype == torch.float64
    assert in_type_of(image, nn.Identity()).dtype == torch.bfloat16


def test_what_differs_from_its_library_is_refused() -> None:
    ours = Preprocess(Resize((8, 8)), Normalise((0.5,) * 3, (0.5,) * 3))

    def theirs(picture: Image.Image, flip: bool = False) -> torch.Tensor:
        pixels = np.array(picture.resize((8, 8), Image.Resampling.BILINEAR))[
            :, :, :: -1 if flip else 1
        ]
        return torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1).float()

    compared.agree(ours, theirs, source="x")
    with pytest.raises(CheckpointError, match=r"differ by 0\.\d+ of \[0, 1\]"):
        compared.agree(ours, lambda picture: theirs(picture, flip=True), source="x")
