"""What many chains cost the driver of workers: its own time and memory, and the bytes that move.

    python benchmarks/scale.py [--steps 40] [--simulated 10000]

The workers return made-up states at once, of as many numbers as real chains have. Told are the driver's processor time
and the memory that stays, beyond the states themselves, per chain; the bytes are those of a state as it crosses.
"""

import argparse
import pickle
import resource
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentzoo.kernels.types import Function
from latentzoo.kernels.ula import ULA
from latentzoo.machines.team import Team
from latentzoo.run import apart, join, pieces


def tilted(z: Tensor) -> Tensor:
    return (z - 1).square().sum(1) / 2


def plan(chains: int, steps: int, dim: int) -> apart.Plan:
    return apart.Plan(
        phi=apart.Batched(Function(tilted), 1),
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
    job = plan(chains, steps, dim)
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
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--simulated", type=int, default=10000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    driver(args)


if __name__ == "__main__":
    main()
