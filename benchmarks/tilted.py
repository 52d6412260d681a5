r"""Mixtures of Gaussians tilted by a quadratic reward: the weights of the modes, against closed form.

    python benchmarks/tilted.py [--seeds N] [--chains N] [--steps N]

The prior of x is a mixture on the line, :math:`\sum_k w_k \mathcal{N}(m_k, s^2)`, and G is its inverse cumulative
distribution after that of the normal, so that a Gaussian z gives it exactly. A reward :math:`-(x - a)^2 / 2 r^2` tilts
the weights of the modes to

.. math:: w'_k \propto w_k \, \mathcal{N}(a; m_k, s^2 + r^2)

so the posterior is sampled in z and its modes are told in x. Total variation is that of all seeds together, beside
twice what as many exact draws would have on average.

References:
    | Are we really tilting? (2026)
    | https://arxiv.org/abs/2606.02884
"""

import argparse
import math
import sys
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from latentzoo.kernels.types import Function
from latentzoo.run.sampling import sample

LIMIT = 0.05
"""The total variation that a trusted answer may have, beside its Monte-Carlo error."""


@dataclass(frozen=True)
class Tilted:
    """A mixture on the line and a reward.

    Attributes:
        name: What it is called in the table.
        weights, means: Of the modes, (K,); their order is that of the means.
        sd: Their common width.
        centre: Where the reward is largest.
        width: Its width r.
        dim: The latent's dimension; the first coordinate alone is informed.
    """

    name: str
    weights: tuple[float, ...]
    means: tuple[float, ...]
    sd: float
    centre: float
    width: float
    dim: int = 16

    @property
    def truth(self) -> Tensor:
        """The weights of the modes after the tilt, (K,)."""
        w, m = torch.tensor(self.weights).double(), torch.tensor(self.means).double()
        log_w = w.log() - (m - self.centre).square() / (2 * (self.sd**2 + self.width**2))
        return log_w.softmax(0)

    def map(self, z: Tensor) -> Tensor:
        """x of the first coordinate z, (B, D) -> (B,): the root of F(x) = Phi(z), with its gradient."""
        m = torch.tensor(self.means).double()
        w = torch.tensor(self.weights).double()
        u = z[:, 0].double()
        tail = lambda x: (w * torch.special.ndtr((x[:, None] - m) / self.sd)).sum(1)
        with torch.no_grad():
            level = torch.special.ndtr(u)
            low, high = (
                torch.full_like(u, end)
                for end in (float(m.min()) - 9 * self.sd, float(m.max()) + 9 * self.sd)
            )
            x = (low + high) / 2
            for _ in range(60):
                below = tail(x) < level
                low, high = torch.where(below, x, low), torch.where(below, high, x)
                x = (low + high) / 2
            density = (w * (-((x[:, None] - m) / self.sd).square() / 2).exp()).sum(1)
            slope = (-u.square() / 2).exp() * self.sd / density.clamp(min=1e-300)
        return (x + slope * (u - u.detach())).to(z)

    def phi(self, z: Tensor) -> Tensor:
        """The potential, (B, D) -> (B,)."""
        return (self.map(z) - self.centre).square() / (2 * self.width**2)

    def shares(self, z: Tensor) -> Tensor:
        """The mean over draws of the probability that x is of each mode, (K,); on average exactly the truth."""
        x, m = self.map(z).double()[:, None], torch.tensor(self.means).double()
        log_w = torch.tensor(self.weights).double().log() - ((x - m) / self.sd).square() / 2
        return log_w.softmax(1).mean(0)

    def off(self, z: Tensor) -> float:
        """The total variation of the draws' shares from the truth."""
        return float((self.shares(z) - self.truth).abs().sum() / 2)

    def noise(self, draws: int) -> float:
        """The total variation that exact draws have on average, about."""
        w = self.truth
        return float((w * (1 - w)).sqrt().sum() / math.sqrt(2 * math.pi * draws))


TILTED = [
    Tilted("two, reward between", (0.5, 0.5), (-2.0, 2.0), 0.3, 0.5, 2.0),
    Tilted("two, .9 : .1, reward on the rare", (0.9, 0.1), (-2.0, 2.0), 0.3, 2.0, 2.0),
    Tilted("two, reward undoes the weights", (0.8, 0.2), (-1.0, 1.0), 0.3, 1.0, 1.2),
    Tilted("three, reward on the middle", (0.3, 0.4, 0.3), (-3.0, 0.0, 3.0), 0.4, 0.0, 2.0),
    Tilted("five in a row", (0.2,) * 5, (-4.0, -2.0, 0.0, 2.0, 4.0), 0.3, 1.0, 2.0),
    Tilted("two near each other", (0.6, 0.4), (-0.8, 0.8), 0.4, 0.8, 0.8),
    Tilted("narrow reward", (0.5, 0.5), (-2.0, 2.0), 0.4, 1.5, 0.4),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--chains", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--kernels", nargs="+", default=["auto", "smc"])
    options = parser.parse_args()
    print(
        "| target | truth | kernel | shares | TV | noise | trusted |\n|---|---|---|---|---|---|---|"
    )
    bad = 0
    for target in TILTED:
        for kernel in options.kernels:
            row = judged(target, kernel, options.chains, options.steps, options.seeds)
            bad += row.bad
            print(row)
    print(f"{bad} rows trusted more often than not are off by more than {LIMIT} and their noise")
    return 1 if bad else 0


@dataclass(frozen=True)
class Row:
    """What came of a target, by a kernel, over seeds."""

    target: Tilted
    kernel: str
    shares: Tensor
    off: float
    noise: float
    verdicts: Counter

    @property
    def trusted(self) -> int:
        return self.verdicts["trustworthy"]

    @property
    def bad(self) -> bool:
        """Whether it is trusted more often than not, and wrong."""
        return self.trusted * 2 > self.verdicts.total() and self.off > LIMIT + 2 * self.noise

    def __str__(self) -> str:
        shares, truth = (
            " : ".join(f"{x:.2f}" for x in each.tolist())
            for each in (self.shares, self.target.truth)
        )
        told = f"{self.off:.3f} | {self.noise:.3f} | {self.trusted} of {self.verdicts.total()}"
        return f"| {self.target.name} | {truth} | {self.kernel} | {shares} | {told} |"


def judged(target: Tilted, kernel: str, chains: int, steps: int, seeds: int) -> Row:
    """Runs a target for each seed."""
    given = {
        "dim": target.dim,
        "chains": chains,
        "steps": steps,
        "kernel": kernel,
        "progress": False,
    }
    results = [sample(Function(target.phi), seed=seed, **given) for seed in range(seeds)]
    z = torch.cat([result.z for result in results])
    verdicts = Counter(result.diagnosis.verdict for result in results)
    return Row(target, kernel, target.shares(z), target.off(z), target.noise(len(z)), verdicts)


if __name__ == "__main__":
    sys.exit(main())
