"""A guided step on one GPU: its time, its memory, what it adds to the networks, and where it waits.

    python benchmarks/gpu.py [--device cuda] [--chains 1 8 32] [--turns 10]
    python benchmarks/gpu.py --device cpu --tiny        the same of small networks, to see that it runs

Networks have random weights: StyleGAN2 at 1024 px, and one step of a latent diffusion as wide as Stable Diffusion's
(64 x 64 x 4). For float32 and bfloat16 and each number of chains: milliseconds of a step of `anneal` with its loop
and trace, and of phi with its gradient alone, taken in turns; the peak of memory above the weights; how often a step
waits for the device; and by how much a picture differs where it is alone in its batch. No such device was at hand
where this was written: none of its figures is in the docs.
"""

import argparse
import itertools
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch

import latentzoo as lz
from latentzoo import kernels
from latentzoo.run.walk import Walk


def gan(*, tiny: bool) -> lz.Generator:
    from latentzoo.zoo import stylegan2

    widths = [512, 512, 512, 512, 512, 256, 128, 64, 32]
    return stylegan2.build(widths=[8, 8, 8] if tiny else widths)


def diffusion(*, tiny: bool) -> lz.Generator:
    from latentzoo.zoo import ldm

    unet: dict[str, Any] = {"width": 32 if tiny else 320, "mult": [1, 2] if tiny else [1, 2, 4, 4]}
    unet |= {"depth": 1 if tiny else 2, "attention": [2] if tiny else [4, 2, 1]}
    unet |= {"heads": None, "head_width": 16 if tiny else 64, "modulate": False, "resample": False}
    stage: dict[str, Any] = {"channels": 3, "latent": 4, "width": 32 if tiny else 128}
    stage |= {"mult": [1, 2] if tiny else [1, 2, 4, 4], "depth": 1, "attention": [], "codebook": 4}
    return ldm.build(unet=unet, first_stage=stage, size=8 if tiny else 64, steps=1)


def waiting(device: torch.device, f: Callable[[], object]) -> int | None:
    """How often a call waits for the device; None where there is nothing to wait for."""
    if device.type != "cuda":
        return None
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            f()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in caught)


def timed(device: torch.device, f: Callable[[], object]) -> float:
    began = time.perf_counter()
    f()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def row(generator: lz.Generator, chains: int, options: argparse.Namespace) -> str:
    device = torch.device(options.device)
    phi = lz.Posterior(generator, lambda image: image.float().square().mean((1, 2, 3)))
    walk = Walk(phi, kernels.load("anneal"), lz.Rng(*range(chains), device=device), steps=100_000)
    walk.begin(walk.draw(phi.dim))
    frames, z = iter(walk), walk.here.state.z
    step, bare = lambda: next(frames), lambda: phi.evaluate(z)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    pairs = [(timed(device, step), timed(device, bare)) for _ in range(options.turns + 1)][1:]
    peak = (torch.cuda.max_memory_allocated(device) - before) / 2**20 if before else float("nan")
    whole, part = (statistics.median(column) for column in zip(*pairs, strict=True))
    waits = waiting(device, step)
    off = float((phi.images(z)[:1] - phi.images(z[:1])).abs().max())
    return f"{1e3 * whole:9.1f} {1e3 * part:9.1f} {whole / part:7.3f} {peak:9.0f} {waits!s:>6s} {off:.1e}"


def main(options: argparse.Namespace) -> None:
    if options.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here; --device cpu --tiny shows that the command runs")
    print(f"{'network':10s} type     chains   step ms   phi ms   ratio   peak MB  waits alone")
    for make, dtype in itertools.product((gan, diffusion), (torch.float32, torch.bfloat16)):
        torch.manual_seed(0)
        generator = make(tiny=options.tiny).eval().requires_grad_(False)
        generator.to(device=options.device, dtype=dtype)
        for chains in options.chains:
            said = f"{make.__name__:10s} {str(dtype).removeprefix('torch.'):8s} {chains:6d}"
            try:
                print(said, row(generator, chains, options), flush=True)
            except torch.OutOfMemoryError:
                print(said, "out of memory", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--chains", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--tiny", action="store_true")
    main(parser.parse_args())
