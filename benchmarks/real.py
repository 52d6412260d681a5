"""What a guided step of a real generator costs: MobileStyleGAN at 1024 pixels, led by face-api's age and expression.

    python benchmarks/real.py [CHAINS]

Prints the processor time of the bare map, of its gradient and of the guided gradient for one latent (medians, taken in
turns), how much memory CHAINS chains (4) take above the weights with one at a time, and, where openvino is installed,
the time of the same forward pass in it.
"""

import resource
import statistics
import sys
import time
from collections.abc import Callable

import torch

import latentzoo as lz
from latentzoo import energies, zoo

NAME, REPEATS = "mobilestylegan-ffhq-1024", 5


def spent(function: Callable[[], object]) -> float:
    began = time.process_time()
    function()
    return time.process_time() - began


def original() -> Callable[[], object] | None:
    """The forward pass in the runtime that the file was made for, one thread; None if it is not installed."""
    try:
        from openvino import Core, properties
    except ImportError:
        return None
    folder = zoo.fetch(NAME)
    core = Core()
    core.set_property("CPU", {properties.inference_num_threads: 1})
    mapping, synthesis = (
        core.compile_model(str(folder / f"{name}.xml"), "CPU")
        for name in ("MappingNetwork", "SynthesisNetwork")
    )
    z = torch.randn(1, 512).numpy()
    return lambda: synthesis([mapping([z])[0]])


def main() -> None:
    torch.set_num_threads(1)
    chains = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    generator = zoo.load(NAME)
    terms = {
        "age": energies.load("age", "70 +- 5", model="face-api"),
        "happy": 5 * energies.load("attribute", "happy", model="face-api"),
    }
    target = lz.Posterior(generator, terms, micro_batch=1)
    z = lz.Rng(*range(chains)).normal(generator.space.dim)

    def bare() -> None:
        with torch.no_grad():
            generator(z[:1])

    def slope() -> None:
        at = z[:1].clone().requires_grad_()
        generator(at).square().mean().backward()

    ways = {
        "map": bare,
        "map and gradient": slope,
        "guided gradient": lambda: target.evaluate(z[:1]),
    }
    if (runtime := original()) is not None:
        ways["map, openvino"] = runtime
    for way in ways.values():
        way()
    times = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, way in ways.items():
            times[name].append(spent(way))
    print(
        f"{NAME}, 1 thread, {torch.backends.cpu.get_cpu_capability()}: processor seconds, median of {REPEATS}"
    )
    for name, values in times.items():
        print(f"{name:20} {statistics.median(values):6.2f}")
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    target.evaluate(z)
    weights = sum(t.nbytes for t in (*generator.parameters(), *generator.buffers())) / 2**30
    print(
        f"{chains} chains, one at a time: {peak():.2f} GiB at most in all, weights {weights:.2f} GiB"
    )


if __name__ == "__main__":
    main()
