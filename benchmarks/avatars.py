"""Kernels on real networks: the built-in generators, judged by a network that never guides.

    python benchmarks/avatars.py [--generators NAME...] [--kernels NAME...] [--steps 80] [--chains 16] [--seed 0]
        [--truth N]

prints a row per generator and kernel: every kernel spends the same gradients on the same seeds and the same energy, a
text read by the attribute guide. With --truth, N draws of the prior, weighted by exp(-phi), are the first row: the
posterior itself, as far as the effective number of draws goes.

| column | meaning |
|---|---|
| phi | the mean energy at the end, and its standard error |
| norm | (mean of abs(z)^2 - d) / sqrt(2 d / chains) |
| success | the share in which the held-out judge sees the text, with Wilson's 95 % interval |
| diversity | the mean distance of two pictures in the judge's features |
| verdict | of the run's diagnosis |
"""

import argparse
import math
import sys

import torch

import latentzoo as lz
from latentzoo import energies, kernels, zoo
from latentzoo.builtin.study.findings import find

TEXT = "a person with sunglasses and a yellow hat"
GENERATORS = {
    "avatar-turbo": {},
    "avatar-vae": {},
    "avatar-gan": {},
    "avatar-ldm": {"steps": 5},
    "avatar-ddpm": {"steps": 5},
}
KERNELS = {
    "auto": {},
    "ula": {"step_size": 0.05},
    "mala": {},
    "ghmc": {},
    "malt": {},
}


def row(generator: str, kernel: str, *figures: str) -> None:
    sys.stdout.write(
        f"{generator:14s} {kernel:8s} " + " ".join(f"{f:>16s}" for f in figures) + "\n"
    )
    sys.stdout.flush()


def sample(phi: lz.Posterior, generator: str, kernel: str, options: argparse.Namespace) -> None:
    """Runs a kernel and prints what the judge sees."""
    made = kernels.load(kernel, **KERNELS[kernel])
    result = lz.sample(
        phi, chains=options.chains, steps=options.steps, seed=options.seed, kernel=made
    )
    with torch.no_grad():
        found = find(torch.cat([phi.generator(z) for z in result.z.split(16)]), options.text)
    last, dim = result.trace.phi[-1], result.z.shape[1]
    norm = (result.z.square().sum(1).mean() - dim) / math.sqrt(2 * dim / options.chains)
    row(
        generator,
        kernel,
        f"{last.mean():.2f} +- {last.std() / len(last) ** 0.5:.2f}",
        f"{norm:+.1f}",
        f"{found.success:.2f} ({found.low:.2f}-{found.high:.2f})",
        f"{found.diversity:.1f}",
        result.diagnosis.verdict,
    )


@torch.no_grad()
def truth(phi: lz.Posterior, generator: str, draws: int, text: str) -> None:
    """Draws of the prior, weighted: what a perfect sampler would give."""
    dim, parts = phi.generator.space.dim, []
    for start in range(0, draws, 64):
        z = lz.Rng(*range(2**40 + start, 2**40 + start + 64)).normal(dim)
        seen = torch.tensor(find(phi.generator(z), text).successes, dtype=torch.float64)
        parts.append(
            torch.stack(
                [phi.evaluate(z, gradient=False).phi.double(), seen, z.square().sum(1).double()],
                dim=1,
            )
        )
    energy, seen, norm2 = torch.cat(parts).unbind(1)
    weight = (-energy).softmax(0)
    error = lambda x: float((weight.square() @ (x - weight @ x).square()).sqrt())
    spread = math.sqrt(2 * dim / 16)
    row(
        generator,
        "truth",
        f"{weight @ energy:.2f} +- {error(energy):.2f}",
        f"{(weight @ norm2 - dim) / spread:+.1f}",
        f"{weight @ seen:.2f} +- {error(seen):.2f}",
        "",
        f"{1 / weight.square().sum():.0f} effective",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Kernels on the built-in generators.")
    parser.add_argument("--generators", nargs="+", default=[*GENERATORS], choices=GENERATORS)
    parser.add_argument("--kernels", nargs="+", default=[*KERNELS], choices=KERNELS)
    parser.add_argument("--text", default=TEXT)
    parser.add_argument("--weight", type=float, default=10.0)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--chains", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--truth", type=int, default=0)
    options = parser.parse_args()
    row("generator", "kernel", "phi", "norm", "success", "diversity", "verdict")
    for name in options.generators:
        energy = energies.load("attribute", options.text, model="avatar-attributes")
        target = lz.Posterior(
            zoo.load(name, **GENERATORS[name]), {"text": options.weight * energy}, micro_batch=16
        )
        if options.truth:
            truth(target, name, options.truth, options.text)
        for kernel in options.kernels:
            sample(target, name, kernel, options)


if __name__ == "__main__":
    main()
