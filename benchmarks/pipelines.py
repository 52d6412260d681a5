"""What every text-to-image pipeline of diffusers is as a map: the table of docs/text-to-image.md.

    python benchmarks/pipelines.py [CLASS ...] [--cost] [--classes]

Each pipeline is the tiny random one of the tests (tests/zoo/pipelines, every.py). Blocks: the latent, draws
without influence left out. Own call: the largest difference to the pipeline's own call, at one picture and at
three, where a call makes several. Batch: the largest difference between a picture alone and in a batch, in 64
bits. Gradient: against central differences, in 64 bits. Encoders: whether they leave memory. With --cost: the map's
overhead, and its memory. With --classes: what becomes of every pipeline class of the installed diffusers.
"""

import argparse
import multiprocessing
import platform
import statistics
import sys
import time
import warnings
from pathlib import Path

import torch

from latentzoo.diagnosis.check import check
from latentzoo.rng import Rng
from latentzoo.zoo.pipelines.pipeline import TextToImage
from resident import held

sys.path[:0] = [
    str(Path(__file__).parents[1] / "tests" / part) for part in ("zoo", "zoo/pipelines")
]

FEW = 8
"""So many classes are listed by their names."""


def row(name: str) -> list[str]:
    """What is measured of one pipeline."""
    import test_pipelines as laws

    about = laws.ALL[name]
    pipe = about()
    generator = TextToImage(pipe, about.prompt if laws.takes_text(pipe) else None, **about.call)
    differences = []
    for n in (1, 3):
        if n > 1 and generator.alone:
            differences.append("-")
            continue
        image, drawn = laws.own(pipe, about.call, n, about.prompt)
        with torch.no_grad():
            mine = generator(laws.latent(generator, drawn))
        differences.append(f"{laws.near(mine, image):.1e}")
    stay = any("text_encoder" in k or k == "bert" for k in generator.nets)
    label = f"`{about.name}`" if name == about.name else f"`{about.name}` ({name})"
    batch, slope = measured(generator) if about.exact else ("-", "-")
    return [label, str(generator.space), *differences, batch, slope, "stay" if stay else "leave"]


def measured(generator: TextToImage) -> tuple[str, str]:
    """The independence of the batch, and the gradient's error, in 64 bits."""
    (slope,) = [law.measured for law in check(generator).laws if "differences" in law.name]
    generator = generator.double()
    z = Rng(1, 2, 3, dtype=torch.float64).normal(generator.space.dim)
    with torch.no_grad():
        alone = torch.cat([generator(r) for r in z.split(1)])
        batch = float((generator(z) - alone).abs().max())
    return f"{batch:.1e}", f"{slope:.1e}"


def table(names: list[str]) -> None:
    head = ["pipeline", "blocks", "own call, 1", "own call, 3", "batch", "gradient", "encoders"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name in names:
        print(f"| {' | '.join(row(name))} |", flush=True)


def overhead(steps: int = 20, repeats: int = 15) -> float:
    """Seconds of the map over those of the pipeline's own call, tiny FLUX, medians of turns."""
    import tiny

    about = tiny.MADE["FluxPipeline"]
    pipe, call = about(), {**about.call, "num_inference_steps": steps}
    generator = TextToImage(pipe, tiny.PROMPT, **call)
    z = Rng(1).normal(generator.space.dim)
    own = lambda: pipe(prompt=tiny.PROMPT, **call, output_type="np")
    seconds: dict = {own: [], generator: []}
    with torch.no_grad():
        for i in range(repeats + 2):
            for f in seconds:
                start = time.perf_counter()
                _ = f() if f is own else f(z)
                if i > 1:
                    seconds[f].append(time.perf_counter() - start)
    return statistics.median(seconds[generator]) / statistics.median(seconds[own])


def peak(steps: int, recompute: bool | str, queue) -> None:
    """Peak MB of a gradient above what is held before, tiny SDXL, two chains of 64 x 64 pixels."""
    import tiny

    about = tiny.MADE["StableDiffusionXLPipeline"]
    call = {**about.call, "num_inference_steps": steps, "height": 64, "width": 64}
    generator = TextToImage(about(), tiny.PROMPT, recompute=recompute, **call)
    z = Rng(1, 2).normal(generator.space.dim).requires_grad_()
    before = held()
    generator(z).sum().backward()
    queue.put(held() - before)


def cost() -> None:
    print(f"overhead of the map, 20 steps of tiny FLUX: {overhead():.2f} times the own call")
    context = multiprocessing.get_context("spawn")
    for recompute in (True, "lean", False):
        found = []
        for steps in (2, 20):
            queue = context.Queue()
            process = context.Process(target=peak, args=(steps, recompute, queue))
            process.start()
            found.append(queue.get())
            process.join()
        print(
            f"memory of a gradient, tiny SDXL, recompute={recompute}: {found[0]:.0f} MB at 2 steps, "
            f"{found[1]:.0f} MB at 20"
        )


def classes() -> None:
    """The list that the law of tests/zoo/pipelines/test_every.py holds, by what becomes of each class."""
    import test_every

    print("| what | classes | which |\n|---|---|---|")
    for what, names in test_every.lists().items():
        which = ", ".join(f"`{name}`" for name in sorted(names)) if len(names) <= FEW else ""
        print(f"| {what} | {len(names)} | {which} |")


def main() -> None:
    import test_pipelines as laws

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--classes", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    import diffusers

    print(
        f"diffusers {diffusers.__version__}, torch {torch.__version__}, {platform.machine()}, one core\n"
    )
    if given.cost:
        cost()
    elif given.classes:
        classes()
    else:
        table(given.names or list(laws.ALL))


if __name__ == "__main__":
    main()
