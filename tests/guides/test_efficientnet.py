"""EfficientNet-Lite0: a made file, its labels, and the energy."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from latentzoo import energies
from latentzoo.errors import CheckpointError, MissingExtra, UnknownName
from latentzoo.guides import efficientnet
from latentzoo.guides.efficientnet import EfficientNetLite
from latentzoo.hub import client

LABELS = ["espresso" if k == 967 else f"thing {k}, kind {k}" for k in range(1000)]


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file of random weights in the place of the package's, and timm's labels."""
    torch.manual_seed(0)
    network = EfficientNetLite()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    path = tmp_path / "lite0.pth"
    torch.save(network.state_dict(), path)
    monkeypatch.setattr(client, "fetch", lambda of, progress=None: path)
    info = lambda subset: SimpleNamespace(label_descriptions=lambda: LABELS)
    timm = SimpleNamespace(data=SimpleNamespace(ImageNetInfo=info))
    monkeypatch.setattr(efficientnet, "package", lambda *words: timm)
    return path


def test_its_label_guides(file):
    energy = energies.load("attribute", "espresso", model="efficientnet-lite0")
    image = torch.rand(2, 3, 64, 80, requires_grad=True)
    value = energy(image)
    logits = energy.network(image)
    torch.testing.assert_close(value, -logits.log_softmax(1)[:, 967], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(energy(image[1:]), value[1:], rtol=1e-3, atol=1e-4)
    (slope,) = torch.autograd.grad(value.sum(), image)
    assert slope.isfinite().all() and slope.abs().sum() > 0
    with pytest.raises(UnknownName, match="did you mean 'espresso'"):
        energies.load("attribute", "esspresso", model="efficientnet-lite0")


def test_another_networks_file_is_refused(file):
    state: dict[str, Any] = torch.load(file, weights_only=True)
    torch.save({k: v for k, v in state.items() if k != "_fc.bias"}, file)
    with pytest.raises(CheckpointError, match=r"_fc\.bias"):
        energies.load("attribute", "espresso", model="efficientnet-lite0")


def test_the_labels_need_timm(monkeypatch, tmp_path):
    monkeypatch.setattr(client, "fetch", lambda of, progress=None: tmp_path)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtra, match=r"latentzoo\[timm\]"):
        energies.load("attribute", "espresso", model="efficientnet-lite0")
