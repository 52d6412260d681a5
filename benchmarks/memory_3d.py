"""What the gradient through a rendering costs: peak memory of full-size EG3D against the rays rendered at once.

    python benchmarks/memory_3d.py            the table of the rendering alone, forward and backward
    python benchmarks/memory_3d.py --step     one guided step of the whole 512 px generator as well

The companion of `memory.py`, which does the same for the steps of a diffusion chain (and calls this one, `memory.py
--rays`). Every case runs in a process of its own, whose largest resident set is compared with that before the work
began; its allocator gives large blocks back at once, so that what is resident is what is used. The weights are random:
memory and time do not depend on them. The last lines say what is promised: with a chunk, 128 x 128 rays, the most that
EG3D is published with, take at most 1.3 times the memory of 64 x 64.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from latentzoo.hub.fit import uninitialised
from latentzoo.rng import Rng
from latentzoo.zoo import eg3d
from latentzoo.zoo.eg3d import EG3D
from resident import held

SIDES, CHUNKS = (64, 128, 256), (None, 4096, 1024)
LARGEST = 128
"""The largest side that is rendered at once: at 256 that takes more than 24 GB."""
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}


def peak() -> float:
    """The largest resident set of this process so far, in GB."""
    return held() / 1024


def generator(side: int, chunk: int | None) -> EG3D:
    """Full-size EG3D, randomly filled."""
    torch.manual_seed(0)
    with uninitialised():
        network = eg3d.build(resolution=side, chunk=chunk)
    for parameter in network.parameters():
        parameter.data.normal_()
    return network.requires_grad_(False)


def rendering(network: EG3D) -> Callable[[], None]:
    """The rendering of given planes, and the gradient with respect to them."""
    planes = torch.randn(1, 3, 32, 256, 256, requires_grad=True)
    c = eg3d.label(network.camera, planes)

    def work() -> None:
        rays = eg3d.view(c, network.resolution)
        seen = network.network.render(planes, *rays, chunk=network.chunk)
        torch.autograd.grad(seen.feature.square().sum(), planes)

    return work


def step(network: EG3D) -> Callable[[], None]:
    """One guided step: the image of a latent, a quadratic energy, its gradient."""
    z = Rng(0).normal(network.space.dim).requires_grad_()

    def work() -> None:
        torch.autograd.grad((network(z) - 1).square().sum(), z)

    return work


def measure(kind: str, side: int, chunk: int | None) -> None:
    """Prints the peak of this process beyond what it held before, its whole peak, both in GB, and the seconds."""
    torch.set_num_threads(1)
    work = {"render": rendering, "step": step}[kind](generator(side, chunk))
    before, start = peak(), time.process_time()
    work()
    print(peak() - before, peak(), time.process_time() - start)


def spawn(kind: str, side: int, chunk: int | None) -> float:
    """Measures in a process of its own, prints the row of the table, and returns the peak in GB."""
    case = [sys.executable, __file__, "--case", kind, str(side), str(chunk or 0)]
    environment = {**os.environ, **GIVE_BACK}
    out = subprocess.run(case, check=True, env=environment, capture_output=True, text=True).stdout
    own, whole, seconds = map(float, out.split())
    row = f"{kind:8} {side:6} {chunk or 'all':>6} {own:10.2f} {whole:11.2f} {seconds:8.1f}"
    print(row, flush=True)
    return own


def main() -> None:
    """Runs every case and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--step", action="store_true", help="measure a guided step as well")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        kind, side, chunk = arguments.case
        measure(kind, int(side), int(chunk) or None)
        return
    print("work       side  chunk    peak GB  process GB    cpu s", flush=True)
    peaks = {
        (side, chunk): spawn("render", side, chunk)
        for chunk in CHUNKS
        for side in SIDES
        if chunk is not None or side <= LARGEST
    }
    if arguments.step:
        spawn("step", 128, 4096)
    for chunk in CHUNKS:
        ratio = peaks[128, chunk] / peaks[64, chunk]
        promise = "" if chunk is None else " (promised: at most 1.3)"
        print(f"memory at 128 against 64, {chunk or 'all'} rays at once: {ratio:.2f}{promise}")


if __name__ == "__main__":
    main()
