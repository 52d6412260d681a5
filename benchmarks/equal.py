r"""What can be had of one map for the same cost: sampling, optimising, searching, and guiding each step.

    python benchmarks/equal.py [--generators NAME...] [--texts TEXT...] [--methods NAME...] [--steps 80] [--rows FILE]

Every method makes sixteen pictures for one energy, 10 times a text as the attribute guide reads it, out of the same
number of gradients in all, and starts at the same seeds. A held-out judge looks at them.

| method | what it is |
|---|---|
| prior | draws of the prior, for nothing |
| auto | the default kernel |
| smc | sequential Monte Carlo, which needs 64 chains: a quarter of the gradients each, and every fourth is shown |
| ula | unadjusted Langevin, a step of 0.05 |
| reno | ReNO, the norm against the energy as the posterior has it; each chain's best state |
| reno 100 | the same on ReNO's own scale, where the norm weighs a hundredth of a reward of weight 1: ten times phi |
| bestofn | the best of three draws of the prior for every gradient |
| stepwise | guidance of each step of the diffusion by its estimate of the picture, after DPS; below |
| exact | draws of the avatars' own law given the text, never drawn or judged: what sixteen pictures can have |

Stepwise guidance steps as DDPM does, and moves the mean of each step by the gradient of the energy at the estimate,

.. math:: x_s \sim \mathcal{N}\Bigl(\mu(x_t) - \frac{\alpha_s}{\alpha_t} \sigma_{t|s}^2
    \nabla_{x_t} \phi(D(\hat x_0(x_t))), \; \tilde\sigma^2\Bigr)

as if the estimate were the picture; a move is cut to the length of the step's own noise. A step of it takes one
gradient through the denoiser, the decoder and the guide, where the map of T steps takes T of the denoiser; a call of
the denoiser and one of the decoder cost alike, so n gradients of the map pay for n (T + 1) / 2 of its steps. It is no
sampler of the posterior, whatever the number of steps, and so it is no kernel.

`bias` is the mean over attributes of the total variation to the exact frequencies given the text, as the judge reads
them; `exact` says how much of it is the number of pictures.

References:
    | Diffusion posterior sampling for general noisy inverse problems (Chung et al., 2023)
    | https://arxiv.org/abs/2209.14687
    | ReNO (Eyring et al., 2024), https://arxiv.org/abs/2406.04312
"""

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

import latentzoo as lz
from latentzoo import energies, kernels, zoo
from latentzoo.builtin.attributes import read
from latentzoo.builtin.avatars import NAMES, VALUES, draw, marginals
from latentzoo.builtin.study.findings import find
from latentzoo.diffusion.process import ReverseProcess
from latentzoo.diffusion.reverse import posterior

PICTURES = 16
WEIGHT = 10.0
TEXTS = (
    "a person with sunglasses and a yellow hat",
    "a smiling person with sunglasses, a beard and a yellow hat",
)
GENERATORS = {"avatar-turbo": {}, "avatar-ldm": {"steps": 5}}
METHODS = ("prior", "auto", "smc", "ula", "reno", "reno 100", "bestofn", "stepwise", "exact")
KERNELS = {"ula": {"step_size": 0.05}}
FIRST = 1e-3
"""The least alpha that is divided by: at the first step there is no picture in x, and nothing to guide."""


@dataclass
class Row:
    """What a method made; a number is None where the method has none."""

    generator: str
    text: str
    method: str
    energy: float | None
    error: float | None
    norm: float | None
    success: tuple[float, float, float] | None
    diversity: float | None
    bias: float
    gradients: int
    verdict: str
    seconds: float

    def __str__(self) -> str:
        cells = [
            self.method,
            "" if self.energy is None else f"{self.energy:.2f} ± {self.error:.2f}",
            "" if self.norm is None else f"{self.norm:+.1f}",
            "" if self.success is None else "{:.2f} ({:.2f} to {:.2f})".format(*self.success),
            "" if self.diversity is None else f"{self.diversity:.1f}",
            f"{self.bias:.3f}",
            str(self.gradients),
            self.verdict,
        ]
        return f"| {' | '.join(cells)} |"


HEAD = (
    f"| method | energy | norm | success | diversity | bias | gradients | verdict |\n|{'---|' * 8}"
)


def stepwise(phi: Callable[[Tensor], Tensor], name: str, steps: int) -> Tensor:
    """Pictures of a diffusion whose every step is guided by phi, (16, 3, H, W) -> (16,)."""
    process = zoo.load(name, steps=steps)
    assert isinstance(process, ReverseProcess)
    rng = lz.Rng(*range(PICTURES))
    x = process.start * process.space.split(rng.normal(process.space.dim))["start"]
    for t, s in process.pairs:
        x = x.detach().requires_grad_()
        q = process.estimate(x, t)
        value = phi(process.show(q.x_0))
        (grad,) = torch.autograd.grad(value.sum(), x)
        with torch.no_grad():
            p = posterior(x, q.x_0, t, s)
            size = lambda e: e.flatten(1).norm(dim=1)[:, None, None, None]
            noise = p.std * rng.normal(*x.shape[1:])
            spread = t.sigma**2 - (t.alpha / s.alpha * s.sigma) ** 2
            move = s.alpha * spread / max(t.alpha, FIRST) * grad
            x = p.mean + noise - move * (size(noise) / (size(move) + 1e-12)).clamp(max=1)
    return process.show(x.detach()).detach()


def exact(text: str, sets: int = 40) -> float:
    """The mean bias of sixteen draws of the avatars' law given the text, over so many sets."""
    wanted, truth = read(text), marginals(read(text))
    right = (
        avatar
        for avatar in (draw(77, i) for i in itertools.count())
        if all(getattr(avatar, name) in values for name, values in wanted.items())
    )
    biases = []
    for _ in range(sets):
        drawn = list(itertools.islice(right, PICTURES))
        for name in NAMES:
            values = [getattr(avatar, name) for avatar in drawn]
            off = sum(abs(values.count(v) / PICTURES - truth[name][v]) for v in VALUES[name])
            biases.append(off / 2)
    return sum(biases) / len(biases)


def sampled(phi: lz.Posterior, method: str, steps: int) -> tuple[Tensor, int, str]:
    """The latents that a kernel leaves, the gradients they took in all, and the verdict."""
    name, scale = method.removesuffix(" 100"), 10.0 if method == "reno 100" else 1.0
    chains = 64 if method == "smc" else PICTURES
    kernel = kernels.load(name, **KERNELS.get(name, {}))
    best = phi.names[0] if name == "reno" else None
    result = lz.sample(
        phi.scaled(scale) if scale != 1 else phi,
        chains=chains,
        steps=steps * PICTURES // chains,
        kernel=kernel,
        best=best,
        progress=False,
    )
    z = result.z[:: chains // PICTURES]
    verdict = result.diagnosis.verdict if kernel.samples else "no sampler"
    return z, round(result.gradients * chains), verdict


def row(name: str, text: str, method: str, steps: int) -> Row:
    """Runs a method."""
    if method == "exact":
        return Row(name, text, method, None, None, None, None, None, exact(text), 0, "", 0.0)
    energy = energies.load("attribute", text, model="avatar-attributes")
    phi = lz.Posterior(
        zoo.load(name, **GENERATORS[name]), {"text": WEIGHT * energy}, micro_batch=16
    )
    began, norm, gradients, verdict = time.process_time(), None, steps * PICTURES, "no sampler"
    if method == "stepwise":
        calls = GENERATORS[name]["steps"]
        image = stepwise(lambda x: WEIGHT * energy(x), name, steps * (calls + 1) // 2)
    else:
        if method == "prior":
            z, gradients, verdict = lz.Rng(*range(PICTURES)).normal(phi.dim), 0, ""
        else:
            z, gradients, verdict = sampled(phi, method, steps)
        image, spread = phi.images(z), math.sqrt(2 * phi.dim / PICTURES)
        norm = float(z.square().sum(1).mean() - phi.dim) / spread
    with torch.no_grad():
        value, found = WEIGHT * energy(image), find(image, text)
    assert found.bias is not None
    return Row(
        name,
        text,
        method,
        float(value.mean()),
        float(value.std()) / PICTURES**0.5,
        norm,
        (found.success, found.low, found.high),
        found.diversity,
        found.bias,
        gradients,
        verdict,
        time.process_time() - began,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--generators", nargs="+", default=[*GENERATORS], choices=GENERATORS)
    parser.add_argument("--texts", nargs="+", default=TEXTS)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--steps", type=int, default=80, help="gradients of each of 16 chains")
    parser.add_argument("--rows", type=Path, help="a file of rows: those it has are not run again")
    options = parser.parse_args()
    known = {}
    if options.rows and options.rows.exists():
        before = [Row(**json.loads(text)) for text in options.rows.read_text().splitlines()]
        known = {(each.generator, each.text, each.method): each for each in before}
    for name, text in itertools.product(options.generators, options.texts):
        print(f'\n`{name}`, "{text}":\n\n{HEAD}')
        for method in options.methods:
            if method == "stepwise" and "steps" not in GENERATORS[name]:
                continue  # the map is no diffusion
            found = known.get((name, text, method)) or row(name, text, method, options.steps)
            if options.rows and (name, text, method) not in known:
                with options.rows.open("a") as file:
                    file.write(json.dumps(asdict(found)) + "\n")
            print(found, flush=True)


if __name__ == "__main__":
    sys.exit(main())
