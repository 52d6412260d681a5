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


def tensors():
    return {f"main.{name}": tensor for name, tensor in plain().state_dict().items()}


def under(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def critic():
    """The tutorial's discriminator, whose names are `main`, too."""
    layers = [nn.Conv2d(3, 4, 4, bias=False), nn.LeakyReLU()]
    layers += [nn.Conv2d(4, 8, 4, bias=False), nn.BatchNorm2d(8), nn.LeakyReLU()]
    return under("main.", nn.Sequential(*layers, nn.Conv2d(8, 1, 4, bias=False)).state_dict())


def raised(state):
    return {n: t + 1 if t.is_floating_point() else t for n, t in state.items()}


def parameters(state):
    return [t for n, t in state.items() if n.rpartition(".")[2] in ("weight", "bias")]


WRAPPED = {
    "bare": lambda s: s,
    "a sequence alone": lambda s: {n.removeprefix("main."): t for n, t in s.items()},
    "of several devices": lambda s: {"netG_state_dict": under("module.", s)},
    "compiled": lambda s: under("_orig_mod.module.", s),
    "averaged": lambda s: under("module.", s) | {"n_averaged": torch.tensor(5)},
    "and optimizer": lambda s: {"model_state_dict": s, "optimizer": {"state": {}, "lr": 0.1}},
    "and critic": lambda s: {"netG": s, "netD": critic()},
    "and critic's states": lambda s: {"netG_state_dict": s, "netD_state_dict": critic()},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_files_as_programs_wrap_them(name, tmp_path):
    state = tensors()
    torch.save(WRAPPED[name](state), tmp_path / "G.pt")
    found = zoo.load(tmp_path / "G.pt")
    assert torch.equal(found.last.weight, state["main.9.weight"])
    assert torch.equal(found.layers[0].mean, state["main.1.running_mean"])


AVERAGES = {
    "a list": lambda s: {"netG_avg": parameters(raised(s))},
    "shadow_params": lambda s: {"ema": {"decay": 0.9, "shadow_params": parameters(raised(s))}},
    "shadow": lambda s: {"ema": {"shadow": raised(s)}},
    "ema_G": lambda s: {"ema_G": raised(s)},
    "netG_ema_state_dict": lambda s: {"netG_ema_state_dict": under("module.", raised(s))},
}


@pytest.mark.parametrize("raw", ["netG_state_dict", "netG"])
@pytest.mark.parametrize("name", AVERAGES)
def test_averaged_weights_beside_them_go_first(name, raw, tmp_path):
    state = tensors()
    torch.save(
        {raw: state, "netD_state_dict": critic()} | AVERAGES[name](state), tmp_path / "G.pt"
    )
    found = zoo.load(tmp_path / "G.pt")
    assert torch.equal(found.last.weight, state["main.9.weight"] + 1)
    assert torch.equal(found.layers[0].weight, state["main.1.weight"] + 1)


def test_a_critic_is_none(tmp_path):
    torch.save(critic(), tmp_path / "D.pt")
    with pytest.raises(CheckpointError, match="of no family"):
        zoo.load(tmp_path / "D.pt")
