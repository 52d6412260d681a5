"""What a step costs: a whole kernel step against the bare forward and backward pass of generator and energy.

    python benchmarks/step.py [GENERATOR] [TEXT]

Prints, for 1, 4 and 16 chains, the seconds per step and per chain and the ratio of the step to the
bare pass on the same batch (the two are timed in turns, since these machines are shared; the ratio
is that of the medians), then the peak memory of a process that takes gradients through T = 5 and T
= 50 steps of the diffusion model.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

import latentzoo as lz
from latentzoo import energies, zoo
from latentzoo.kernels.types import Point
from resident import held

TEXT = "a person with sunglasses and a yellow hat"
REPEATS = 15


def timed(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def compare(name: str, text: str) -> None:
    generator, energy = zoo.load(name), energies.load("clip", text, model="avatar-clip")
    target, kernel = lz.Posterior(generator, {"text": 500 * energy}), lz.ULA(0.01)
    print(f"{name}, {torch.get_num_threads()} threads\n chains  s/step  s/step/chain  step/bare")
    for chains in (1, 4, 16):
        rng = lz.Rng(*range(chains))
        z = rng.normal(generator.space.dim)
        state = kernel.init(target, z, rng)

        def bare(z: torch.Tensor = z) -> None:
            z = z.detach().requires_grad_()
            torch.autograd.grad((500 * energy(generator(z))).sum(), z)

        def step(state: Point = state, rng: lz.Rng = rng) -> None:
            kernel.step(target, state, rng)

        bare()
        pairs = [(timed(step), timed(bare)) for _ in range(REPEATS)]
        whole, alone = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(f"{chains:7d} {whole:7.3f} {whole / chains:13.4f} {whole / alone:10.3f}")


def peak(steps: int) -> None:
    """Takes one gradient through `steps` steps and prints the peak memory of this process in MB."""
    generator = zoo.load("avatar-ldm", steps=steps, recompute=True)
    before = held()
    z = lz.Rng(*range(4)).normal(generator.space.dim).requires_grad_()
    torch.autograd.grad(generator(z).sum(), z)
    after = held()
    print(f"{after:.1f} {after - before:.1f}")


def memory() -> None:
    print("avatar-ldm, gradient of 4 chains\n      T  process MB  of which the gradient MB")
    found = {}
    for steps in (5, 50):
        command = [sys.executable, __file__, "--peak", str(steps)]
        whole, gradient = map(float, subprocess.check_output(command, text=True).split())
        found[steps] = whole, gradient
        print(f"{steps:7d} {whole:11.0f} {gradient:24.1f}")
    print(
        f"ratio T=50 to T=5: process {found[50][0] / found[5][0]:.2f}, gradient {found[50][1] / found[5][1]:.2f}"
    )


if __name__ == "__main__":
    if "--peak" in sys.argv:
        peak(int(sys.argv[2]))
    else:
        compare(
            sys.argv[1] if len(sys.argv) > 1 else "avatar-ldm",
            sys.argv[2] if len(sys.argv) > 2 else TEXT,
        )
        memory()
