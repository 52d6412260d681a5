"""A toy family and a cache of one's own, for the tests of the hub."""

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from latentzoo import zoo
from latentzoo.generator import Generator
from latentzoo.hub import offline
from latentzoo.hub.keys import Rule
from latentzoo.space import Space

for folder in ("parity", "zoo"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / folder))


class Toy(Generator):
    """An image of one linear layer and an option."""

    def __init__(self, width: int, gain: float) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 12)
        self.gain = gain
        self.space, self.size = Space(z=(width,)), (2, 2)
        self.register_buffer("constant", torch.ones(3), persistent=False)

    def forward(self, z):
        return self.gain * self.linear(z).view(-1, 3, 2, 2)


def build(*, width: int, gain: float = 1.0) -> Toy:
    return Toy(width, gain)


def infer(checkpoint):
    weight = checkpoint.tensors.get("fc.weight")
    return None if weight is None else {"config": {"width": weight.shape[1]}, "keys": "official"}


RULES = [Rule("fc.{x}", "linear.{x}"), Rule("kernel", None), Rule("latent_avg", None)]


@pytest.fixture
def toy(monkeypatch):
    """The state of the toy by its official names; the family `toy` exists while the test runs."""
    family = ModuleType("toy_family")
    family.build, family.infer, family.KEYS = build, infer, {"official": lambda generator: RULES}
    monkeypatch.setitem(sys.modules, "toy_family", family)
    zoo.names()  # read once, with all families there
    monkeypatch.setattr(zoo.shelf, "families", lambda: {"toy": "toy_family"})
    weights = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=weights)
    return {"fc.weight": normal(12, 4), "fc.bias": normal(12), "kernel": normal(2, 2)}


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("LATENTZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LATENTZOO_OFFLINE", raising=False)
    monkeypatch.setattr(offline, "answers", lambda: True)  # no test asks the hub
    return tmp_path / "cache"
