"""Compositions of one to four things, by every method at one cost, against a truth that is known.

    python benchmarks/compositions.py [experiments/compositions.yaml] [--out runs/compositions] [--chains N]
        [--gradients N...] [--things N...] [--methods NAME...] [--first N] [--generator NAME]

asks a generator of avatars for each prompt by each method, and lets the held-out judge count. All methods see the same
streams of noise. Cells are kept in OUT/cells.jsonl with all that they were made by, so that a run that was stopped goes
on, and those of other settings are left out; OUT/compositions.md is the table and OUT/compositions.png the figure.

| column | meaning |
|---|---|
| success | the share in which the judge sees the whole prompt, with Wilson's 95 % interval over prompts and chains |
| each | the share of the prompt's attributes that the judge sees |
| diversity | the mean distance of two pictures of one prompt in the judge's features |
| bias | the mean total variation of the attributes to their exact frequencies given the prompt |
| energy | the median of the guide's energy in the pictures, in nats: what the methods make small |
| trusted | of how many of the prompts' runs the verdict is `trustworthy`; nothing where no run was judged |
| held-out gain | how much of the gain of the guide's energy over the unguided pictures the judge sees, see `hacking` |

Chance is the exact probability of the prompts. Bias is of few pictures and mostly chance: compare it between methods.
A second table tells the success of pictures by the energy that they reached, whichever method made them, and for how
many of the prompts the judge sees fewer than half of those below 0.1: there the two networks disagree.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from itertools import pairwise, product, zip_longest
from pathlib import Path
from statistics import median
from typing import Any

import torch
import yaml

import latentzoo as lz
from latentzoo import energies, kernels, zoo
from latentzoo.builtin.attributes import judge, log_probability, read
from latentzoo.builtin.study.findings import find, rarity, wilson
from latentzoo.report import hacking

START = "unguided"
COLUMNS = ("things", "method", "gradients", "success", "each", "diversity", "bias", "energy")
COLUMNS += ("trusted", "held-out gain", "pictures")
ENERGIES = (0.0, 0.002, 0.008, 0.03, 0.1, float("inf"))
"""Between which energies pictures are counted together, in nats."""
Cell = dict[str, Any]


def cells(study: dict[str, Any], known: list[Cell]) -> Iterator[Cell]:
    """The cells that are not known yet, each as soon as it is there: first the first prompt of each count of things."""
    there = {(c["prompt"], c["method"], c["gradients"]) for c in own(study, known)}
    for budget, (things, prompt) in product(study["gradients"], _in_turns(study["prompts"])):
        for method, settings in study["methods"].items():
            gradients = 0 if settings is None else budget
            if (prompt, method, gradients) not in there:
                there.add((prompt, method, gradients))
                found = cell(study, prompt, settings, gradients)
                named = {"things": things, "prompt": prompt, "method": method}
                yield {**named, "gradients": gradients, "made_by": made_by(study, method), **found}


def own(study: dict[str, Any], known: list[Cell]) -> list[Cell]:
    """The cells that were made by the settings of this study."""
    methods = {method: made_by(study, method) for method in study["methods"]}
    return [
        c for c in known if c["method"] in methods and c.get("made_by") == methods[c["method"]]
    ]


def made_by(study: dict[str, Any], method: str) -> Cell:
    """All that decides a cell beside its prompt and its gradients."""
    shared = {key: study[key] for key in ("generator", "options", "guide", "chains", "seed")}
    return {**shared, "settings": study["methods"][method]}


def _in_turns(prompts: dict[int, list[str]]) -> list[tuple[int, str]]:
    """The number of things and the prompt: the first of each number, then the second of each."""
    rows = zip_longest(*([(things, each) for each in of] for things, of in prompts.items()))
    return [one for row in rows for one in row if one]


def cell(study: dict[str, Any], prompt: str, settings: Cell | None, gradients: int) -> Cell:
    """One prompt by one method: what the judge sees, and both energies of every chain."""
    settings = settings or {}
    options = study["options"] | settings.get("map", {})
    begun, G = time.process_time(), _generator(study["generator"], options, prompt)
    guide = energies.load("attribute", prompt, model=study["guide"])
    chains = settings.get("chains", study["chains"])
    seeds = range(study["seed"] << 32, (study["seed"] << 32) + chains)
    z, verdict = lz.Rng(*seeds).normal(G.space.dim), None
    if "kernel" in settings:
        result = lz.sample(
            lz.Posterior(G, {"prompt": settings["weight"] * guide}, micro_batch=8),
            chains=chains,
            steps=gradients,
            seed=study["seed"],
            kernel=kernels.load(settings["kernel"], **settings.get("options", {})),
            best="prompt" if settings.get("best") else None,
            progress=False,
        )
        z, verdict = result.z, result.diagnosis.verdict
    with torch.no_grad():
        image = torch.cat([G(part) for part in z.split(8)]).clamp(0, 1)
        found, network = find(image, prompt), judge()
        parts = log_probability(network.heads(network.features(image)), read(prompt))
        asked = torch.stack(list(parts.values()))
        return {
            "success": [int(x) for x in found.successes],
            "each": float((asked.exp() > 0.5).float().mean()),
            "verdict": verdict,
            "diversity": found.diversity,
            "bias": found.bias,
            "optimised": guide(image).tolist(),
            "held_out": (-asked.sum(0)).tolist(),
            "seconds": round(time.process_time() - begun, 2),
        }


def _generator(name: str, options: dict[str, Any], prompt: str) -> lz.Generator:
    """A map of the study; a text-to-image pipeline is told the prompt, too."""
    if name in zoo.names():
        return zoo.load(name, **options)
    return zoo.load(name, prompt=prompt, **options)


def table(study: dict[str, Any], found: list[Cell]) -> Iterator[str]:
    """The lines of the table, a row for each method, gradients and number of things."""
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|" + "---|" * len(COLUMNS)
    order = list(study["methods"])
    rows = sorted({(c["gradients"], order.index(c["method"]), c["method"]) for c in found})
    for things in _counts(study, found):
        asked = {c["prompt"] for c in found if c["things"] == things}
        chance = _mean([rarity(prompt) for prompt in asked])
        yield f"| {things} | chance | - | {chance:.2g} | | | | | | | |"
        for gradients, _, method in rows:
            mine = _of(found, things, method, gradients)
            if mine:
                yield f"| {things} | {method} | {gradients} | {_row(mine, _of(found, things, START, 0))} |"


def _counts(study: dict[str, Any], found: list[Cell]) -> list[int]:
    """The numbers of things of which there are cells."""
    return [n for n in study["prompts"] if any(c["things"] == n for c in found)]


def _of(found: list[Cell], things: int, method: str, gradients: int) -> list[Cell]:
    wanted = (things, method, gradients)
    return [c for c in found if (c["things"], c["method"], c["gradients"]) == wanted]


def _row(mine: list[Cell], start: list[Cell]) -> str:
    seen = [x for c in mine for x in c["success"]]
    low, high = wilson(sum(seen), len(seen))
    mean = lambda key: _mean([c[key] for c in mine if c[key] is not None])
    judged = [c["verdict"] for c in mine if c.get("verdict") is not None]
    trusted = f"{judged.count('trustworthy')} of {len(judged)}" if judged else ""
    energy = median(x for c in mine for x in c["optimised"])
    gain, before = "", {c["prompt"]: c for c in start}
    pictures = lambda c: len(c["success"])
    # Each picture's gain is over the unguided one of its noise, which a method with more chains has not.
    paired = all(
        c["prompt"] in before and pictures(before[c["prompt"]]) == pictures(c) for c in mine
    )
    if mine[0]["method"] != START and paired:
        pairs = [
            tuple(
                torch.tensor([x for c in side for x in c[key]])
                for side in ([before[c["prompt"]] for c in mine], mine)
            )
            for key in ("optimised", "held_out")
        ]
        share = hacking.share(*pairs)  # pyright: ignore[reportArgumentType]
        gain = f"{share.value:.2f} ({share.low:.2f} to {share.high:.2f})"
    return (
        f"{sum(seen) / len(seen):.2f} ({low:.2f} to {high:.2f}) | {mean('each'):.2f} | "
        f"{mean('diversity'):.0f} | {mean('bias'):.2f} | {energy:.2g} | {trusted} | {gain} | {len(seen)}"
    )


def by_energy(study: dict[str, Any], found: list[Cell]) -> Iterator[str]:
    """The lines of the table of success by the energy that was reached."""
    bounds = list(pairwise(ENERGIES))
    names = [f"{low:g} to {high:g}" for low, high in bounds[:-1]] + [f"above {bounds[-1][0]:g}"]
    yield f"| things | {' | '.join(names)} | prompts that the judge sees in fewer than half |"
    yield "|" + "---|" * (len(names) + 2)
    for things in _counts(study, found):
        seen = [
            (c["prompt"], energy, x)
            for c in found
            if c["things"] == things and c["method"] != START
            for energy, x in zip(c["optimised"], c["success"], strict=True)
        ]
        cells = [_share([x for _, e, x in seen if low <= e < high]) for low, high in bounds]
        sure = [(prompt, x) for prompt, energy, x in seen if energy < ENERGIES[-2]]
        shares = [_mean([x for p, x in sure if p == one]) for one in {p for p, _ in sure}]
        hard = sum(share < 0.5 for share in shares)
        yield f"| {things} | {' | '.join(cells)} | {hard} of {len(shares)} |"


def _share(seen: list[int]) -> str:
    """A share with its interval and the number of pictures; nothing of none."""
    if not seen:
        return ""
    low, high = wilson(sum(seen), len(seen))
    return f"{sum(seen) / len(seen):.2f} ({low:.2f} to {high:.2f}), {len(seen)}"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def figure(study: dict[str, Any], found: list[Cell], path: Path) -> None:
    """Success over the number of things, a line for each method at the study's first budget, with intervals."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(6, 3.6), layout="constrained")
    axes = drawing.subplots()
    counts, first = _counts(study, found), study["gradients"][0]
    for shift, (method, settings) in enumerate(study["methods"].items()):
        of = {n: _of(found, n, method, 0 if settings is None else first) for n in counts}
        of = {n: cells for n, cells in of.items() if cells}
        if not of:
            continue
        seen = [[x for c in cells for x in c["success"]] for cells in of.values()]
        share = [_mean([float(x) for x in s]) for s in seen]
        bounds = [wilson(sum(s), len(s)) for s in seen]
        error = [[max(y - b[0], 0.0) for y, b in zip(share, bounds, strict=True)]]
        error += [[max(b[1] - y, 0.0) for y, b in zip(share, bounds, strict=True)]]
        places = [n + 0.07 * (shift - 2.5) for n in of]
        axes.errorbar(places, share, yerr=error, marker="o", capsize=3, label=method)
    asked = [{c["prompt"] for c in found if c["things"] == n} for n in counts]
    chance = [_mean([rarity(prompt) for prompt in prompts]) for prompts in asked]
    axes.plot(counts, chance, "k:", label="chance")
    axes.set_xticks(counts)
    axes.set_xlabel("things asked for")
    axes.set_ylabel(f"success at {first} gradients")
    drawing.legend(loc="outside upper center", ncols=4, fontsize="small")
    drawing.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description="Compositions, by every method at one cost.")
    parser.add_argument(
        "study", nargs="?", type=Path, default=Path("experiments/compositions.yaml")
    )
    parser.add_argument("--out", type=Path, default=Path("runs/compositions"))
    parser.add_argument("--generator")
    parser.add_argument("--chains", type=int)
    parser.add_argument("--gradients", type=int, nargs="+")
    parser.add_argument("--things", type=int, nargs="+", help="only prompts of so many things")
    parser.add_argument("--methods", nargs="+", help="only these")
    parser.add_argument("--first", type=int, help="only so many prompts of each number of things")
    given = parser.parse_args()
    study = yaml.safe_load(given.study.read_text(encoding="utf-8"))
    study |= {
        k: getattr(given, k) for k in ("generator", "chains", "gradients") if getattr(given, k)
    }
    asked = study | {
        "prompts": {
            n: v[: given.first] for n, v in study["prompts"].items() if n in (given.things or [n])
        },
        "methods": {
            k: v for k, v in study["methods"].items() if k in (given.methods or study["methods"])
        },
    }
    given.out.mkdir(parents=True, exist_ok=True)
    kept = given.out / "cells.jsonl"
    found = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    try:
        for one in cells(asked, found):
            found.append(one)
            with kept.open("a") as file:
                file.write(json.dumps(one) + "\n")
    except KeyboardInterrupt:
        sys.stderr.write("stopped; this is what there is, and the same command goes on\n")
    found = own(study, found)
    text = "\n".join([*table(study, found), "", *by_energy(study, found)]) + "\n"
    (given.out / "compositions.md").write_text(text)
    figure(study, found, given.out / "compositions.png")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
