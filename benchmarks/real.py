"""What a guided step of MobileStyleGAN at 1024 pixels costs beside the plainest code that does the same.

    python benchmarks/real.py [--turns=5]

Both sides have the same weights and the same guides (age and expression), one thread, and work in turns; their
processor seconds are compared turn by turn. The plain side is the graph as its file has it: channels first, a pass over
the picture for each style, noise and bias, the wavelets by a transposed convolution. Where `openvino` is installed, our
forward pass is compared with it. The last line is the memory of four chains, one at a time, in a process of its own.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import latentzoo as lz
from latentzoo import energies, zoo
from latentzoo.zoo import mobilestylegan as family
from resident import held

NAME = "mobilestylegan-ffhq-1024"
GOAL = {"attribute": ("happy", 5.0), "age": ("70 +- 5", 1.0)}


class Plain(nn.Module):
    """Creates the synthesis written as its graph is: channels first, one operation after the other."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, w: Tensor) -> Tensor:
        net: Any = self.network
        x = net.const.permute(2, 0, 1).expand(len(w), -1, -1, -1)
        x = x * (family.gain(net.conv.weight) * net.conv.affine(w))[:, :, None, None]
        x = F.conv2d(x, net.conv.weight, padding=1) + net.conv.noise
        x = F.leaky_relu(x + net.conv.bias[:, None, None], family.SLOPE)
        for level in net.levels:
            x = wavelets(x * level.affine(w)[:, :, None, None], level.haar)
            x = separable(separable(x, w, level.conv1), w, level.conv2)
        last = net.to_rgb
        x = x * (last.affine(w) / x.shape[1] ** 0.5)[:, :, None, None]
        x = F.conv2d(x, last.weight[:, :, None, None]) + last.bias[:, None, None]
        return wavelets(x, last.haar)


def separable(x: Tensor, w: Tensor, layer: Any) -> Tensor:
    scale = family.gain(layer.depthwise) / x.shape[1] ** 0.5 * layer.affine(w)
    x = F.conv2d(x, layer.depthwise, padding=1, groups=x.shape[1]) * scale[:, :, None, None]
    x = F.conv2d(x, layer.pointwise[:, :, None, None]) + layer.noise
    return F.leaky_relu(x + layer.bias[:, None, None], family.SLOPE)


def wavelets(x: Tensor, haar: Tensor) -> Tensor:
    """The inverse transform as a transposed convolution of 2 x 2."""
    return F.conv_transpose2d(x, haar.view(len(haar), 2, 2, -1).permute(0, 3, 1, 2), stride=2)


class PlainFaces(lz.Generator):
    """Creates the map whose synthesis is plain."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network, self.plain = network, Plain(network)
        self.space, self.size = network.space, network.size

    def forward(self, z: Tensor) -> Tensor:
        network: Any = self.network
        w, mean = network.mapping(z), network.w_mean
        centre = mean(network.mapping, like=network.const)
        return (self.plain(centre + network.truncation * (w - centre)) + 1) / 2


def target(generator: lz.Generator) -> lz.Posterior:
    rated = {
        kind: weight * energies.load(kind, words, model="face-api")
        for kind, (words, weight) in GOAL.items()
    }
    return lz.Posterior(generator.requires_grad_(False), rated, micro_batch=1)


def seconds(function: Callable[[], object]) -> float:
    began = time.process_time()
    function()
    return time.process_time() - began


def compare(
    name: str, ours: Callable[[], object], theirs: Callable[[], object], turns: int
) -> None:
    for warm in (ours, theirs):
        warm()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(turns)]
    ratios = sorted(a / b for a, b in pairs)
    a, b = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(
        f"{name:34} {a:6.2f} s {b:6.2f} s   ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


def original(openvino: ModuleType) -> Callable[[Tensor], object]:
    """The forward pass of the synthesis in its own runtime, one thread."""
    core, folder = openvino.Core(), zoo.fetch(NAME)
    core.set_property("CPU", {openvino.properties.inference_num_threads: 1})
    model = core.compile_model(str(folder / "SynthesisNetwork.xml"), "CPU")
    return lambda w: model([w.numpy()])[0]


def memory() -> None:
    """Takes a step of four chains, one at a time, and prints what it took above the weights in MB."""
    generator = zoo.load(NAME)
    phi, z = target(generator), torch.randn(4, 512)
    before = held()
    phi.evaluate(z)
    print(f"{'four chains, --micro-batch 1':34} {held() - before:6.0f} MB above the weights")


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("--turns", type=int, default=5)
    words.add_argument("--memory", action="store_true")
    given = words.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if given.memory:
        return memory()
    ours: Any = zoo.load(NAME)
    plain, z = PlainFaces(ours), torch.randn(1, 512)
    with torch.no_grad():
        w = ours.mapping(z)
        torch.testing.assert_close(ours(z), plain(z), atol=1e-3, rtol=0)
    print(f"{'':34} {'ours':>8} {'other':>8}")
    a, b = target(ours), target(plain)
    compare(
        "guided step, beside the graph", lambda: a.evaluate(z), lambda: b.evaluate(z), given.turns
    )
    try:
        import openvino  # pyright: ignore[reportMissingImports]
    except ImportError:
        print("forward, beside openvino           (openvino is not installed)")
    else:
        run = original(openvino)
        with torch.no_grad():
            compare(
                "forward, beside openvino", lambda: ours.synthesis(w), lambda: run(w), given.turns
            )
    sys.stdout.flush()
    subprocess.run([sys.executable, __file__, "--memory"], check=True)


if __name__ == "__main__":
    main()
