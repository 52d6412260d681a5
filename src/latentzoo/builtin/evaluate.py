r"""How good the built-in generators are: `python -m latentzoo.builtin.evaluate [NAME...]`.

The held-out judge reads the attributes of drawn samples. For each attribute, the total variation between the
frequencies it sees and the exact ones of the renderer,

.. math:: d_k = \tfrac12 \sum_v \left| \hat p_k(v) - p_k(v) \right|

and, in the judge's features, the Frechet distance to fresh renders,

.. math:: |m - m'|^2 + \operatorname{tr}\big(C + C' - 2 (C C')^{1/2}\big)

References:
    | GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium (Heusel et al., 2017)
    | https://arxiv.org/abs/1706.08500
"""

import argparse
import sys
import time
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.builtin.attributes import judge
from latentzoo.builtin.avatars import NAMES, VALUES, draw, marginals, render
from latentzoo.builtin.networks.recognizer import Judge
from latentzoo.generator import Generator
from latentzoo.rng import Rng

FRESH = 2


def frechet(x: Float[Tensor, "N F"], y: Float[Tensor, "M F"]) -> float:
    """The Frechet distance of two sets of features."""
    x, y = x.double(), y.double()
    a, b = torch.cov(x.T), torch.cov(y.T)
    root = torch.linalg.eigvals(a @ b).real.clamp(min=0).sqrt().sum()
    means = (x.mean(0) - y.mean(0)).square().sum()
    return float(means + a.trace() + b.trace() - 2 * root)


def variation(indices: Tensor, name: str) -> float:
    """The total variation between the seen values `(N,)` of an attribute and its exact frequencies."""
    exact = torch.tensor([marginals()[name][value] for value in VALUES[name]])
    seen = torch.bincount(indices, minlength=len(exact)) / len(indices)
    return float((seen - exact).abs().sum() / 2)


def samples(generator: Generator, count: int, batch: int = 32) -> Iterator[Tensor]:
    """Pictures of the prior, by seed: `(B, 3, 64, 64)` at a time."""
    for start in range(0, count, batch):
        rng = Rng(*range(start, min(count, start + batch)))
        with torch.no_grad():
            yield generator(rng.normal(generator.space.dim))


def fresh(count: int, batch: int = 32) -> Iterator[Tensor]:
    """Renders that no network was trained on."""
    for start in range(0, count, batch):
        drawn = [render(draw(FRESH, i)) for i in range(start, min(count, start + batch))]
        x = torch.stack([torch.from_numpy(picture) for picture in drawn])
        yield x.permute(0, 3, 1, 2).float() / 255


def look(network: Judge, batches: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    """The judge's features `(N, F)` and the likeliest attribute values `(N, 13)`."""
    features, values = [], []
    with torch.no_grad():
        for x in batches:
            h = network.features(x.clamp(0, 1))
            said = network.heads(h)
            features.append(h)
            values.append(torch.stack([said[name].argmax(1) for name in NAMES], dim=1))
    return torch.cat(features), torch.cat(values)


def main() -> None:
    """Prints the table."""
    from latentzoo import load

    parser = argparse.ArgumentParser(description="How good the built-in generators are.")
    parser.add_argument("names", nargs="*", default=["avatar-turbo", "avatar-ldm"])
    parser.add_argument("--count", type=int, default=1024)
    options = parser.parse_args()
    network, say = judge(), sys.stdout.write
    truth = torch.tensor([draw(FRESH, i).indices() for i in range(options.count)])
    real, seen = look(network, fresh(options.count))
    accuracy = (seen == truth).float().mean(0)
    columns = {"accuracy of the judge": accuracy.tolist()}
    columns["fresh renders"] = [variation(seen[:, k], name) for k, name in enumerate(NAMES)]
    half = options.count // 2
    distances = {"fresh renders (one half to the other)": frechet(real[:half], real[half:])}
    for name in options.names:
        start = time.monotonic()
        features, values = look(network, samples(load(name), options.count))
        columns[name] = [variation(values[:, k], attribute) for k, attribute in enumerate(NAMES)]
        distances[name] = frechet(features, real)
        say(f"{name}: {options.count} samples in {time.monotonic() - start:.0f} s\n")
    say("\n| attribute | " + " | ".join(columns) + " |\n|---" * (len(columns) + 1) + "|\n")
    for k, attribute in enumerate(NAMES):
        row = " | ".join(f"{column[k]:.3f}" for column in columns.values())
        say(f"| {attribute} | {row} |\n")
    say("\n| generator | Frechet distance |\n|---|---|\n")
    for name, distance in distances.items():
        say(f"| {name} | {distance:.2f} |\n")


if __name__ == "__main__":
    main()
