r"""Galaxies, blurred and noised, restored with a prior that astronomers trained: is the posterior calibrated?

    python benchmarks/galaxies.py [--replicates 64] [--gradients 80] [--rows FILE] [--picture FILE]

Needs the package galaxygrad, which `latentzoo fetch galaxygrad-hsc-32` brings once. For each replicate, a galaxy is
drawn from the prior and measured, and chains that know the measurement alone sample what it could have been:

.. math:: z^* \sim N(0, I), \qquad y = A G(z^*) + \sigma \epsilon, \qquad z_1, \dots, z_L \sim p(z \mid y)

A is a Gaussian blur, and each z_l the end of a chain of its own. If the sampled posterior is right, the truth is one
more draw of it, so its rank among the draws is uniform over 0 ... L, for every function of (z, y). This needs no real
galaxy: what is tested is the sampler, with the prior as it is; the flow is followed in few steps, and that map is the
prior. One function is the likelihood itself, which sees errors that functions of z alone do not.

References:
    | Validating Bayesian Inference Algorithms with Simulation-Based Calibration (Talts et al., 2018)
    | https://arxiv.org/abs/1804.06788
    | Simulation-Based Calibration Checking for Bayesian Computation: The Choice of Test Quantities Shapes Sensitivity
    | (Modrak et al., 2022), https://arxiv.org/abs/2211.02383
"""

import argparse
import json
import time
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

import latentzoo as lz
from latentzoo import picture
from latentzoo.energies.measure import Blur, Grey
from latentzoo.run.sampling import seeds

NAME, STEPS = "galaxygrad-hsc-32", 5
BLUR, SIGMA = 1.0, 0.05
"""The width of the blur in pixels, and the noise of a pixel, where a galaxy's brightest one is near 1."""
DRAWS = 4
TOGETHER = 8
"""How many replicates one run has."""
TRUTHS, NOISES = 2**28, 2**29
"""The runs whose streams the galaxies, and the noises, are drawn from; no chain has them."""
SHOWN = 6


def setup() -> tuple[lz.Generator, nn.Module]:
    """The map of the prior, and the operator, which sees the one channel there is."""
    generator = lz.load(NAME, steps=STEPS, recompute=False).requires_grad_(False)
    return generator, nn.Sequential(Blur(BLUR), Grey())


def functions(
    x: Float[Tensor, "N 3 H W"], misfit: Float[Tensor, "N"], z: Float[Tensor, "N D"]
) -> dict[str, Float[Tensor, "N"]]:
    """What is ranked: of the light, of the latent, and of the measurement."""
    light = x[:, 0]
    side = light.shape[1]
    at = torch.arange(side) - (side - 1) / 2
    inside = light.clamp_min(0)
    total = inside.sum((1, 2))
    return {
        "total flux": light.sum((1, 2)),
        "brightest pixel": light.amax((1, 2)),
        "flux of the core": light[
            :, side // 2 - 2 : side // 2 + 2, side // 2 - 2 : side // 2 + 2
        ].sum((1, 2)),
        "mean square radius": (inside * (at[:, None] ** 2 + at**2)).sum((1, 2)) / total,
        "elongation": (inside * (at[:, None] ** 2 - at**2)).sum((1, 2)) / total,
        "a pixel in the wings": light[:, side // 2 + 4, side // 2],
        "norm of the latent": z.norm(dim=1),
        "likelihood": misfit,
    }


@torch.no_grad()
def replicates(first: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, galaxies and measurements of some replicates; each has streams of its own."""
    generator, operator = setup()
    z = lz.Rng(*seeds(TRUTHS, count, first)).normal(generator.space.dim)
    x = generator(z)
    clean = operator(x)
    noise = lz.Rng(*seeds(NOISES, count, first)).normal(clean[0].numel()).view_as(clean)
    return z, x, clean + SIGMA * noise


def run(first: int, count: int, gradients: int) -> tuple[list[dict[str, int]], list[Tensor]]:
    """Samples some posteriors; returns the ranks, and the truths, measurements and draws, (R, L, ...)."""
    generator, operator = setup()
    z, x, y = replicates(first, count)
    each = y.repeat_interleave(DRAWS, 0)
    energy = lz.Measure(operator, each, SIGMA)
    result = lz.sample(
        lz.Posterior(generator, {"y": energy}), chains=len(each), steps=gradients, seed=first
    )
    with torch.no_grad():
        images = result.images
        truth = functions(x, lz.Measure(operator, y, SIGMA)(x), z)
        drawn = functions(images, energy(images), result.z)
    below = {k: (drawn[k].view(count, DRAWS) < truth[k][:, None]).sum(1) for k in truth}
    ranks = [{k: int(below[k][i]) for k in below} for i in range(count)]
    return ranks, [x[:, None], y[:, None], images.unflatten(0, (count, DRAWS))]


def uniformity(ranks: Tensor) -> tuple[float, float]:
    """The chi-square of ranks against the uniform law over 0 ... L, and how often uniform ranks exceed it."""
    statistic = lambda r: (
        sum(((r == k).sum(-1) - r.shape[-1] / (DRAWS + 1)).square() for k in range(DRAWS + 1))
        * ((DRAWS + 1) / r.shape[-1])
    )
    found = statistic(ranks)
    other = torch.randint(
        0, DRAWS + 1, (20_000, len(ranks)), generator=torch.Generator().manual_seed(0)
    )
    return float(found), float((statistic(other) >= found).double().mean())


def table(rows: list[dict[str, int]]) -> None:
    """Prints how often the truth had each rank, and how often it was within the draws."""
    n, inside = len(rows), (DRAWS - 1) / (DRAWS + 1)
    error = (inside * (1 - inside) / n) ** 0.5
    heads = " | ".join(map(str, range(DRAWS + 1)))
    print(f"\n| function | {heads} | chi-square | p | within the draws |")
    print(f"|---|{'---|' * (DRAWS + 4)}")
    for name in rows[0]:
        ranks = torch.tensor([row[name] for row in rows])
        counts = " | ".join(str(int((ranks == k).sum())) for k in range(DRAWS + 1))
        chi, p = uniformity(ranks)
        within = float(((ranks > 0) & (ranks < DRAWS)).double().mean())
        print(f"| {name} | {counts} | {chi:.1f} | {p:.2f} | {within:.2f} |")
    print(
        f"\n{n} replicates of {DRAWS} draws; a right posterior has each rank {n / (DRAWS + 1):.1f} times, "
        f"the truth within the draws {inside:.2f} ± {error:.2f}"
    )


def show(pictures: list[Tensor], out: Path) -> None:
    """Draws galaxies as columns: the truth, the measurement, the mean of the draws, two draws, their spread."""
    x, y, drawn = (
        part[:SHOWN].mean(2, keepdim=True).expand(-1, -1, 3, -1, -1) for part in pictures
    )
    rows = [x[:, 0], y[:, 0], drawn.mean(1), drawn[:, 0], drawn[:, 1], 3 * drawn.std(1)]
    shown = torch.cat(rows).clamp(0, 1).sqrt()  # faint wings, as astronomers stretch them
    shown = nn.functional.interpolate(shown, scale_factor=3)
    picture.write(out, picture.grid(picture.to_uint8(shown), columns=SHOWN))
    spread = float(drawn.std(1).square().mean().sqrt())
    measured, mean = (
        float((guess - x).square().mean().sqrt()) for guess in (y, drawn.mean(1, True))
    )
    print(
        f"root mean square error of the pixels shown: {measured:.4f} measured, {mean:.4f} mean of the draws; "
        f"spread of the draws {spread:.4f}"
    )


def main() -> None:
    words = argparse.ArgumentParser(
        description="Is the posterior of a blurred and noised galaxy calibrated?"
    )
    words.add_argument("--replicates", type=int, default=64)
    words.add_argument("--gradients", type=int, default=80, help="the budget of each chain")
    words.add_argument(
        "--rows", type=Path, help="a file of ranks: those it has are not made again"
    )
    words.add_argument("--picture", type=Path, default=Path("galaxies.png"))
    given = words.parse_args()
    torch.set_num_threads(1)
    before = given.rows.read_text().splitlines() if given.rows and given.rows.exists() else []
    rows, began = [json.loads(line) for line in before], time.process_time()
    while len(rows) < given.replicates:
        first = len(rows)
        ranks, pictures = run(first, min(TOGETHER, given.replicates - first), given.gradients)
        if first == 0:
            show(pictures, given.picture)
        rows += ranks
        if given.rows:
            with given.rows.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in ranks)
        print(
            f"{len(rows)} replicates, {time.process_time() - began:.0f} s of one core", flush=True
        )
    table(rows[: given.replicates])


if __name__ == "__main__":
    main()
