"""What a translation between two worlds keeps, and what it changes: CycleDiffusion beside SDEdit.

    python benchmarks/translate.py [--pictures 128] [--data train/data] [--strip docs/images/translate.png]

Held-out avatars without hats go from `avatar-ldm-bareheaded` to `avatar-ldm-hats`. A judge that no
generator was trained with reads the attributes of original and translation. A row of the table
says which part of the pictures gained a hat, how often each attribute that both worlds share was
kept, and how far the face itself moved (mean absolute difference of the pixels below the brow). Hair
is hidden under hats; its colour is compared where a beard shows it. "the judge itself" compares
its readings with the truth of the originals: nothing is kept more surely than it is read. The best
row of SDEdit is that with the largest product of the two shares, hat and kept.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentzoo import picture
from latentzoo.builtin import attributes
from latentzoo.builtin.avatars import HIDDEN, NAMES, VALUES, Avatar, draw
from latentzoo.builtin.drawing import render
from latentzoo.diffusion.translate import sdedit, translate
from latentzoo.rng import Rng
from latentzoo.zoo import load

SEED = 1
"""The stream of held-out avatars."""
SHARED = (
    *("skin", "glasses", "eyes", "eyebrows", "mouth", "facial_hair", "hair_color"),
    *("clothing_color", "background"),
)
STRENGTHS = (0.4, 0.6, 0.8)
FACE = (slice(None), slice(None), slice(28, 54), slice(18, 46))


def originals(count: int, data: Path) -> tuple[list[Avatar], Tensor]:
    """The first held-out avatars without hats, and their pictures (N, 3, 64, 64)."""
    stored = data / f"avatars-{SEED}-2048.npy"
    pixels = np.load(stored, mmap_mode="r") if stored.exists() else None
    avatars, x, index = [], [], 0
    while len(x) < count:
        avatar = draw(SEED, index)
        if avatar.hat == "none":
            avatars.append(avatar)
            x.append(render(avatar) if pixels is None else pixels[index])
        index += 1
    return avatars, torch.from_numpy(np.stack(x)).permute(0, 3, 1, 2).float() / 255


@torch.no_grad()
def read(x: Tensor) -> dict[str, Tensor]:
    """The likeliest value of each attribute, as the held-out judge sees it."""
    said = attributes.judge()(x.clamp(0, 1))
    return {name: said[name].argmax(1) for name in NAMES}


def kept(before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, float]:
    """How often each shared attribute is the same, where it can be seen in the original."""
    result = {}
    for name in SHARED:
        seen = torch.ones_like(before[name], dtype=torch.bool)
        if name in HIDDEN:
            seen = before[name] != VALUES[name].index(HIDDEN[name])
        if name == "hair_color":
            seen &= before["facial_hair"] != VALUES["facial_hair"].index("none")
        result[name] = float((before[name] == after[name])[seen].float().mean())
    return result


def row(name: str, x: Tensor, y: Tensor, before: dict[str, Tensor]) -> float:
    """Prints a row of the table; gives the product of the share with a hat and the mean share kept."""
    after = read(y)
    hat = float((after["hat"] != VALUES["hat"].index("none")).float().mean())
    same = kept(before, after)
    mean = sum(same.values()) / len(same)
    moved = float((y - x)[FACE].abs().mean())
    cells = [f"{hat:.2f}", f"{mean:.2f}", *(f"{v:.2f}" for v in same.values()), f"{moved:.3f}"]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return hat * mean


def main(options: argparse.Namespace) -> None:
    avatars, x = originals(options.pictures, options.data)
    before = read(x)
    truth = torch.tensor([avatar.indices() for avatar in avatars])
    print(f"| {len(x)} pictures | hat | kept | {' | '.join(SHARED)} | face moved |")
    print(f"|{' --- |' * (len(SHARED) + 4)}")
    row("the judge itself", x, x, {n: truth[:, k] for k, n in enumerate(NAMES)})
    strip = [x[: options.columns]]

    def run(name: str, make: Callable[[Tensor, Rng], Tensor]) -> tuple[float, Tensor]:
        chunks = torch.arange(len(x)).split(16)
        y = torch.cat([make(x[i], Rng(*(i + 2**20).tolist())) for i in chunks])
        return row(name, x, y, before), y[: options.columns]

    for name, eta in (("CycleDiffusion, stochastic", 1.0), ("CycleDiffusion, deterministic", 0.0)):
        a, b = (
            load(f"avatar-ldm-{world}", steps=options.steps, eta=eta)
            for world in ("bareheaded", "hats")
        )
        strip.append(run(name, lambda image, rng, a=a, b=b: translate(image, a, b, rng))[1])
    target = load("avatar-ldm-hats", steps=options.steps, eta=1.0)
    baselines = [
        run(f"SDEdit {s:g}", lambda image, rng, s=s: sdedit(image, target, rng, strength=s))
        for s in STRENGTHS
    ]
    strip.append(max(baselines, key=lambda pair: pair[0])[1])
    if options.strip is not None:
        rows = torch.stack(strip).permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2)
        picture.write(options.strip, picture.to_uint8(rows[None])[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=128)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--columns", type=int, default=10, help="pictures in the strip")
    parser.add_argument("--data", type=Path, default=Path("train/data"))
    parser.add_argument("--strip", type=Path)
    main(parser.parse_args())
