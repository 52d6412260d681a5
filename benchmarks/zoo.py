"""What a generator costs: time per image and peak memory, forward and with the gradient, of every family.

    python benchmarks/zoo.py [FAMILY ...] [--full] [--repeats 3] [--batch 1]

Each family is measured as the small file of its tests (tests/zoo/official.py) and, with --full, as its first card says,
with random weights; each in a process of its own, so that the peak memory is its own. Seconds per image, medians.
"""

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from latentzoo import zoo
from latentzoo.errors import LatentzooError
from latentzoo.generator import Generator
from latentzoo.hub.fit import uninitialised
from latentzoo.rng import Rng
from resident import held

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / part) for part in ("zoo", "parity")]


def small(name: str) -> Generator:
    """The generator of a small file in the official layout."""
    import official

    family, write, options = official.FILES[name]
    with tempfile.TemporaryDirectory() as folder:
        return zoo.load(write(Path(folder)), family=family, **options)


def full(name: str) -> Generator:
    """The generator of a card, without its file: random weights of a size that keeps activations finite."""
    card = zoo.card(name)
    with uninitialised():
        generator = zoo.family(card.family).build(**card.config)
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*generator.parameters(), *generator.buffers()):
            if tensor.is_floating_point() and tensor.ndim > 1:
                tensor.normal_(0, tensor[0].numel() ** -0.5, generator=stream)
            elif tensor.is_floating_point():
                tensor.fill_(1.0)
    return generator.eval().requires_grad_(False)


def timed(function: Callable[[], object], repeats: int) -> float:
    """The median time of a call, after one that warms up."""
    function()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def measure(make: Callable[[str], Generator], name: str, batch: int, repeats: int) -> str:
    """One line: size, latent dimension, parameters, seconds per image, peak memory."""
    try:
        generator = make(name)
        z = Rng(*range(batch)).normal(generator.space.dim)

        def gradient() -> None:
            at = z.clone().requires_grad_()
            torch.autograd.grad(generator(at).sum(), at)

        with torch.no_grad():
            forward = timed(lambda: generator(z), repeats) / batch
        backward = timed(gradient, repeats) / batch
    except (LatentzooError, TypeError) as error:
        return f"{name:32} not measured: {error}"
    weights = sum(p.numel() for p in generator.parameters()) / 1e6
    peak = held() / 1024
    size = "x".join(map(str, generator.size))
    return f"{name:32}{size:>10}{z.shape[1]:>9}{weights:>9.1f}{forward:>10.4f}{backward:>10.4f}{peak:>8.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("family", nargs="*", help="families; all by default")
    parser.add_argument(
        "--full", action="store_true", help="also the first card of each family, full size"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=1)
    arguments = parser.parse_args()

    import official

    chosen = lambda family: not arguments.family or family in arguments.family
    work = [(small, name) for name, entry in official.FILES.items() if chosen(entry[0])]
    if arguments.full:
        first = {zoo.card(name).family: name for name in reversed(zoo.names())}
        work += [(full, name) for family, name in sorted(first.items()) if chosen(family)]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch {arguments.batch}")
    print(
        f"{'name':32}{'pixels':>10}{'latent':>9}{'10^6 w':>9}{'forward':>10}{'+gradient':>10}{'GB':>8}"
    )
    spawn = multiprocessing.get_context("spawn")
    for make, name in work:
        with spawn.Pool(1) as pool:
            print(
                pool.apply(measure, (make, name, arguments.batch, arguments.repeats)), flush=True
            )


if __name__ == "__main__":
    main()
