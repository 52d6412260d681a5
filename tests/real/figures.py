"""The cards of this folder: what the original runtimes gave."""

import json
from pathlib import Path

import torch

CARDS = Path(__file__).parent / "cards"


def card(name):
    """A card, and its numbers as tensors by name."""
    found = json.loads((CARDS / f"{name}.json").read_text())
    return found, {
        k: torch.tensor(v["values"]).view(v["shape"]) for k, v in found["numbers"].items()
    }
