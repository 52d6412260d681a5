"""Kernels against targets with known truth, at 200 gradients from the prior.

    python benchmarks/samplers.py [--only WORD] [--json FILE]

prints one row per target and kernel and exits with status 1 if the first kernel of a target misses a
pass line. On one mode the default, `auto`, is `anneal`, bit for bit; `plain` is `anneal` without
preconditioning. Where shares of separate modes are asked for, the first is `auto`, or `smc` where
modes do not look alike. Biases are in posterior standard deviations; with B chains their noise is 1/sqrt(B).

| column | meaning |
|---|---|
| phi | (mean of phi - truth) / sd |
| norm | (mean of abs(z)^2 - truth) / sd |
| mean | rms error of the posterior mean over the informed coordinates, in sd |
| stiff | variance over the truth in the stiffest eighth of the coordinates |
| tv | total variation between shares of modes and truth, mean over the runs |
| pooled | the same for all runs together |
| ess | effective draws of phi per 1000 gradients of a chain, over the second half |
| ess z2 | the same of abs(z)^2 |
| grad | gradients spent per chain; an evaluation without one counts a third |
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentzoo.diagnosis.convergence import ess_bulk
from latentzoo.kernels.anneal import Anneal
from latentzoo.kernels.auto import Auto
from latentzoo.kernels.ghmc import GHMC
from latentzoo.kernels.lm import LM
from latentzoo.kernels.malt import MALT
from latentzoo.kernels.mams import MAMS
from latentzoo.kernels.mclmc import MCLMC
from latentzoo.kernels.pcn import PCN
from latentzoo.kernels.pcnl import PCNL
from latentzoo.kernels.slice import Slice
from latentzoo.kernels.smc import SMC
from latentzoo.kernels.types import Function, Kernel
from latentzoo.kernels.ula import ULA
from latentzoo.rng import Rng
from latentzoo.run.sampling import seeds
from latentzoo.run.walk import Walk
from targets import Classifier, Cosine, Linear, Moments, Target, total_variation

STEPS = 200
OLD = {"ula 0.05": ULA(0.05), "ula 0.005": ULA(0.005), "lm 0.05": LM(0.05)}
ADJUSTED = {"ghmc": GHMC(), "malt": MALT(), "mams": MAMS(), "pcnl": PCNL()}
FREE: dict[str, Kernel] = {"mclmc": MCLMC()}
BLIND = {"pcn": PCN(), "slice": Slice()}
Limits = dict[str, tuple[float, float]]


class Nothing(Target):
    """No energy at all: the prior."""

    dim, phi, norm2 = 512, Moments(0.0, 1.0), Moments(512, math.sqrt(1024))

    def __call__(self, z: Tensor) -> Tensor:
        return (0 * z).sum(1)


class Parabola(Target):
    """One coordinate of curvature 100."""

    dim, phi, norm2 = (
        1,
        Moments(50 / 101, 100 / 101 / math.sqrt(2)),
        Moments(1 / 101, 2**0.5 / 101),
    )

    def __call__(self, z: Tensor) -> Tensor:
        return 50 * z[:, 0].square()


class TwoModes(Target):
    """Creates two modes of width 0.3 on the first of 64 coordinates, at `place` with its share, and at minus it."""

    dim = 64

    def __init__(self, share: float, place: float) -> None:
        self.place, self.weights = place, torch.tensor([share, 1 - share])
        x = torch.linspace(-8, 8, 160_001, dtype=torch.float64)[:, None]
        phi, p = self(x), (-self(x) - x[:, 0].square() / 2).softmax(0)
        moments = lambda f: Moments(float(p @ f), float((p @ f.square() - (p @ f) ** 2).sqrt()))
        first = moments(x[:, 0].square())
        self.phi = moments(phi)
        self.norm2 = Moments(first.mean + 63, math.hypot(first.sd, math.sqrt(126)))

    def __call__(self, z: Tensor) -> Tensor:
        x, place = z[:, :1], torch.tensor([self.place, -self.place]).to(z)
        each = self.weights.log().to(z) - (x - place).square() / 0.18
        return -each.logsumexp(1) + math.log(0.3) - x[:, 0].square() / 2

    def shares(self, z: Tensor) -> Tensor:
        """The share of samples in each mode, (2,)."""
        right = float((z[:, 0] > 0).float().mean())
        return torch.tensor([right, 1 - right])

    def figures(self, z: Tensor) -> dict[str, float]:
        return {"tv": total_variation(self.shares(z), self.weights)}


def near(limit: float) -> tuple[float, float]:
    return (-limit, limit)


@dataclass(frozen=True)
class Case:
    """A target, how it is sampled, the limits of its pass line, and who is measured."""

    name: str
    target: Callable[[], Target]
    chains: int
    limits: Limits
    kernels: dict[str, Kernel]
    runs: int = 1
    steps: int = STEPS


@dataclass
class Row:
    """One line of the table."""

    case: str
    kernel: str
    figures: dict[str, float]
    missed: list[str] = field(default_factory=list)
    judged: bool = False
    seconds: float = 0.0


default: dict[str, Kernel] = {"anneal": Anneal()}
both: dict[str, Kernel] = default | {"plain": Anneal(precondition="none")}
weighing: dict[str, Kernel] = {"auto": Auto(), "smc": SMC(), "anneal": Anneal()}
four = (0.4, 0.3, 0.2, 0.1)
CASES = [
    Case(
        "nothing, any step",
        Nothing,
        64,
        {"norm": near(4 / math.sqrt(64))},
        {"anneal": Anneal(step_size=1.0), "ula 0.05": ULA(0.05)},
    ),
    Case(
        "parabola, 80 % of the limit",
        Parabola,
        4096,
        {"norm": near(4 / math.sqrt(4096))},
        {"anneal": Anneal(step_size=1.6 / math.sqrt(101), tail=0.0), "ula same": ULA(2.56 / 101)},
    ),
    Case(
        "linear 512, stiffest 100",
        lambda: Linear(512),
        64,
        {"phi": near(0.45), "mean": (0, 0.16)},
        both | OLD | FREE | ADJUSTED | BLIND,
    ),
    Case(
        "linear 512, stiffest 1000",
        lambda: Linear(512, stiffest=1000.0),
        64,
        {"phi": near(0.45), "mean": (0, 0.16), "stiff": (0.8, 1.25)},
        both | OLD | FREE | ADJUSTED,
    ),
    Case(
        "linear 49152, 6144 informed",
        lambda: Linear(49_152, 6144, 30.0),
        8,
        {"phi": near(1.2), "norm": near(1.2)},
        default | FREE | {"ula 0.05": ULA(0.05), "lm 0.05": LM(0.05)},
    ),
    Case(
        "cosine 2500",
        lambda: Cosine(256, 2500.0),
        64,
        {"phi": near(0.45), "norm": near(0.45)},
        both | OLD | FREE | ADJUSTED,
    ),
    Case(
        "classifier",
        lambda: Classifier(1.0),
        128,
        {"phi": near(0.3), "tv": (0, 0.12)},
        default | OLD | FREE | ADJUSTED | BLIND,
    ),
    Case(
        "classifier, rare modes",
        lambda: Classifier(3.0),
        64,
        {"tv": (0, 0.12), "pooled": (0, 0.06)},
        {"smc": SMC(), "auto": Auto(), "anneal": Anneal(), "ula 0.05": ULA(0.05)},
        runs=8,
    ),
    Case(
        "cosine 100, four modes",
        lambda: Cosine(256, 100.0, four),
        64,
        {"tv": (0, 0.19), "pooled": (0, 0.06)},
        {"auto": Auto(), "smc": SMC(), "anneal": Anneal(), "ula 0.05": ULA(0.05)},
        runs=8,
    ),
    *(
        Case(
            f"modes .{share} : .{rest} at {place:g}",
            lambda share=share, rest=rest, place=place: TwoModes(share / (share + rest), place),
            64,
            {"tv": (0, 0.05)},
            weighing,
            runs=4,
            steps=400,
        )
        for share, rest, place in ((5, 5, 2.0), (9, 1, 2.0), (9, 1, 1.5))
    ),
]


def measure(target: Target, kernel: Kernel, case: Case) -> dict[str, float]:
    """Runs a kernel from the prior and compares where it ends with the truth."""
    ends, traces, spent, runs = [], [], 0.0, case.runs
    for run in range(runs):
        rng = Rng(*seeds(run, case.chains))
        walk = Walk(Function(target), kernel, rng, steps=case.steps)
        walk.begin(rng.normal(target.dim))
        for _ in walk:
            pass
        ends.append(walk.z if not walk.here.failures else torch.full_like(walk.z, torch.nan))
        traces.append(walk.trace)
        spent = walk.phi.gradients
    z, half = torch.cat(ends), len(traces[0]) // 2
    late = lambda x: np.concatenate([x(trace)[half:] for trace in traces], axis=1)
    phi, norm2 = late(lambda trace: trace.phi), late(lambda trace: trace.norm2)
    with torch.no_grad():
        found = {
            "phi": float((target(z).double().mean() - target.phi.mean) / target.phi.sd),
            "norm": float(
                (z.double().square().sum(1).mean() - target.norm2.mean) / target.norm2.sd
            ),
            "grad": spent,
        }
        if z.isfinite().all():
            found |= target.figures(z)
            each = 1000 / phi.size / kernel.gradients
            found |= {"ess": ess_bulk(phi) * each, "ess z2": ess_bulk(norm2) * each}
    if isinstance(target, Cosine | Classifier) and "tv" in found and runs > 1:
        found["tv"] = float(np.mean([target.figures(end)["tv"] for end in ends]))
        shares = torch.stack([target.shares(end) for end in ends]).mean(0)
        found["pooled"] = total_variation(shares, target.weights)
    return found


def run_case(case: Case) -> list[Row]:
    """Measures every kernel of a case; the first is judged."""
    rows, target = [], case.target()
    for name, kernel in case.kernels.items():
        began = time.perf_counter()
        figures = measure(target, kernel, case)
        missed = [
            key
            for key, (low, high) in case.limits.items()
            if not low <= figures.get(key, math.nan) <= high
        ]
        seconds = time.perf_counter() - began
        rows.append(Row(case.name, name, figures, missed, not rows, seconds))
        print(line(rows[-1]), flush=True)
    return rows


COLUMNS = ("phi", "norm", "mean", "stiff", "tv", "pooled", "ess", "ess z2", "grad")


def line(row: Row) -> str:
    """A row of the table."""
    cells = [_cell(key, row.figures) for key in COLUMNS]
    verdict = "misses " + ", ".join(row.missed) if row.missed else "passes"
    mark = "*" if row.judged else " "
    return f"{mark} {row.case:28s} {row.kernel:10s} {''.join(cells)}  {verdict}"


def _cell(key: str, figures: dict[str, float]) -> str:
    if key not in figures:
        return f"{'':>8s}"
    x = figures[key]
    if not math.isfinite(x) or abs(x) > 1e4:
        return f"{'div':>8s}"
    return f"{x:8.0f}" if key in ("ess", "ess z2", "grad") else f"{x:8.3f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="cases whose name contains this word")
    parser.add_argument("--json", type=Path, help="where to write the rows")
    options = parser.parse_args()
    print(f"  {'target':28s} {'kernel':10s} " + "".join(f"{key:>8s}" for key in COLUMNS))
    rows = [row for case in CASES if options.only in case.name for row in run_case(case)]
    if options.json:
        options.json.write_text(json.dumps([row.__dict__ for row in rows], indent=2) + "\n")
    failed = [row for row in rows if row.judged and row.missed]
    total = sum(row.seconds for row in rows)
    print(f"{len(rows)} rows in {total:.0f} s; * is judged: {len(failed)} pass lines missed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
