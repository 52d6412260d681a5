"""Peak memory of full-size EG3D against the number of rays that are rendered at once.

    python benchmarks/memory_3d.py            the table of the rendering alone, forward and backward
    python benchmarks/memory_3d.py --step     one guided step of the whole 512 px generator as well

Every case runs in a process of its own, whose largest resident set is compared with that before the work began; its
allocator gives large blocks back at once, so that what is resident is what is used. The weights are random: memory and
time do not depend on them.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from latentzoo.hub.fit import uninitialised
from latentzoo.rng import Rng
from latentzoo.zoo import eg3d
from latentzoo.zoo.eg3d import EG3D

SIDES, CHUNKS = (64, 128), (None, 4096, 1024)
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}


def peak() -> float:
    """The largest resident set of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


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
    return lambda: torch.autograd.grad((network(z) - 1).square().sum(), z) and None


def measure(kind: str, side: int, chunk: int | None) -> str:
    """One line of the table."""
    work = {"render": rendering, "step": step}[kind](generator(side, chunk))
    before, start = peak(), time.process_time()
    work()
    seconds = time.process_time() - start
    return f"{kind:8} {side:6} {chunk or 'all':>6} {peak() - before:10.2f} {peak():10.2f} {seconds:8.1f}"


def main() -> None:
    """Runs every case in a process of its own and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--step", action="store_true", help="measure a guided step as well")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        kind, side, chunk = arguments.case
        print(measure(kind, int(side), int(chunk) or None))
        return
    header = f"{'work':8} {'side':>6} {'chunk':>6} {'peak GB':>10} {'process GB':>10} {'cpu s':>8}"
    print(header, flush=True)
    cases = [("render", side, chunk) for chunk in CHUNKS for side in SIDES]
    if arguments.step:
        cases.append(("step", 128, 4096))
    for kind, side, chunk in cases:
        case = [sys.executable, __file__, "--case", kind, str(side), str(chunk or 0)]
        subprocess.run(case, check=True, env={**os.environ, **GIVE_BACK})


if __name__ == "__main__":
    main()
