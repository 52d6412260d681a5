"""DCGAN: the laws, and the file against the plain modules of PyTorch."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from latentzoo import zoo
from latentzoo.errors import CheckpointError
from latentzoo.zoo import dcgan
from laws import obey, randomise

WIDTHS = [5, 8, 6, 4]


def plain():
    """The network as a tutorial writes it, with moments of its own."""
    torch.manual_seed(0)
    layers = []
    for k, (i, o) in enumerate(pairwise(WIDTHS)):
        layers += [nn.ConvTranspose2d(i, o, 4, *((1, 0) if k == 0 else (2, 1)), bias=False)]
        layers += [nn.BatchNorm2d(o), nn.ReLU()]
    layers += [nn.ConvTranspose2d(WIDTHS[-1], 3, 4, 2, 1, bias=False), nn.Tanh()]
    network = nn.Sequential(*layers)
    network(torch.randn(16, 5, 1, 1))
    return network.eval().requires_grad_(False)


def save(path, network):
    state = {f"main.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"netG_state_dict": state, "epoch": 3, "G_losses": [1.0, 2.0]}, path)
    return path


def test_laws():
    torch.manual_seed(0)
    generator = dcgan.build(WIDTHS)
    randomise(generator)
    assert generator.size == (32, 32)
    obey(generator)


def test_a_file_of_any_name_is_the_map(tmp_path):
    network = plain()
    generator = zoo.load(save(tmp_path / "weights.tar", network))
    z = torch.randn(3, 5)
    torch.testing.assert_close(generator(z), (network(z[:, :, None, None]) + 1) / 2)
    zoo.convert(tmp_path / "weights.tar", tmp_path / "safe.safetensors")
    assert torch.equal(zoo.load(tmp_path / "safe.safetensors")(z), generator(z))


def test_a_file_that_lacks_a_layer_is_refused(tmp_path):
    network = plain()
    state = {f"main.{k}": v for k, v in network.state_dict().items() if not k.startswith("1.")}
    torch.save({"netG_state_dict": state}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="lacks 4 tensors"):
        zoo.load(tmp_path / "a.pt")
