"""CLIP's residual networks: the numbers of open_clip's, and their sizes read off a file."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentzoo.guides import text_image
from latentzoo.guides.clip import CLIP
from latentzoo.guides.clip_resnet import ResidualVision

THEIRS = [-0.2497009, 0.2672022, 0.3729000, 0.4773697, -0.3694490, -0.7319458]
"""Of `open_clip` 3.3.0, `ModifiedResNet((2, 1, 1, 1), 6, 4, 64, 8)`, with the tensors of `fill`."""


def fill(name: str, value: Tensor) -> Tensor:
    """Random numbers that depend on a tensor's name and size alone."""
    if not value.is_floating_point():
        return value
    stream = np.random.default_rng(sum(map(ord, name)) * 7 + value.numel())
    drawn = torch.from_numpy(stream.standard_normal(value.numel()).astype("float32")).view_as(
        value
    )
    if name.endswith("running_var"):
        return drawn.abs() + 0.5
    gain = ("bn" in name or "downsample.1" in name) and name.endswith("weight")
    return 0.1 * drawn + gain


def test_it_computes_what_open_clip_computes() -> None:
    network = ResidualVision(64, 8, (2, 1, 1, 1), 6).eval()
    network.load_state_dict({k: fill(k, v) for k, v in network.state_dict().items()})
    pixels = torch.linspace(-2, 2, 3 * 64 * 64).sin().view(1, 3, 64, 64)
    torch.testing.assert_close(network(pixels)[0], torch.tensor(THEIRS), rtol=1e-5, atol=1e-6)


def test_its_sizes_are_read_off_the_file(tmp_path: Path) -> None:
    size = {"embed_dim": 6, "context_length": 5, "vocab_size": 9, "transformer_width": 64}
    size |= {"transformer_heads": 1, "transformer_layers": 1}
    network = CLIP(image_resolution=64, vision_layers=(2, 1, 1, 1), vision_width=8, **size)
    state = {name: fill(name, value) for name, value in network.state_dict().items()}
    torch.save(state, tmp_path / "RN.pt")
    model = text_image.load(str(tmp_path / "RN.pt"))
    assert model.network.side == 64
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, state[name]), name
