r"""Individuals and sub-populations of real networks: guided by one network, judged by two that never guided.

    latentzoo sweep experiments/faces.yaml --out runs/people
    python benchmarks/faces.py runs/people [--draws 1000] [--picture FILE]

*Individuals.* How near the ends of the chains are to the person, to the network that guided and to two that did not,
beside the person's mirror image, strangers (draws of the prior), and the draws of the prior that the guide finds
nearest. Where guided pictures are as near as these to the guide and farther to the others, the guide was fooled.

*Sub-populations.* A picture is happy if the judge gives it more than one half, and older if the judge takes it for
older than nine of ten draws of the prior. Rejection sampling with the same energies,

.. math:: z \sim N(0, I), \qquad P(\text{kept}) = e^{-\sum_k \lambda_k E_k(G(z))}, \qquad E_k \ge 0,

draws the same posterior exactly, so what the guides cost in the judges' eyes is known: guided chains that arrived have
its success. Intervals are of the bootstrap over pictures, at 95 %.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

import latentzoo as lz
from latentzoo import energies, picture
from latentzoo.diagnosis import metrics
from latentzoo.energies.base import Energy
from latentzoo.energies.identity import Identity
from latentzoo.record.saved import SavedRun
from latentzoo.report.evaluation import batched
from latentzoo.run.sampling import seeds

NETWORKS = {"face-api": "dlib", "human": "MobileFace", "faceres": "FaceRes"}
"""The networks of identity, and what to call them."""
DRAWS = 2**28
"""The run whose streams the draws of the prior have; no chain has them."""
STRANGERS, JUDGED = 32, 200
"""How many draws are compared with each person, and judged for the sub-populations."""
OLDER = 0.9


@dataclass
class Judges:
    """What says whether a picture is happy, and older than `limit` years."""

    happiness: Energy
    age: Energy
    limit: float

    def __call__(self, asked: str, image: Float[Tensor, "N 3 H W"]) -> Bool[Tensor, "N"]:
        """Which pictures succeed in what a run asked for."""
        succeeds = torch.ones(len(image), dtype=torch.bool)
        if "happy" in asked:
            succeeds &= batched(self.happiness, image) < -torch.tensor(0.5).log()
        if "older" in asked:
            succeeds &= years(self.age, image) > self.limit
        return succeeds


def years(age: Energy, image: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N"]:
    """How old the faces look."""
    return batched(lambda part: age.readings(part)["years"], image)


def judge(kind: str, target: str) -> Energy:
    """A judge that sees whole pictures."""
    return energies.load(kind, target, model="human", face="whole")


@torch.no_grad()
def prior(name: str, count: int) -> Float[Tensor, "N 3 H W"]:
    """Draws of the prior."""
    generator = lz.load(name)
    z = lz.Rng(*seeds(DRAWS, count)).normal(generator.space.dim)
    return batched(generator, z)


def guides(saved: SavedRun) -> list[tuple[float, Energy]]:
    """The weights and energies of a run."""
    terms = saved.record.energies
    loaded = [energies.load(t.energy, t.target, model=t.model, **t.options) for t in terms]
    return [
        (e.usual if t.weight is None else t.weight, e) for t, e in zip(terms, loaded, strict=True)
    ]


def phi(saved: SavedRun, image: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N"]:
    """What a run's chains minimise beside the prior, of other pictures."""
    return sum(weight * batched(energy, image) for weight, energy in guides(saved))  # pyright: ignore[reportReturnType]


def knows(model: str | None, person: str) -> Identity:
    """How far the faces that fill pictures are from a person's, to a network."""
    found = energies.load("identity", person, model=model, face="whole", reference=["whole"])
    return cast(Identity, found)


@torch.no_grad()
def individuals(runs: Sequence[SavedRun], draws: Float[Tensor, "N 3 H W"]) -> None:
    """Prints how near whom the networks find to the persons."""
    persons = list(dict.fromkeys(run.record.energies[0].target for run in runs))
    sets = {"mirror image": [picture.read(person).flip(-1) for person in persons]}
    for model, name in NETWORKS.items():
        guided = [run for run in runs if run.record.energies[0].model == model]
        if guided:
            sets[f"guided by {name}"] = [run.images for run in guided]
            sets[f"nearest of {len(draws)} draws to {name}"] = nearest(guided, draws)
    sets["strangers"] = [draws[:STRANGERS]] * len(persons)
    known = {model: [knows(model, person) for person in persons] for model in NETWORKS}
    units = (next(iter(each[0].readings(draws[:1]))) for each in known.values())
    heads = (f"{name}, {unit}" for name, unit in zip(NETWORKS.values(), units, strict=True))
    print(f"\n| whom | {' | '.join(heads)} |")
    print(f"|---|{'---|' * len(NETWORKS)}")
    for whom, images in sets.items():
        told = (told_of(each, images) for each in known.values())
        print(f"| {whom} | {' | '.join(told)} |")


def nearest(
    runs: Sequence[SavedRun], draws: Float[Tensor, "N 3 H W"]
) -> list[Float[Tensor, "B 3 H W"]]:
    """The draws that one guide of identity finds nearest to the person of each run, as many as the run has chains."""
    persons = [knows(run.record.energies[0].model, run.record.energies[0].target) for run in runs]
    seen = batched(persons[0].network.embed, draws)
    far = (person.network.distance(seen, person.embedded).mean(1) for person in persons)
    return [draws[d.argsort()[: run.chains]] for d, run in zip(far, runs, strict=True)]


def told_of(known: Sequence[Energy], images: Sequence[Float[Tensor, "N 3 H W"]]) -> str:
    """What a network reads of pictures for each person, over all: a similarity or a distance."""
    seen = [next(iter(e.readings(x).values())) for e, x in zip(known, images, strict=True)]
    return interval(metrics.mean(torch.cat(seen)))


def interval(found: metrics.Estimate) -> str:
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


@torch.no_grad()
def populations(runs: Sequence[SavedRun], draws: Float[Tensor, "N 3 H W"]) -> None:
    """Prints how many pictures succeed, before and after, beside rejection sampling with the same energies."""
    age = judge("age", "40")
    few = draws[:JUDGED]
    limit = float(years(age, few).quantile(OLDER))
    judges = Judges(judge("attribute", "happy"), age, limit)
    print(f"\nolder means more than {limit:.1f} years for the judge")
    print("\n| asked | prior | guided | rejection sampling | of draws kept |")
    print("|---|---|---|---|---|")
    u = torch.rand(len(draws), generator=torch.Generator().manual_seed(0))
    for run in runs:
        kept = draws[u < (-phi(run, draws)).exp()]
        share = lambda image, name=run.name: metrics.mean(judges(name, image).double())
        told = [share(image) if len(image) > 1 else None for image in (few, run.images, kept)]
        cells = (
            "-" if x is None else f"{x.value:.2f} ({x.low:.2f} to {x.high:.2f})" for x in told
        )
        print(f"| {run.name} | {' | '.join(cells)} | {len(kept)} of {len(draws)} |")


def show(runs: Sequence[SavedRun], out: Path) -> None:
    """Draws a row for each person: the person and the ends of the chains, guide by guide."""
    parts: dict[str, list[Tensor]] = {}
    for run in runs:
        person = run.record.energies[0].target
        parts.setdefault(person, []).extend([picture.read(person), run.images])
    rows = [torch.cat(part) for part in parts.values()]
    picture.write(out, picture.grid(picture.to_uint8(torch.cat(rows)), columns=len(rows[0])))


def main() -> None:
    words = argparse.ArgumentParser(description="Judges the runs of experiments/faces.yaml.")
    words.add_argument("runs", type=Path)
    words.add_argument("--draws", type=int, default=1000)
    words.add_argument("--picture", type=Path)
    given = words.parse_args()
    runs = [lz.open(path) for path in sorted(given.runs.iterdir())]
    persons = [run for run in runs if run.record.energies[0].energy == "identity"]
    others = [run for run in runs if run not in persons]
    draws = prior(runs[0].record.generator, given.draws)
    if given.picture is not None:
        show(persons, given.picture)
    individuals(persons, draws)
    populations(others, draws)
    for run in runs:
        print(f"{run.name}: {(run.diagnosis or {}).get('verdict')}")


if __name__ == "__main__":
    main()
