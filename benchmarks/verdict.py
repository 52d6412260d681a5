"""How often verdicts are wrong: many targets of known truth, by chains and budget, over seeds.

    python benchmarks/verdict.py [--only WORD] [--seeds N] [--kernels NAME ...] [--json FILE]

A row is a target, a kernel, a number of chains and a budget in gradients, run for each seed. Its answer is *right* if
the statistics of all its runs together are within 0.25 posterior standard deviations of the truth, and *wrong* if one
of them is more than 0.5 off, both beside three standard errors; in between nothing is asked. A wrong answer that is
called trustworthy is *false trust*; a right one of a run with at least 16 chains and 200 gradients that is not is a
*false alarm* (what is shorter may be too short to tell). Modes that no gradient leads to are marked and not counted:
no sampler can see that it has not seen them, and every verdict says so.
"""

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from known import KNOWN, Known
from latentzoo import kernels
from latentzoo.kernels.types import Function
from latentzoo.run.sampling import sample

RIGHT, WRONG, NOISE = 0.25, 0.5, 3.0
SIZES = ((1, 20), (2, 200), (4, 40), (16, 24), (16, 80), (16, 200), (64, 200), (64, 400))
LONG = (16, 200)
LIMITS = {"false trust": 0.05, "false alarm": 0.10}


@dataclass
class Row:
    """What the verdicts of a target, kernel and size were."""

    target: str
    kernel: str
    chains: int
    steps: int
    error: float
    answer: str
    verdicts: dict[str, int]
    why: str
    hidden: bool


def run_row(target: Known, kernel: str, chains: int, steps: int, seeds: int) -> Row:
    """Runs a target for each seed."""
    ends, verdicts, why = [], Counter(), Counter()
    for seed in range(seeds):
        result = sample(
            Function(target.phi),
            dim=target.dim,
            chains=chains,
            steps=steps,
            seed=seed,
            kernel=kernel,
        )
        found = result.diagnosis
        ends.append(result.z)
        verdicts[found.verdict] += 1
        why.update(reason[:60] for reason in (found.reasons or found.missing)[:1])
    error = float(target.errors(torch.cat(ends)).abs().max())
    noise = NOISE / (chains * seeds) ** 0.5
    answer = "right" if error < RIGHT + noise else "wrong" if error > WRONG + noise else "between"
    if not error < 1e9:
        answer = "wrong"
    most = why.most_common(1)[0][0] if why else ""
    return Row(
        target.name, kernel, chains, steps, error, answer, dict(verdicts), most, target.hidden
    )


def line(row: Row) -> str:
    """A row of the table."""
    count = [
        row.verdicts.get(v, 0) for v in ("trustworthy", "not trustworthy", "too short to tell")
    ]
    mark = "-" if row.hidden else " "
    size = f"{row.chains}x{row.steps}"
    cells = "".join(f"{n:5d}" for n in count)
    return f"{mark} {row.target:32s} {row.kernel:9s} {size:>7s} {row.error:7.2f} {row.answer:8s}{cells}  {row.why}"


def rates(rows: list[Row]) -> dict[str, tuple[int, int]]:
    """How many runs were trusted of those that are wrong, and not trusted of those that are right and long."""
    wrong = [r for r in rows if r.answer == "wrong" and not r.hidden]
    right = [
        r
        for r in rows
        if r.answer == "right" and r.chains >= LONG[0] and r.steps >= LONG[1] and not r.hidden
    ]
    trusted = lambda row: row.verdicts.get("trustworthy", 0)
    total = lambda row: sum(row.verdicts.values())
    return {
        "false trust": (sum(map(trusted, wrong)), sum(map(total, wrong))),
        "false alarm": (sum(total(r) - trusted(r) for r in right), sum(map(total, right))),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="targets whose name contains this word")
    parser.add_argument("--seeds", type=int, default=4, help="how many runs a row has")
    parser.add_argument("--kernels", nargs="+", default=[kernels.DEFAULT], help="the kernels")
    parser.add_argument("--sizes", nargs="+", help="e.g. 16x200; all by default")
    parser.add_argument("--json", type=Path, help="where to write the rows")
    options = parser.parse_args()
    sizes = [tuple(map(int, s.split("x"))) for s in options.sizes] if options.sizes else SIZES
    began, rows = time.perf_counter(), []
    print(
        f"  {'target':32s} {'kernel':9s} {'size':>7s} {'error':>7s} {'answer':8s} trust  not short  the first reason"
    )
    for target in KNOWN:
        if options.only in target.name:
            for kernel in options.kernels:
                for chains, steps in sizes:
                    rows.append(run_row(target, kernel, chains, steps, options.seeds))
                    print(line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    bad = 0
    for name, (count, total) in rates(rows).items():
        bad += count > LIMITS[name] * total
        print(
            f"{name}: {count} of {total} runs ({count / max(total, 1):.1%}, at most {LIMITS[name]:.0%})"
        )
    print(f"{len(rows)} rows of {options.seeds} runs in {time.perf_counter() - began:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
