"""Whether a text-to-image pipeline of avatars shows what its prompt says, by the held-out judge, against chance.

    python benchmarks/captions.py [avatar-t2i] [--captions 256] [--options num_inference_steps=4 ...] [--sheet FILE]

says captions about avatars that no network has seen, makes one picture of each, and prints a row for each number of
attributes that a caption speaks of, and one for each attribute.

| column | meaning |
|---|---|
| each | the share of the attributes spoken of that the judge sees, with Wilson's 95 % interval |
| chance | the mean exact probability of those attributes, each by itself |
| all | the share of captions of which the judge sees everything, and the exact probability of that |
| captions | how many |

A sheet has a row of twelve pictures for each of :data:`SHOWN`.
"""

import argparse
import random
import sys
from collections import defaultdict
from pathlib import Path

import torch
import yaml

from latentzoo import Rng, picture, zoo
from latentzoo.builtin.attributes import judge, log_probability
from latentzoo.builtin.avatars import NAMES, draw, probability
from latentzoo.builtin.captions import describe, parse
from latentzoo.builtin.study.findings import wilson
from latentzoo.builtin.train.captioned import PREVIEW

STREAM = 99
"""The stream of avatars that no network has seen."""
SHOWN = (*PREVIEW, "a person with a green hoodie, a red beanie and sunglasses")
Seen = list[tuple[bool, float]]


def texts(count: int) -> list[str]:
    """Captions that speak of one attribute or more."""
    said = random.Random(STREAM)
    made = (describe(draw(STREAM, n), said, positive=0.9) for n in range(2 * count))
    return [text for text in made if parse(text)][:count]


@torch.no_grad()
def look(name: str, captions: list[str], options: dict[str, object]) -> list[dict[str, bool]]:
    """Which attributes of each caption the judge sees in a picture of it."""
    network, seen = judge(), []
    for start in range(0, len(captions), 16):
        part = captions[start : start + 16]
        G = zoo.load(name, prompt=part, **options)  # pyright: ignore[reportArgumentType]
        z = Rng(*range(2**33 + start, 2**33 + start + len(part))).normal(G.space.dim)
        reading = network.heads(network.features(G(z).clamp(0, 1)))
        for row, text in enumerate(part):
            one = {key: value[row : row + 1] for key, value in reading.items()}
            found = log_probability(one, parse(text))
            seen.append({key: value.exp().item() > 0.5 for key, value in found.items()})
    return seen


@torch.no_grad()
def sheet(name: str, options: dict[str, object], path: Path) -> None:
    """Writes a picture of twelve pictures for each of some prompts, the same starts in each row."""
    asked = [text for text in SHOWN for _ in range(12)]
    G = zoo.load(name, prompt=asked, **options)  # pyright: ignore[reportArgumentType]
    z = Rng(*(list(range(12)) * len(SHOWN))).normal(G.space.dim)
    picture.write(path, picture.grid(picture.to_uint8(G(z)), columns=12))


def row(label: str, each: Seen, whole: Seen) -> str:
    """A line of the table."""
    share = lambda of: sum(x for x, _ in of) / len(of)
    chance = lambda of: sum(p for _, p in of) / len(of)
    low, high = wilson(sum(x for x, _ in each), len(each))
    every = f"{share(whole):.2f}, {chance(whole):.3f}" if whole else ""
    return (
        f"| {label} | {share(each):.2f} ({low:.2f} to {high:.2f}) | {chance(each):.2f} | {every} | "
        f"{len(whole) or len(each)} |\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Does a pipeline of avatars follow captions?")
    parser.add_argument("pipeline", nargs="?", default="avatar-t2i")
    parser.add_argument("--captions", type=int, default=256)
    parser.add_argument("--options", nargs="*", default=[])
    parser.add_argument("--sheet", type=Path)
    given = parser.parse_args()
    options = {k: yaml.safe_load(v) for k, _, v in (o.partition("=") for o in given.options)}
    if given.sheet is not None:
        sheet(given.pipeline, options, given.sheet)
    captions = texts(given.captions)
    seen = look(given.pipeline, captions, options)
    each, whole, names = defaultdict(list), defaultdict(list), defaultdict(list)
    for text, found in zip(captions, seen, strict=True):
        wanted = parse(text)
        for name, there in found.items():
            one = (there, probability({name: wanted[name]}))
            each[len(wanted)].append(one)
            names[name].append(one)
        whole[len(wanted)].append((all(found.values()), probability(wanted)))
    sys.stdout.write("| spoken of | each | chance | all | captions |\n|---|---|---|---|---|\n")
    for count in sorted(whole):
        sys.stdout.write(row(str(count), each[count], whole[count]))
    flat = lambda of: [x for part in of.values() for x in part]
    sys.stdout.write(row("any number", flat(each), flat(whole)))
    for name in NAMES:
        if names[name]:
            sys.stdout.write(row(name, names[name], []))


if __name__ == "__main__":
    main()
