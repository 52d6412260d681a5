r"""Three kinds of target whose truth is known, for judging samplers.

Each is a potential :math:`\phi(z)` under the prior :math:`\mathcal{N}(0, I_d)`; only the first few coordinates are
informed. The posterior means and variances of :math:`\phi` and :math:`|z|^2` are exact, or cached with the recipe that
made them: `python benchmarks/targets.py` writes `benchmarks/truth.json` anew.

| target | :math:`\phi` | truth |
|---|---|---|
| `Linear` | :math:`\tfrac12 \sum_i \kappa_i (z_i - c_i)^2` | closed form |
| `Cosine` | :math:`-\log \sum_m w_m e^{\lambda (\cos(u, t_m) - 1)}` | exact sampler, weights exactly :math:`w` |
| `Classifier` | :math:`-\lambda \log p(C \mid u)`, a small tanh network | 10^7 draws from the prior |
"""

import json
import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

TRUTH = Path(__file__).with_name("truth.json")


class Moments(NamedTuple):
    """The posterior mean and standard deviation of a number."""

    mean: float
    sd: float


class Target(ABC):
    """A potential with known posterior moments of itself and of the squared norm.

    Attributes:
        dim: The number of coordinates d.
        phi: The posterior moments of the potential.
        norm2: The posterior moments of |z|^2.
    """

    dim: int
    phi: Moments
    norm2: Moments

    @abstractmethod
    def __call__(self, z: Tensor) -> Tensor:
        """The potential of latents (B, d), (B,)."""

    def figures(self, z: Tensor) -> dict[str, float]:
        """Further numbers about the samples (B, d), by name."""
        return {}


class Linear(Target):
    """Creates the posterior of a linear map under a quadratic energy, in the basis where it is diagonal.

    Arguments:
        dim: The number of coordinates.
        k: How many of them are informed.
        stiffest: The largest curvature; the smallest is 1.
        seed: The seed of the observation.
    """

    def __init__(self, dim: int, k: int = 64, stiffest: float = 100.0, seed: int = 0) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.dim, self.k = dim, k
        self.kappa = torch.logspace(0, math.log10(stiffest), k)
        self.centre = (
            torch.randn(k, generator=draw) + torch.randn(k, generator=draw) / self.kappa.sqrt()
        )
        kappa, centre = self.kappa.double(), self.centre.double()
        self.mean, self.var = kappa * centre / (1 + kappa), 1 / (1 + kappa)
        off2 = (self.mean - centre).square()
        self.phi = Moments(
            float((kappa * (self.var + off2)).sum() / 2),
            float((kappa**2 * (2 * self.var**2 + 4 * self.var * off2)).sum().sqrt() / 2),
        )
        informed = 2 * self.var**2 + 4 * self.var * self.mean**2
        self.norm2 = Moments(
            float((self.var + self.mean**2).sum()) + dim - k,
            math.sqrt(float(informed.sum()) + 2 * (dim - k)),
        )
        fit = kappa.log1p() + self.var - 1 + self.mean**2
        self.nats = float(fit.sum() / 2)

    def __call__(self, z: Tensor) -> Tensor:
        return (self.kappa * (z[:, : self.k] - self.centre).square()).sum(1) / 2

    def exact(self, rows: int, draw: torch.Generator) -> Tensor:
        """Draws exact samples (rows, d)."""
        z = torch.randn(rows, self.dim, generator=draw)
        z[:, : self.k] = (self.mean + self.var.sqrt() * z[:, : self.k]).float()
        return z

    def figures(self, z: Tensor) -> dict[str, float]:
        informed = (z[:, : self.k].double() - self.mean) / self.var.sqrt()
        variance, eighth = informed.var(0), max(self.k // 8, 1)
        return {
            "mean": float(informed.mean(0).square().mean().sqrt()),
            "stiff": float(variance[-eighth:].mean()),
            "soft": float(variance[:eighth].mean()),
        }


class Cosine(Target):
    """Creates a mixture in the direction of the first r coordinates, the shape of CLIP's energies.

    The posterior direction is the mixture of von Mises-Fisher distributions with concentration lambda about
    orthonormal centres, with exactly the given weights; the radius is that of the prior.

    Arguments:
        dim: The number of coordinates.
        strength: The weight lambda.
        weights: The weights of the modes.
        r: How many coordinates are informed.
    """

    def __init__(
        self, dim: int, strength: float, weights: tuple[float, ...] = (1.0,), r: int = 64
    ) -> None:
        draw = torch.Generator().manual_seed(0)
        self.dim, self.r, self.strength = dim, r, strength
        self.weights = torch.tensor(weights)
        basis, _ = torch.linalg.qr(torch.randn(r, len(weights), generator=draw))
        self.centres = basis.T.contiguous()
        phi = self(self.exact(20_000, draw)).double()
        self.phi = Moments(float(phi.mean()), float(phi.std()))
        self.norm2 = Moments(dim, math.sqrt(2 * dim))

    def __call__(self, z: Tensor) -> Tensor:
        cosine = torch.nn.functional.normalize(z[:, : self.r], dim=1) @ self.centres.T
        return -(self.weights.log() + self.strength * (cosine - 1)).logsumexp(1)

    def exact(self, rows: int, draw: torch.Generator) -> Tensor:
        """Draws exact samples (rows, d): the cosine by its inverse distribution function."""
        x = np.linspace(-1 + 1e-9, 1 - 1e-9, 200_001)
        density = self.strength * (x - 1) + (self.r - 3) / 2 * np.log1p(-x * x)
        cdf = np.exp(density - density.max()).cumsum()
        u = torch.rand(rows, generator=draw).numpy()
        cosine = torch.from_numpy(np.interp(u, cdf / cdf[-1], x)).float()[:, None]
        centre = self.centres[torch.multinomial(self.weights, rows, True, generator=draw)]
        across = torch.randn(rows, self.r, generator=draw)
        across = across - (across * centre).sum(1, keepdim=True) * centre
        across = torch.nn.functional.normalize(across, dim=1)
        z = torch.randn(rows, self.dim, generator=draw)
        radius = z[:, : self.r].norm(dim=1, keepdim=True)
        z[:, : self.r] = radius * (cosine * centre + (1 - cosine.square()).sqrt() * across)
        return z

    def shares(self, z: Tensor) -> Tensor:
        """The share of samples nearest to each centre, (M,)."""
        return _shares(z[:, : self.r] @ self.centres.T)

    def figures(self, z: Tensor) -> dict[str, float]:
        return {"tv": total_variation(self.shares(z), self.weights)}


class Classifier(Target):
    """Creates the energy -lambda log p(C | u) of a small fixed network: three of eight labels make the class C.

    Arguments:
        strength: The weight lambda.
        dim: The number of coordinates; the network sees the first 24.
    """

    r, labels, members = 24, 8, 3

    def __init__(self, strength: float, dim: int = 256) -> None:
        draw = torch.Generator().manual_seed(3)
        hidden, features = 64, 48
        self.dim, self.strength = dim, strength
        self.w1 = torch.randn(self.r, hidden, generator=draw) * 1.5 / math.sqrt(self.r)
        self.b1 = torch.randn(hidden, generator=draw) * 0.3
        self.w2 = torch.randn(hidden, features, generator=draw) * 1.2 / math.sqrt(hidden)
        self.w3 = torch.randn(features, self.labels, generator=draw) * 6 / math.sqrt(features)
        self.b3 = torch.zeros(self.labels)
        self.b3[: self.members] = torch.tensor([-9.0, -8.7, -9.3])
        self.draw = draw
        if TRUTH.exists():
            self._use(json.loads(TRUTH.read_text())[f"{strength:g}"])

    def _use(self, truth: dict) -> None:
        rest = self.dim - self.r
        self.weights = torch.tensor(truth["shares"])
        self.phi = Moments(truth["phi"][0], truth["phi"][1])
        self.norm2 = Moments(
            truth["norm2"][0] + rest, math.hypot(truth["norm2"][1], math.sqrt(2 * rest))
        )

    def logits(self, z: Tensor) -> Tensor:
        """The network's outputs, (B, 8)."""
        hidden = (z[:, : self.r] @ self.w1 + self.b1).tanh()
        return (hidden @ self.w2).tanh() @ self.w3 + self.b3

    def __call__(self, z: Tensor) -> Tensor:
        logits = self.logits(z)
        return self.strength * (logits.logsumexp(1) - logits[:, : self.members].logsumexp(1))

    def shares(self, z: Tensor) -> Tensor:
        """The share of samples in each member of the class, (3,)."""
        return _shares(self.logits(z)[:, : self.members])

    def figures(self, z: Tensor) -> dict[str, float]:
        return {"tv": total_variation(self.shares(z), self.weights)}

    def truth(self, draws: int = 10_000_000) -> dict:
        """Weighs draws from the prior: the recipe of the cached truth."""
        total, total2, shares = 0.0, 0.0, torch.zeros(self.members, dtype=torch.double)
        first, second = torch.zeros(2, dtype=torch.double), torch.zeros(2, dtype=torch.double)
        for _ in range(draws // 100_000):
            u = torch.randn(100_000, self.r, generator=self.draw)
            phi = self(u).double()
            w, x = (-phi).exp(), torch.stack([phi, u.double().square().sum(1)])
            total, total2 = total + float(w.sum()), total2 + float(w.square().sum())
            first, second = first + x @ w, second + x.square() @ w
            member = self.logits(u)[:, : self.members].argmax(1)
            shares.index_add_(0, member, w)
        mean = first / total
        sd = (second / total - mean.square()).sqrt()
        return {
            "shares": (shares / total).tolist(),
            "phi": [float(mean[0]), float(sd[0])],
            "norm2": [float(mean[1]), float(sd[1])],
            "effective_draws": total**2 / total2,
        }


def total_variation(p: Tensor, q: Tensor) -> float:
    """Half the sum of absolute differences of two distributions."""
    return float((p - q).abs().sum() / 2)


def _shares(scores: Tensor) -> Tensor:
    return torch.bincount(scores.argmax(1), minlength=scores.shape[1]).float() / len(scores)


if __name__ == "__main__":
    record = {f"{strength:g}": Classifier(strength).truth() for strength in (1.0, 3.0)}
    TRUTH.write_text(json.dumps(record, indent=2) + "\n")
