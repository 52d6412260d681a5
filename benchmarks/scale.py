"""What workers bring and cost: efficiency, the driver's own time and memory, and the bytes that move.

    python benchmarks/scale.py [--chains 16] [--steps 40] [--milliseconds 30] [--rounds 3] [--simulated 10000]

*Efficiency* is what two workers do in the time that one takes, over two,

    efficiency = t_1 / (2 t_2),

with a potential that computes for so many milliseconds a gradient. A run is timed whole, without the start of Ray and
of the workers, which took their networks before (`warm`); one and two workers take turns. The *driver* has workers that
return made-up states at once, of as many numbers as real chains have: its processor time and the memory that stays,
beyond the latents themselves, per chain. The *bytes* are those of a state as it crosses.
"""

import argparse
import pickle
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentzoo.kernels.types import Function
from latentzoo.kernels.ula import ULA
from latentzoo.machines import cluster
from latentzoo.machines.team import Team
from latentzoo.run import apart, join, pieces

sys.path.insert(0, str(Path(__file__).parent))


class Busy:
    """A standard normal tilted by one, whose gradient takes `seconds` of a processor for every micro-batch."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.weight = seconds, torch.randn(256, 256) / 16

    def __call__(self, z: Tensor) -> Tensor:
        until = time.process_time() + self.seconds
        x = self.weight
        while time.process_time() < until:
            x = torch.tanh(x @ self.weight)
        return (z - 1).square().sum(1) / 2 + 0 * x.sum()


def plan(chains: int, steps: int, seconds: float, dim: int) -> apart.Plan:
    return apart.Plan(
        phi=apart.Batched(Function(Busy(seconds)), 1),
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


def efficiency(args: argparse.Namespace) -> None:
    """Times the same chains on one worker and on two, by turns."""
    job = plan(args.chains, args.steps, args.milliseconds / 1000, 64)
    ray = cluster.module()
    spent: dict[int, list[float]] = {1: [], 2: []}
    with cluster.entered(None, cpus=3, gpus=0):
        teams = {n: Team(apart.Apart(job), n) for n in spent}
        for team in teams.values():
            team.__enter__()
            warm = apart.Piece(range(1), apart.Followed(ULA(0.1), None))
            for _ in range(2):
                list(team.each([warm] * team.workers))
        for _ in range(args.rounds):
            for n, team in teams.items():
                begun = time.perf_counter()
                apart._gathered(team, job, apart.Followed(ULA(0.1), None), lambda _: None)
                spent[n].append(time.perf_counter() - begun)
        for team in teams.values():
            team.__exit__()
    del ray
    one, two = min(spent[1]), min(spent[2])
    for n, t in ((1, one), (2, two)):
        print(f"{n} worker{'s' * (n > 1)}: {args.chains / t:.3f} chains/s (best of {args.rounds})")
    print(f"efficiency of two workers at {args.milliseconds:g} ms a gradient: {one / two / 2:.2f}")


class Simulated:
    """Workers that return states at once, of `steps` steps and `dim` numbers."""

    def __init__(self, dim: int, steps: int) -> None:
        self.dim, self.steps = dim, steps

    def do(self, item: Any, tell: Any) -> join.State:
        return made_up(item.chains, self.dim, self.steps)


def made_up(chains: range, dim: int, steps: int) -> join.State:
    b, draw = len(chains), np.random.default_rng(chains.start)
    vector = lambda: draw.standard_normal((b, dim), dtype=np.float32)
    number = lambda: draw.standard_normal(b, dtype=np.float32)
    tensors: dict[str, Any] = {f"state.{name}": vector() for name in ("z", "grad")}
    tensors |= {"state.phi": number(), "state.terms": np.zeros((b, 0), np.float32)}
    tensors |= {f"info.{name}": number() for name in ("accept", "step_size", "beta", "error")}
    tensors |= {"failed": np.full(b, -1), "noise": np.zeros((b, 13), np.int64), "start": vector()}
    tensors |= {"gradients": np.float64(steps)[None][0:1].reshape(())}
    tensors |= {"trace": np.zeros((steps + 1, 6, b), np.float32)}
    texts = {"step": steps, "failures": [], "seconds": 1.0, "notes": [], "names": []}
    return join.State(tensors, {**texts, "seeds": list(chains)})


def driver(args: argparse.Namespace) -> None:
    """Measures what the driver itself does for many chains."""
    chains, dim, steps = args.simulated, 512, args.steps
    job = plan(chains, steps, 0.0, dim)
    size = pickle.dumps(made_up(range(8), dim, steps), protocol=5)
    print(
        f"bytes moved per chain: {len(size) / 8:.0f} (latent {4 * dim}, three of them; {steps} steps of trace)"
    )
    found = apart.Followed(ULA(0.1), None)
    with Team(Simulated(dim, steps), 2) as team:
        list(team.each([apart.Piece(range(8), found)] * 4))  # both have started
        before, memory = time.process_time(), peak()
        states = apart._gathered(team, job, found, lambda _: None)
        gathered, held = time.process_time() - before, peak() - memory
        walk = apart._joined(job, found, join.join(states), ())
        joined = time.process_time() - before
    count = pieces.count(chains, 1, 2)
    latents = sum(t.nbytes for t in walk.here.state) + walk.start.nbytes + walk.trace.array.nbytes
    print(f"the driver, {chains} simulated chains in {count} pieces:")
    print(
        f"  gathering {1000 * gathered / chains:.3f} ms a chain, and joining {1000 * (joined - gathered) / chains:.3f}"
    )
    own = (held - latents) / chains / 1024
    print(
        f"  memory {own:.2f} KB a chain beyond states and traces of {latents / chains / 1024:.1f} KB"
    )


def peak() -> int:
    """The largest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chains", type=int, default=16)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--milliseconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--simulated", type=int, default=10000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    driver(args)
    efficiency(args)


if __name__ == "__main__":
    main()
