"""What `--compile` costs and gives: the first gradient, the others beside those as written, and where it pays.

    python benchmarks/compiled.py [avatar-turbo] [--text "a red hat"] [--chains 4] [--turns 7]

A map's posterior under a text is made twice, as it is written and translated. Prints processor seconds of the
first translated gradient, the medians of both in turns with the least and largest ratio, and after how many
gradients the translation is paid. Translations that torch has kept from an earlier run (its cache in the folder
for temporary files) cost less; `--fresh` starts without.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch

import latentzoo as lz


def gan() -> lz.Generator:
    """StyleGAN2 at 256 px with random weights."""
    from latentzoo.zoo import stylegan2

    widths = [512, 512, 512, 512, 256, 128, 64]
    return stylegan2.build(widths=widths).requires_grad_(False).eval()


def posterior(options: argparse.Namespace, *, compile: bool) -> lz.Posterior:
    if options.generator == "stylegan2":
        square = lz.Function(lambda image: image.square().mean((1, 2, 3)))
        return lz.Posterior(gan(), {"square": square}, compile=compile)
    energies = {"text": 150 * lz.Clip(options.text, "avatar-clip")}
    return lz.Posterior(lz.load(options.generator), energies, compile=compile)


def seconds(phi: lz.Posterior, z: torch.Tensor) -> float:
    """Processor seconds of a gradient, those of compilers that it starts included."""
    spent = lambda: sum(os.times()[:4])
    began = spent()
    phi.evaluate(z)
    return spent() - began


def main(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    folder = tempfile.TemporaryDirectory()
    if options.fresh:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(folder.name) / "cache")
    plain, fast = (posterior(options, compile=compile) for compile in (False, True))
    z = lz.Rng(*range(options.chains)).normal(plain.dim)
    wall = time.perf_counter()
    first, _ = seconds(fast, z), seconds(plain, z)
    print(
        f"first gradient {first:.1f} s of processor time, {time.perf_counter() - wall:.0f} s of a clock"
    )
    rows = [(seconds(fast, z), seconds(plain, z)) for _ in range(options.turns)]
    ours, theirs = (statistics.median(column) for column in zip(*rows, strict=True))
    ratios = [a / b for a, b in rows]
    spread = f"{statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"
    print(f"a gradient: translated {ours:.4f} s, as written {theirs:.4f} s, ratio {spread}")
    gain = theirs - ours
    print(f"paid after {first / gain:.0f} gradients" if gain > 0 else "it never pays here")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("generator", nargs="?", default="avatar-turbo")
    parser.add_argument("--text", default="a person with a red hat")
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--fresh", action="store_true")
    main(parser.parse_args())
