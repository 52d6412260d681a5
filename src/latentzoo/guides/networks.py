"""What is known of the networks that judge pictures, before they are there."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec
import yaml


@dataclass(frozen=True)
class Network:
    """The description of a network, an entry of networks.yaml.

    Attributes:
        energy: The kind of energy that it is for.
        side: The side in pixels of the pictures it sees.
        parameters: How many numbers it has.
        gflop: The cost of one picture's forward pass; with the gradient, three times that.
        licence: The licence of the weights.
        address: Where they are.
    """

    energy: str
    side: int
    parameters: int | None
    gflop: float | None
    licence: str
    address: str

    def __str__(self) -> str:
        size = "" if self.parameters is None else f", {self.parameters / 1e6:.1f} M parameters"
        cost = "" if self.gflop is None else f", {self.gflop:g} GFLOP a picture"
        return (
            f"{self.side}x{self.side} pixels{size}{cost}; licence: {self.licence}; {self.address}"
        )


@cache
def known() -> dict[str, Network]:
    """The networks by the name that an energy's `model` takes."""
    text = (Path(__file__).parent / "networks.yaml").read_text(encoding="utf-8")
    return msgspec.convert(yaml.safe_load(text), dict[str, Network])
