r"""Posteriors of Levy processes, against exact draws: the gap to the best estimate, and coverage.

    python benchmarks/levy.py [--only WORD] [--measurements N] [--chains N] [--steps N] [--kernel NAME] [--rows FILE]

A cell is a law of increments and an operator (`processes`); a run samples the posterior of one measurement in z, and
its draws are those of the tested tail. With the posterior mean :math:`m` and covariance :math:`C` of the signal from
exact draws (`gibbs`), the estimate :math:`\hat x` of a run, the mean of its draws, is worse than m by

.. math:: \mathrm{gap} = 10 \log_{10} \left(1 + \frac{|\hat x - m|^2}{\mathrm{tr} \, C}\right) \text{ dB}

which is the paper's ratio of squared errors, with the expectation over the signals that the measurement allows instead
of the one that was drawn. The product of the differences to two independent halves of the exact draws takes the place
of the square, so that their own error adds nothing. Coverage is the probability, by exact draws, of the region that
the run says has probability 0.9: where the log posterior is above the 0.1 quantile of the run's draws. The paper's own
figure, how many of the true signals are inside, is beside it.

References:
    | A statistical benchmark for diffusion posterior sampling algorithms (2026)
    | https://arxiv.org/abs/2509.12821
"""

import argparse
import json
import math
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from gibbs import gibbs
from latentzoo import kernels
from latentzoo.kernels.types import Function
from latentzoo.run.result import Result
from latentzoo.run.sampling import sample
from processes import INCREMENTS, OPERATORS, Increment, Problem, operator

LEVEL = 0.9
"""The probability of the region whose coverage is asked for."""
GAP = 0.1
"""The largest gap, in dB, of a cell that is trusted."""


@dataclass
class Cell:
    """What came of a law and an operator, over measurements.

    Attributes:
        gaps: In dB, per measurement.
        coverage: Per measurement.
        trust: Whether each run is trusted.
        inside: How many of the true signals are inside.
        why: The first reason of the most that are not trusted.
        noise: The Monte-Carlo error of the coverage of one run of independent chains.
    """

    law: str
    operator: str
    gaps: list[float]
    coverage: list[float]
    trust: list[bool]
    inside: int
    why: str
    noise: float
    seconds: float

    @property
    def trusted(self) -> int:
        return sum(self.trust)

    @property
    def bad(self) -> bool:
        """Whether the runs that are trusted are wrong, on average."""
        if not self.trusted:
            return False
        off = abs(_mean(self.coverage, self.trust) - LEVEL)
        return _mean(self.gaps, self.trust) > GAP or off > 3 * self.noise / math.sqrt(self.trusted)

    def __str__(self) -> str:
        count, all_of_them = len(self.gaps), [True] * len(self.gaps)
        means = [
            _mean(x, which)
            for which in (all_of_them, self.trust)
            for x in (self.gaps, self.coverage)
        ]
        gap, covered, *trusted = ("" if math.isnan(mean) else f"{mean:.3f}" for mean in means)
        told = f"{gap} | {covered} | {self.inside} of {count} | {self.trusted} of {count} | {' | '.join(trusted)}"
        return f"| {self.law} | {self.operator} | {told} | {self.why} |"


def _mean(x: list[float], which: list[bool]) -> float:
    chosen = [value for value, taken in zip(x, which, strict=True) if taken]
    return sum(chosen) / len(chosen) if chosen else math.nan


HEAD = (
    "| increments | operator | gap, dB | coverage | true signals inside "
    "| trusted | their gap | their coverage | why not |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def run(problem: Problem, index: int, *, kernel: str, chains: int, steps: int) -> Result:
    """Samples the posterior of one measurement, with the index for a seed."""
    phi = Function(lambda z: problem.misfit(problem.increment.quantile(z), index))
    given = {"chains": chains, "steps": steps, "kernel": kernel, "keep": max(steps // 40, 1)}
    dim = problem.seen.shape[1]
    return sample(phi, dim=dim, seed=index, dtype=torch.float64, progress=False, **given)


def tail(result: Result, law: Increment) -> Tensor:
    """The increments of the draws of a run's last quarter, (N, L)."""
    assert result.draws is not None
    last = torch.tensor(result.draw_steps) > 0.75 * max(result.draw_steps)
    return law.quantile(result.draws[:, last].flatten(0, 1))


def judged(problem: Problem, index: int, u: Tensor, exact: Tensor) -> tuple[float, float, bool]:
    """The gap in dB, the coverage, and whether the true signal is inside, of increments u, (N, L).

    Arguments:
        problem: The measurements.
        index: Which of them.
        u: The draws of a run, (N, L).
        exact: Exact draws, (chains, K, L), of at least two chains.
    """
    half = len(exact) // 2
    first, second = (part.flatten(0, 1).cumsum(1).mean(0) for part in (exact[:half], exact[half:]))
    exact = exact.flatten(0, 1)
    estimate, spread = u.cumsum(1).mean(0), exact.cumsum(1).var(0).sum()
    excess = float(((estimate - first) * (estimate - second)).sum() / spread)
    height = problem.log_posterior(u, index).quantile(1 - LEVEL)
    inside = (problem.log_posterior(exact, index) >= height).double().mean()
    signal = bool(problem.log_posterior(problem.u[index], index) >= height)
    return 10 * math.log10(max(1 + excess, 1e-3)), float(inside), signal


def cell(law: Increment, name: str, options: argparse.Namespace) -> Cell:
    """Runs a cell."""
    began = time.process_time()
    problem = Problem.make(law, operator(name), options.measurements)
    exact = gibbs(problem, chains=4, sweeps=options.sweeps, burn=options.sweeps // 2, every=2)
    gaps, coverage, trust, inside, why = [], [], [], 0, Counter()
    for index in range(options.measurements):
        size = {"chains": options.chains, "steps": options.steps}
        result = run(problem, index, kernel=options.kernel, **size)
        gap, covered, signal = judged(problem, index, tail(result, law), exact[index])
        gaps.append(gap)
        coverage.append(covered)
        inside += signal
        trust.append(result.diagnosis.trustworthy)
        why.update((result.diagnosis.reasons or result.diagnosis.missing)[:1])
    reason = why.most_common(1)[0][0].split(";")[0] if why else ""
    noise = math.sqrt(LEVEL * (1 - LEVEL) / options.chains)
    spent = time.process_time() - began
    return Cell(law.name, name, gaps, coverage, trust, inside, reason, noise, spent)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", default="", help="cells whose name contains this word")
    parser.add_argument("--measurements", type=int, default=4)
    parser.add_argument("--chains", type=int, default=256)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument(
        "--sweeps", type=int, default=400, help="of Gibbs sampling, after half as many"
    )
    parser.add_argument("--kernel", default=kernels.DEFAULT)
    parser.add_argument(
        "--rows", type=Path, help="a file of cells: those it has are not run again"
    )
    options = parser.parse_args()
    known = {}
    if options.rows and options.rows.exists():
        before = [Cell(**json.loads(text)) for text in options.rows.read_text().splitlines()]
        known = {(each.law, each.operator): each for each in before}
    print(HEAD)
    cells = []
    for law in INCREMENTS:
        for name in OPERATORS:
            if options.only not in f"{law.name} {name}":
                continue
            found = known.get((law.name, name)) or cell(law, name, options)
            if options.rows and (law.name, name) not in known:
                with options.rows.open("a") as file:
                    file.write(json.dumps(asdict(found)) + "\n")
            cells.append(found)
            print(found, flush=True)
    trusted = [each for each in cells if each.trusted]
    bad = sum(each.bad for each in cells)
    print(
        f"{sum(each.trusted for each in cells)} runs of {len(trusted)} cells are trusted, and in {bad} of these their "
        f"gap is above {GAP} dB or their coverage beyond three Monte-Carlo errors of {LEVEL}; "
        f"{sum(each.seconds for each in cells):.0f} s of one core"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
