"""How often verdicts are wrong: many targets of known truth, by chains and budget, over seeds.

    python benchmarks/verdict.py [--only WORD] [--seeds N] [--first SEED] [--kernels NAME ...] [--sizes 16x200 ...]
        [--runs FOLDER] [--page]

A row is a target, a kernel, a number of chains and a budget in gradients, run for each seed. Its answer is *right* if
the statistics of all its runs together are within 0.25 posterior standard deviations of the truth, and *wrong* if one
of them is more than 0.5 off, both beside three standard errors; in between nothing is asked. Of a wrong row, a run
that is itself more than 0.5 off and is called trustworthy is *false trust*; of a right one, a run of at least 16
chains and 200 gradients that is not is a *false alarm* (what is shorter may be too short to tell).

Not counted are modes that no gradient leads to (`-`): no sampler can see that it has not seen them, and every verdict
says so; and answers that are right by luck (`=`): equal shares under a kernel that weighs no modes, or stairs under one
that follows gradients. Where targets ask for another kernel, it is run as well.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from kept import kept
from known import KNOWN, Known
from latentzoo import kernels
from latentzoo.kernels.types import Function
from latentzoo.run.result import Result
from latentzoo.run.sampling import sample

RIGHT, WRONG, NOISE = 0.25, 0.5, 3.0
SIZES = ((1, 20), (4, 40), (16, 24), (16, 80), (16, 200), (64, 200), (64, 400))
LONG = (16, 200)
SELDOM = 0.01
"""How rarely chance makes a kernel Stein discrepancy as large that is counted."""
FIRST = 2000
"""The first seed; no rule was tuned on these."""
LIMITS = {"false trust": 0.05, "false alarm": 0.10}
OTHERS = {"shares": ("smc", (64, 400)), "blind": ("slice", (64, 400))}
"""The kernel that can answer what a target asks for, and its size."""
VERDICTS = ("trustworthy", "not trustworthy", "too short to tell")


@dataclass
class Row:
    """What the verdicts of a target, kernel and size were.

    Attributes:
        error: How far the worst statistic of all runs together is off, in posterior standard deviations.
        answer: right, wrong or between.
        verdicts: How many runs got each.
        false: How many of the trusted ones are wrong themselves.
        stein: How many have a kernel Stein discrepancy that chance makes as large once in a hundred runs.
        why: The first reason of the most runs.
        mark: "-" or "=" where the row is not counted, else " ".
    """

    target: str
    kernel: str
    chains: int
    steps: int
    error: float
    answer: str
    verdicts: dict[str, int]
    false: int
    stein: int
    why: str
    mark: str

    @property
    def runs(self) -> int:
        return sum(self.verdicts.values())

    @property
    def trusted(self) -> int:
        return self.verdicts.get("trustworthy", 0)

    @property
    def key(self) -> tuple[str, str, int, int]:
        return self.target, self.kernel, self.chains, self.steps


def run(target: Known, kernel: str, chains: int, steps: int, seed: int) -> Result:
    """Runs a target once."""
    return sample(
        Function(target.phi),
        dim=target.dim,
        chains=chains,
        steps=steps,
        seed=seed,
        kernel=kernel,
        progress=False,
    )


def made(
    target: Known, kernel: str, chains: int, steps: int, seed: int, runs: Path | None
) -> Result:
    """Runs a target once, or reads the run of a folder."""
    if runs is None:
        return run(target, kernel, chains, steps, seed)
    path = runs / f"{target.name}, {kernel} {chains}x{steps}, {seed}.pt".replace(" ", "_")
    size = kernel, chains, steps
    return kept(path, kernels.load(kernel).plan(steps), lambda: run(target, *size, seed))


def judge(target: Known, kernel: str, chains: int, steps: int, results: list[Result]) -> Row:
    """Holds the answers and verdicts of runs of all seeds against the truth."""
    verdicts, why, false, stein = Counter(), Counter(), 0, 0
    worst = lambda z: float(target.errors(z).abs().max())
    error = worst(torch.cat([result.z for result in results]))
    noise = NOISE / (chains * len(results)) ** 0.5
    answer = "right" if error < RIGHT + noise else "between" if error < WRONG + noise else "wrong"
    for result in results:
        found = result.diagnosis
        verdicts[found.verdict] += 1
        false += found.trustworthy and not worst(result.z) < WRONG
        stein += found.ksd_p is not None and found.ksd_p <= SELDOM
        why.update(reason[:60] for reason in (found.reasons or found.missing)[:1])
    weighs = kernel == "auto" or kernels.load(kernel).weighs  # auto jumps between modes
    knows = {"": True, "shares": weighs, "blind": kernel in ("slice", "pcn")}
    mark = "-" if target.hidden else "=" if answer == "right" and not knows[target.asks] else " "
    most = why.most_common(1)[0][0] if why else ""
    return Row(
        target.name, kernel, chains, steps, error, answer, dict(verdicts), false, stein, most, mark
    )


def line(row: Row) -> str:
    """A row of the table."""
    count = "".join(f"{row.verdicts.get(verdict, 0):5d}" for verdict in VERDICTS)
    size = f"{row.chains}x{row.steps}"
    error = f"{row.error:7.2f}" if row.error < 1e4 else f"{row.error:7.0e}"
    told = f"{row.target:32s} {row.kernel:9s} {size:>7s} {error} {row.answer:8s}"
    return f"{row.mark} {told}{count}  {row.why}"


def page(rows: list[Row], kernel: str) -> Iterator[str]:
    """The table as Markdown: a line per target, a cell per size, with the answer and how many runs were trusted."""
    sizes = list(dict.fromkeys((row.chains, row.steps) for row in rows if row.kernel == kernel))
    cells = {row.key: f"{row.mark.strip()}{row.answer[0]} {row.trusted}" for row in rows}
    yield f"| target | {' | '.join(f'{chains}x{steps}' for chains, steps in sizes)} |"
    yield f"|---|{'---|' * len(sizes)}"
    for target in dict.fromkeys(row.target for row in rows):
        told = (cells.get((target, kernel, *size), "") for size in sizes)
        yield f"| {target} | {' | '.join(told)} |"
    for row in rows:
        if row.kernel != kernel:
            yield f"| {row.target}, {row.kernel} {row.chains}x{row.steps} | {cells[row.key]} |{' |' * (len(sizes) - 1)}"


def rates(rows: list[Row]) -> dict[str, tuple[int, int]]:
    """How many runs were trusted of those that are wrong, and not trusted of those that are right and long."""
    rows = [row for row in rows if row.mark == " "]
    wrong = [row for row in rows if row.answer == "wrong"]
    right = [r for r in rows if r.answer == "right" and r.chains >= LONG[0] and r.steps >= LONG[1]]
    return {
        "false trust": (sum(row.false for row in wrong), sum(row.runs for row in wrong)),
        "false alarm": (
            sum(row.runs - row.trusted for row in right),
            sum(row.runs for row in right),
        ),
    }


def stein(rows: list[Row]) -> Iterator[str]:
    """What the kernel Stein discrepancy alone says of wrong and right runs of 16 chains and more."""
    for answer in ("wrong", "right"):
        counted = [row for row in rows if row.answer == answer and row.chains >= LONG[0]]
        found, runs = sum(row.stein for row in counted), sum(row.runs for row in counted)
        yield f"kernel Stein discrepancy with p at most {SELDOM}: {found} of {runs} runs of {answer} rows"


def plan(options: argparse.Namespace) -> Iterator[tuple[Known, str, int, int]]:
    """The rows that are asked for."""
    sizes = [tuple(map(int, s.split("x"))) for s in options.sizes] if options.sizes else SIZES
    for target in KNOWN:
        if options.only not in target.name:
            continue
        for kernel in options.kernels:
            for chains, steps in sizes:
                yield target, kernel, chains, steps
        if target.asks and not options.sizes:
            kernel, (chains, steps) = OTHERS[target.asks]
            yield target, kernel, chains, steps


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="targets whose name contains this word")
    parser.add_argument("--seeds", type=int, default=4, help="how many runs a row has")
    parser.add_argument("--kernels", nargs="+", default=[kernels.DEFAULT], help="the kernels")
    parser.add_argument("--sizes", nargs="+", help="e.g. 16x200; all by default")
    parser.add_argument("--first", type=int, default=FIRST, help="the first seed")
    parser.add_argument("--runs", type=Path, help="a folder: runs it has are only judged anew")
    parser.add_argument("--page", action="store_true", help="print the table of the docs")
    options = parser.parse_args()
    began, rows = time.perf_counter(), []
    print(
        f"  {'target':32s} {'kernel':9s} {'size':>7s} {'error':>7s} {'answer':8s}trust  not short  first reason"
    )
    for row in plan(options):
        seeds = range(options.first, options.first + options.seeds)
        rows.append(judge(*row, [made(*row, s, options.runs) for s in seeds]))
        print(line(rows[-1]), flush=True)
    if options.page:
        print(*page(rows, options.kernels[0]), sep="\n")
    bad = 0
    for name, (count, total) in rates(rows).items():
        bad += count > LIMITS[name] * total
        part = f"{count / max(total, 1):.1%}, at most {LIMITS[name]:.0%}"
        print(f"{name}: {count} of {total} runs ({part})")
    print(*stein(rows), sep="\n")
    print(f"{len(rows)} rows of {options.seeds} runs in {time.perf_counter() - began:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
