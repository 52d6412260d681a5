r"""How good the built-in models are: `python -m latentzoo.builtin.study.evaluate [WHAT...]`.

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
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from latentzoo import picture
from latentzoo.builtin import heads, volume
from latentzoo.builtin.attributes import guide, judge
from latentzoo.builtin.avatars import (
    NAMES,
    VALUES,
    draw,
    marginals,
    portrait,
    probability,
)
from latentzoo.builtin.captions import parse
from latentzoo.builtin.drawing import render
from latentzoo.builtin.identity import embedding
from latentzoo.builtin.networks.recognizer import Judge
from latentzoo.builtin.study.page import labelled
from latentzoo.builtin.weights import fill, tensors
from latentzoo.generator import Generator
from latentzoo.guides import text_image
from latentzoo.rng import Rng
from latentzoo.views.orbit import orbit
from latentzoo.zoo import load

FRESH = 2
"""The seed of avatars that no network was trained on."""
COLOURS = 160
"""How many colours a sheet has, so that it is small."""
GENERATORS = (
    "avatar-turbo",
    "avatar-ldm",
    "avatar-ldm-stochastic",
    "avatar-vae",
    "avatar-gan",
    "avatar-ddpm",
    "avatar-ddpm-stochastic",
)
TEXTS = (
    "a person with sunglasses",
    "a person with a hat",
    "a person with a yellow hat",
    "a person with sunglasses and a yellow hat",
    "a person with red hair and a beard",
    "a smiling person",
    "a person without glasses",
    "a bald person with a moustache",
)


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
        x = torch.from_numpy(np.stack(drawn))
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


def confidence_error(log_p: Float[Tensor, "N K"], truth: Tensor, bins: int = 10) -> float:
    """The expected calibration error: how far accuracy is from confidence, over bins of confidence."""
    confidence, said = log_p.exp().max(1)
    right = (said == truth).float()
    bin_of = (confidence * bins).long().clamp(max=bins - 1)
    gaps = [(right[bin_of == b] - confidence[bin_of == b]).sum().abs() for b in range(bins)]
    return float(torch.stack(gaps).sum() / len(truth))


def area(positive: Tensor, negative: Tensor) -> float:
    """The area under the receiver operating characteristic: the chance that a positive scores higher."""
    scores = torch.cat([positive, negative])
    ranks = torch.empty_like(scores)
    ranks[scores.argsort()] = torch.arange(1.0, len(scores) + 1)
    n, m = len(positive), len(negative)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def table(head: list[str], rows: Iterator[list[str]] | list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def judged(count: int) -> str:
    """What judge and guide read on fresh renders: accuracies, and the guide's calibration."""
    x = torch.cat(list(fresh(count)))
    truth = torch.tensor([draw(FRESH, i).indices() for i in range(count)])
    with torch.no_grad():
        readings = [network(x) for network in (judge(), guide())]
    right = [
        [(r[n].argmax(1) == truth[:, k]).float().mean() for r in readings]
        for k, n in enumerate(NAMES)
    ]
    gaps = [confidence_error(readings[1][name], truth[:, k]) for k, name in enumerate(NAMES)]
    rows = [
        [name, f"{a:.3f}", f"{b:.3f}", f"{gap:.3f}"]
        for name, (a, b), gap in zip(NAMES, right, gaps, strict=True)
    ]
    return table(["attribute", "judge", "guide", "guide's calibration error"], rows)


def matched(count: int) -> str:
    """How well the text-image model tells faces of which a text is true."""
    x = torch.cat(list(fresh(count)))
    avatars = [draw(FRESH, i) for i in range(count)]
    model, rows = text_image.load("avatar-clip"), []
    with torch.no_grad():
        seen = F.normalize(model.encode_image(x), dim=1)
        for text in TEXTS:
            true = torch.tensor([avatar.satisfies(parse(text)) for avatar in avatars])
            cosine = seen @ F.normalize(model.encode_text([text]), dim=1)[0]
            share = f"{probability(parse(text)):.4f}"
            rows.append([text, share, f"{area(cosine[true], cosine[~true]):.3f}"])
    return table(["text", "p(text)", "area under the curve"], rows)


def recognised(people: int, portraits: int = 4) -> str:
    """How well the embedding tells pictures of one unseen person from those of another."""
    drawn = [
        render(portrait(FRESH, i // portraits, i % portraits)) for i in range(people * portraits)
    ]
    x = torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        f = embedding()(x)
    cosine, person = f @ f.T, torch.arange(len(f)) // portraits
    same, pair = person[:, None] == person, torch.ones_like(cosine).triu(1) > 0
    own, other = cosine[same & pair], cosine[~same & pair]
    limit = float(other.quantile(0.99)) if len(other) < 2**24 else float("nan")
    row = [f"{area(own, other):.4f}", f"{float(own.mean()):.3f}", f"{limit:.3f}"]
    return table(["area under the curve", "same person", "99th percentile of others"], [row])


def viewed(count: int) -> str:
    """How well the other sides of heads are known whose front alone was read, and how Gaussian what is read is."""
    generator = fill(volume.build(), tensors("avatar-3d"))
    scene = heads.draw(count, torch.Generator().manual_seed(2**40))
    with torch.no_grad():
        read = generator.network.read(heads.picture(scene, heads.CAMERA))
        z = generator.encode(heads.picture(scene, heads.CAMERA), Rng(*range(count)))
        rows = []
        for azimuth in (0.0, 20.0, 40.0, 60.0):
            camera = replace(heads.CAMERA, azimuth=azimuth)
            truth, (seen,) = heads.picture(scene, camera), orbit(generator, z, [camera])
            error = (seen - truth).square().mean(dim=(1, 2, 3))
            other = (seen - truth.roll(1, dims=0)).square().mean(dim=(1, 2, 3))
            rows.append(
                [f"{azimuth:.0f}", *(f"{-10 * e.log10().mean():.1f}" for e in (error, other))]
            )
        u = Rng(FRESH).normal(count, 2)[0]
        place = generator.aim(
            generator.network.read(heads.picture(scene, generator.aim(u))).camera
        )
        off = [
            float((getattr(place, name) - getattr(generator.aim(u), name)).abs().mean())
            for name in ("azimuth", "elevation")
        ]
    nats = (read.mean.square() + (2 * read.log_std).exp() - 1).sum(1) / 2 - read.log_std.sum(1)
    gaussian = [f"{nats.mean():.0f}", f"{z.mean(0).abs().mean():.2f}", f"{z.std(0).mean():.2f}"]
    return table(["azimuth", "PSNR", "PSNR to another head"], rows) + table(
        ["nats read", "mean of codes", "deviation of codes", "azimuth off by", "elevation off by"],
        [[*gaussian, *(f"{x:.1f}" for x in off)]],
    )


def generated(names: list[str], count: int) -> str:
    """The total variation of each attribute, and the Frechet distance, of generators."""
    network = judge()
    real, seen = look(network, fresh(count))
    columns = {"fresh renders": [variation(seen[:, k], n) for k, n in enumerate(NAMES)]}
    half = count // 2
    distances = [
        ["fresh renders, one half to the other", f"{frechet(real[:half], real[half:]):.2f}"]
    ]
    for name in names:
        features, values = look(network, samples(load(name), count))
        columns[name] = [variation(values[:, k], attribute) for k, attribute in enumerate(NAMES)]
        distances.append([name, f"{frechet(features, real):.2f}"])
    rows = [[n, *(f"{c[k]:.3f}" for c in columns.values())] for k, n in enumerate(NAMES)]
    return table(["attribute", *columns], rows) + table(
        ["generator", "Frechet distance"], distances
    )


def sheet(names: list[str], columns: int = 12) -> np.ndarray:
    """Samples of generators by the same seeds, a row for each, `(H, W, 3)`."""
    drawn = (picture.to_uint8(next(samples(load(name), columns))) for name in names)
    return labelled([(name, list(x)) for name, x in zip(names, drawn, strict=True)])


def main() -> None:
    """Prints the tables, or draws the sheet."""
    parser = argparse.ArgumentParser(description="How good the built-in models are.")
    parser.add_argument(
        "what", nargs="*", default=["judged", "matched", "recognised", "viewed", *GENERATORS]
    )
    parser.add_argument("--count", type=int, default=1024)
    parser.add_argument("--sheet", type=Path, help="draw samples of the generators instead")
    options = parser.parse_args()
    if options.sheet is not None:
        drawn = sheet([name for name in options.what if name in GENERATORS])
        Image.fromarray(drawn).quantize(COLOURS).save(options.sheet, format="PNG", optimize=True)
        return
    tables = {
        "judged": judged,
        "matched": matched,
        "recognised": lambda n: recognised(n // 4),
        "viewed": lambda n: viewed(n // 4),
    }
    for what in options.what:
        if what in tables:
            sys.stdout.write(f"{tables[what](options.count)}\n")
    if chosen := [name for name in options.what if name not in tables]:
        sys.stdout.write(generated(chosen, options.count))


if __name__ == "__main__":
    main()
