"""Real faces of 1024 pixels, made older and smiling by one project's networks, judged by another's.

    python benchmarks/faces.py [--chains 4] [--steps 24] [--out runs/faces] [--portrait PICTURE]

A chain's posterior is N(0, I) times the likelihoods `age=70 +- 5` and `attribute=happy` of face-api, or with
--portrait the identity of its face. The judges are FaceRes and Emotion of "human", or MobileFace, which never guided.
Prints what they think of each chain's first draw from the prior and of its end, and the run's verdict; writes
pairs.png, first draws above, ends below.

The weights are MobileStyleGAN's (Belousov, 2021, arXiv 2104.04767), distilled from StyleGAN2 on FFHQ: credit both.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.nn import functional as F

import latentzoo as lz
from latentzoo import energies, picture
from latentzoo.guides import faces, human, packages

SIDE = 384  # of a face in pairs.png
Judge = Callable[[Tensor], Tensor]


def older() -> tuple[dict[str, object], dict[str, Judge]]:
    """The terms of an old face that smiles, and who judges it."""
    terms = {
        "age": energies.load("age", "70 +- 5", model="face-api"),
        "happy": 5 * energies.load("attribute", "happy", model="face-api"),
    }
    folder = packages.fetch("human")
    age, emotion = human.FaceRes(folder), human.Emotion(folder)
    happy = human.EMOTIONS.index("happy")
    return terms, {
        "FaceRes, years": lambda x: age(x)[0],
        "Emotion, P(happy)": lambda x: emotion(x)[:, happy],
    }


def like(portrait: str) -> tuple[dict[str, object], dict[str, Judge]]:
    """The term of a person, and who judges it."""
    image = picture.read(portrait)
    face = faces.Finding()(image, source=portrait)(image)
    judge = human.MobileFace(packages.fetch("human"))
    wanted = judge(face)
    terms = {"identity": 200 * energies.load("identity", portrait, model="face-api")}
    return terms, {"MobileFace, cosine": lambda x: F.cosine_similarity(judge(x), wanted)}


@torch.no_grad()
def shown(generator: lz.Generator, z: Tensor) -> Tensor:
    """The pictures of latents, one after another: a batch of 1024 pixels is large."""
    return torch.cat([generator(row) for row in z.split(1)])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--chains", type=int, default=4)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/faces"))
    parser.add_argument("--portrait")
    chosen = parser.parse_args()
    began = time.perf_counter()
    generator = lz.load("mobilestylegan-ffhq-1024")
    terms, judges = like(chosen.portrait) if chosen.portrait else older()
    target = lz.Posterior(generator, terms, micro_batch=1)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("sampling", total=chosen.steps)
        watch = lambda frame: progress.update(task, completed=frame.step)
        result = lz.sample(
            target, chains=chosen.chains, steps=chosen.steps, seed=chosen.seed, watch=watch
        )
    seconds = time.perf_counter() - began
    seeds = [chosen.seed * 2**32 + c for c in range(chosen.chains)]
    before = shown(generator, lz.Rng(*seeds).normal(generator.space.dim))
    after = shown(generator, result.z)
    for name, judge in judges.items():
        for when, images in (("first draws", before), ("ends", after)):
            values = "  ".join(f"{float(v):7.2f}" for v in judge(faces.FFHQ(images)))
            print(f"{name:20} {when:12} {values}")
    print(
        f"{chosen.chains} chains, {chosen.steps} gradients each: {seconds:.0f} s, {torch.get_num_threads()} threads"
    )
    print(
        f"face: {faces.FFHQ}; |z|^2/d: "
        + "  ".join(f"{v:.2f}" for v in result.z.square().mean(1).tolist())
    )
    print(result.diagnosis)
    chosen.out.mkdir(parents=True, exist_ok=True)
    small = F.interpolate(torch.cat([before, after]), size=(SIDE, SIDE), mode="area")
    picture.write(
        chosen.out / "pairs.png", picture.grid(picture.to_uint8(small), columns=chosen.chains)
    )
    print(chosen.out / "pairs.png")


if __name__ == "__main__":
    main()
