"""What workers give and what many chains cost their driver.

    python benchmarks/scale.py driver [--steps 20] [--simulated 10000]
    python benchmarks/scale.py folder [--steps 200] [--simulated 1000]
    python benchmarks/scale.py workers [--chains 32] [--steps 20] [--rounds 2] [--wait 0.03]

driver: workers return made-up states at once, of as many numbers as real chains have. Told are the driver's processor
time, its own memory beyond the states themselves, and the bytes of a state as it crosses, all per chain.

folder: what one process writes when the shards of a run are merged: trace, two pictures of 64 pixels a chain, verdict.

workers: the same chains by 1 and by 2 workers, by turns. The efficiency is T_1 / (2 T_2) with T the wall time, of all
and of the chains alone (workers have started and loaded); and C_1 / C_2 with C the processor time of the chains, which
says the same where others use the machine too. With `--wait` a gradient waits so many seconds, as for an accelerator,
instead of computing avatar-turbo on the processor.
"""

import argparse
import os
import pickle
import re
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

import latentzoo as lz
from latentzoo import energies
from latentzoo.kernels.types import Function, Potential
from latentzoo.kernels.ula import ULA
from latentzoo.machines.team import Team
from latentzoo.record import spec
from latentzoo.record.folder import RunFolder
from latentzoo.run import apart, pieces
from latentzoo.run.result import finish
from latentzoo.run.state import State


def tilted(z: Tensor) -> Tensor:
    return (z - 1).square().sum(1) / 2


class Waiting:
    """A potential whose every gradient takes so many seconds of another machine."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, z: Tensor) -> Tensor:
        time.sleep(self.seconds)
        return tilted(z)


def plan(phi: Potential, chains: int, steps: int, dim: int) -> apart.Plan:
    return apart.Plan(
        phi=phi,
        kernel=ULA(0.1),
        seeds=tuple(range(chains)),
        pilot=(),
        dim=dim,
        start=None,
        steps=steps,
        tries=1,
        best=None,
        keep=None,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


class Simulated:
    """Workers that return states at once, of `steps` steps and `dim` numbers."""

    def __init__(self, dim: int, steps: int) -> None:
        self.dim, self.steps = dim, steps

    def do(self, item: Any, tell: Any) -> State:
        return made_up(item.chains, self.dim, self.steps)


def made_up(chains: range, dim: int, steps: int) -> State:
    b, draw = len(chains), np.random.default_rng(chains.start)
    vector = lambda: draw.standard_normal((b, dim), dtype=np.float32)
    number = lambda: draw.standard_normal(b, dtype=np.float32)
    tensors: dict[str, Any] = {f"state.{name}": vector() for name in ("z", "grad")}
    tensors |= {"state.phi": number(), "state.terms": np.zeros((b, 0), np.float32)}
    tensors |= {f"info.{name}": number() for name in ("accept", "step_size", "beta", "error")}
    tensors |= {"failed": np.full(b, -1), "noise": np.zeros((b, 13), np.int64), "start": vector()}
    tensors |= {"gradients": np.array(steps, np.float64)}
    tensors |= {"trace": draw.standard_normal((steps + 1, 6, b), dtype=np.float32)}
    texts = {"step": steps, "failures": [], "seconds": 1.0, "notes": [], "names": []}
    return State(tensors, {**texts, "seeds": list(chains)})


def driver(args: argparse.Namespace) -> None:
    """Measures what the driver itself does for many chains."""
    chains, dim, steps = args.simulated, 512, args.steps
    job = plan(apart.Batched(Function(tilted), 1), chains, steps, dim)
    size = len(pickle.dumps(made_up(range(8), dim, steps), protocol=5)) / 8
    print(f"bytes moved per chain: {size:.0f} ({3 * 4 * dim} of latents, {steps} steps of trace)")
    found = apart.Followed(ULA(0.1), None)
    with Team(Simulated(dim, steps), 2) as team:
        list(team.each([apart.Piece(range(8), found)] * 4))  # both have started
        before, peak, shared = time.process_time(), memory("VmHWM"), memory("RssShmem")
        whole = apart._gathered(team, job, found, lambda _: None)
        gathered = time.process_time() - before
        walk = apart._joined(job, found, whole, ())
        joined = time.process_time() - before - gathered
        shared = memory("RssShmem") - shared
        held = memory("VmHWM") - peak - shared
    held_by_walk = *walk.here.state, walk.start, walk.trace.array
    latents = sum(t.nbytes for t in held_by_walk if t is not None)
    each = lambda x: x / chains / 1024
    print(f"the driver, {chains} simulated chains in {pieces.count(chains, 1, 2)} pieces:")
    print(
        f"  {1000 * gathered / chains:.3f} ms a chain to gather, {1000 * joined / chains:.3f} to join"
    )
    print(
        f"  {each(held - latents):.2f} KB a chain beyond latents and traces of {each(latents):.1f} KB (peak)"
    )
    print(f"  {each(shared):.2f} KB a chain of Ray's object store, which is of a fixed size")


def folder(args: argparse.Namespace) -> None:
    """Measures what a run folder costs, per chain."""
    chains, dim = args.simulated, 512
    job = plan(apart.Batched(Function(tilted), 1), chains, args.steps, dim)
    arrays, texts = made_up(range(chains), dim, args.steps)
    state = State({name: torch.tensor(array) for name, array in arrays.items()}, texts)
    walk = apart._joined(job, apart.Followed(ULA(0.1), None), state, ())
    smooth = np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None, None]
    pixels = smooth.repeat(chains, 0).repeat(64, 2).repeat(3, 3)
    record = spec.Run(generator="toy", chains=chains, record={"seeds": list(job.seeds)})
    with TemporaryDirectory() as place:
        begun, wall = time.process_time(), time.perf_counter()
        with RunFolder(Path(place) / "run") as out:
            out.publish()
            out.fill(finish(walk), spec.to_yaml(record), {"images": pixels, "start": pixels})
        spent, waited = time.process_time() - begun, time.perf_counter() - wall
        print(
            f"a folder of {chains} chains, {args.steps} steps: {1000 * spent / chains:.1f} ms a chain"
        )
        print(f"  ({1000 * waited / chains:.1f} with the waits for the disk)")
        for path in sorted((Path(place) / "run").iterdir()):
            files = [path] if path.is_file() else list(path.iterdir())
            size = sum(file.stat().st_size for file in files) / chains / 1024
            print(f"  {path.name:20} {size:8.2f} KB a chain")


def memory(kind: str) -> int:
    """A line of this process's memory, in bytes (Linux)."""
    found = re.search(rf"{kind}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 0 if found is None else int(found[1]) * 1024


class Timed(apart.Apart):
    """Chains that also tell the processor time that they took; an empty piece warms the networks up."""

    def do(self, item: Any, tell: Any) -> Any:
        before = time.process_time()
        if not len(item.chains):
            self.plan.phi.evaluate(torch.zeros(1, self.plan.dim))
            time.sleep(1)  # the other worker takes the next one
            return os.getpid(), 0.0
        super().do(item, tell)
        return os.getpid(), time.process_time() - before


def network(args: argparse.Namespace) -> tuple[Potential, int]:
    """The potential of the chains, and the dimension of its latent."""
    if args.wait:
        return apart.Batched(Function(Waiting(args.wait)), 4), 512
    generator = lz.load("avatar-turbo")
    text = energies.load("attribute", "hat=beanie", model="avatar-attributes")
    return lz.Posterior(generator, {"hat": 10 * text}, micro_batch=4), generator.space.dim


def timed(job: apart.Plan, workers: int) -> tuple[float, float, float]:
    """The wall time of all, of the chains alone, and the processor time of the chains."""
    begun, found = time.perf_counter(), apart.Followed(job.kernel, None)
    with Team(Timed(job), workers) as team:
        warm: set[int] = set()
        while len(warm) < workers:
            some = team.each([apart.Piece(range(0), found)] * workers)
            warm |= {outcome.value[0] for outcome in some}
        loaded, chains = time.perf_counter(), len(job.seeds)
        count = pieces.count(chains, 4, workers)
        cut = [apart.Piece(pieces.piece(chains, 4, i, count), found) for i in range(count)]
        spent = sum(outcome.value[1] for outcome in team.each(cut))
        alone = time.perf_counter() - loaded
    return time.perf_counter() - begun, alone, spent


def compare(args: argparse.Namespace) -> None:
    """Measures 1 and 2 workers by turns, and tells the best of each."""
    phi, dim = network(args)
    job = plan(phi, args.chains, args.steps, dim)
    found: dict[int, list[tuple[float, float, float]]] = {1: [], 2: []}
    for _ in range(args.rounds):
        for workers, rows in found.items():
            rows.append(timed(job, workers))
            print(
                f"  {workers} workers: {rows[-1][1]:.1f} s, load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    (all1, alone1, cpu1), (all2, alone2, cpu2) = (
        map(min, zip(*rows, strict=True)) for rows in found.values()
    )
    gradients = args.chains / 4 * args.steps
    print(f"{1000 * alone1 / gradients:.0f} ms a gradient of 4 chains, one worker")
    print(f"chains per second: {args.chains / alone1:.2f} and {args.chains / alone2:.2f}")
    print(
        f"efficiency of 2 workers: {alone1 / 2 / alone2:.2f}, with start and load {all1 / 2 / all2:.2f}"
    )
    print(f"in processor time: {cpu1 / cpu2:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    kinds = parser.add_subparsers(required=True)
    one = kinds.add_parser("driver")
    one.set_defaults(run=driver)
    one.add_argument("--simulated", type=int, default=10000)
    one.add_argument("--steps", type=int, default=20)
    other = kinds.add_parser("folder")
    other.set_defaults(run=folder)
    other.add_argument("--simulated", type=int, default=1000)
    other.add_argument("--steps", type=int, default=200)
    two = kinds.add_parser("workers")
    two.set_defaults(run=compare)
    two.add_argument("--chains", type=int, default=32)
    two.add_argument("--steps", type=int, default=20)
    two.add_argument("--rounds", type=int, default=2)
    two.add_argument("--wait", type=float, default=0.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.run(args)


if __name__ == "__main__":
    main()
