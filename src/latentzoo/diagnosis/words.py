"""The diagnosis in words: each line asks something, answers it, and gives the numbers after that."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from latentzoo.diagnosis.numbers import Numbers

Verdict = Literal["trustworthy", "not trustworthy", "too short to tell"]

UNTESTED = (
    "not tested: modes that no chain has seen, tails rarer than the draws, "
    "and whether the pictures show what the energies mean"
)
BLIND = (
    "the gradient of phi is zero although phi differs (is something rounded, counted or quantised?), so a kernel that "
    "follows gradients walks blind; take slice or pcn, which need none"
)
SELDOM = 0.01
"""Below which probability a discrepancy is not put down to chance."""
FINE = "trustworthy: every test was made, and none speaks against it"


@dataclass(frozen=True)
class Diagnosis(Numbers):
    """What was measured, and what follows from it.

    Attributes:
        reasons: What speaks against the sample.
        missing: Which tests could not be made, and what would allow them.
        notes: What else to know.
        exact: Whether these are draws of the prior, which need no test.
    """

    reasons: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    exact: bool = False

    @property
    def verdict(self) -> Verdict:
        """What the sample is worth."""
        if self.reasons:
            return "not trustworthy"
        return "too short to tell" if self.missing else "trustworthy"

    @property
    def trustworthy(self) -> bool:
        """Whether every test was made and none speaks against the sample."""
        return self.verdict == "trustworthy"

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data that any JSON reader takes: a number that is not finite is None."""
        told = {"verdict": self.verdict, "trustworthy": self.trustworthy}
        return told | {key: _finite(value) for key, value in asdict(self).items()}

    def __str__(self) -> str:
        return "\n".join(lines(self))


def lines(found: Diagnosis) -> list[str]:
    """Everything that was found, a line for each question."""
    if found.exact:
        told = [f"{found.chains} exact draws of the prior: nothing to settle, nothing to test"]
        return [*told, *(f"note: {note}" for note in found.notes), FINE]
    told = [
        f"{found.chains} chains of {found.steps} steps, {found.failed} failed"
        + _optional(", at the posterior from step {:.0f}", found.landed),
        f"did it settle? {_settled(found)}",
        f"do the chains agree? {_agree(found)}",
        f"were the steps right? {_steps(found)}",
        f"is the spread right? {_spread(found)}",
        f"do states and gradients fit? {_fit(found)}",
        f"is one chain enough? {_averages(found)}",
    ]
    told.append(f"how much was asked for? {_strength(found)}")
    told += [f"note: {note}" for note in found.notes]
    told += [f"not trustworthy: {reason}" for reason in found.reasons]
    if not found.reasons:
        told += [f"too short to tell: {reason}" for reason in found.missing]
    return [*told, *([FINE] if found.trustworthy else []), UNTESTED]


def _settled(found: Diagnosis) -> str:
    answer = {None: "too short to tell", True: "no", False: "yes"}
    moves = found.relaxing if found.drifting is None else found.relaxing or found.drifting
    energies = " -> ".join(f"{x:.4g}" for x in found.energy)
    left = max((x for x in (found.unsettled, found.ahead) if x is not None), default=None)
    return (
        f"{answer[moves]}: energy {energies}{_optional(' ± {:.2g}', found.energy_error)} at 50, 75 and 100 % of the run"
        + _optional(", at most {:.2g} standard deviations left", left)
    )


def _agree(found: Diagnosis) -> str:
    if found.apart is None:
        return "too few or too short to tell"
    if len(found.groups) > 1:
        told = (
            f"{len(found.groups)} groups of {', '.join(map(str, found.groups))} that none leaves"
        )
        return f"{'' if found.trustworthy else 'no: '}{told}; energies {found.apart:.2g} apart"
    return f"{'yes' if found.apart <= 2 else 'no'}: energies {found.apart:.2g} apart, in how far each chain's moves"


def _steps(found: Diagnosis) -> str:
    if found.acceptance is None and found.work is None:
        return f"not known by themselves: step size {_number(found.step_size)}, without a test"
    parts = [f"step size {_number(found.step_size)}"]
    parts += (
        [f"{found.acceptance:.0%} of the tested ones accepted"]
        if found.acceptance is not None
        else []
    )
    parts += (
        [f"error of untested ones {found.work:.2g} (0.2 is right)"]
        if found.work is not None
        else []
    )
    parts += [f"heat left {found.heat:.2g} nats"] if found.heat is not None else []
    return f"{', '.join(parts)}, put back {found.put_back}"


def _fit(found: Diagnosis) -> str:
    if found.ksd is None or found.ksd_p is None:
        return "not known: too few chains, or too few feel a gradient"
    return (
        f"{'yes' if found.ksd_p > SELDOM else 'hardly'}: kernel Stein discrepancy {found.ksd:.2g} per dimension, as "
        f"large by chance in {found.ksd_p:.1%} of runs; it sees wrong means and chains too close, no shares of modes"
    )


def _spread(found: Diagnosis) -> str:
    if found.identity is None:
        score, moment = _number(found.identity_score), _number(found.second_moment)
        return f"norm score {_number(found.norm_score)}, identity score {score}; second moment {moment}"
    return (
        f"{found.identity:.2f} ± {_number(found.identity_error)} of what the gradients say it must be; norm score "
        f"{_number(found.norm_score)} against the prior, largest curvature {_number(found.curvature)}"
    )


def _averages(found: Diagnosis) -> str:
    if found.rhat is None:
        return "too short to tell; each chain is one draw"
    answer = (
        "yes" if found.rhat <= 1.01 else "nearly" if found.rhat <= 1.05 else "no, each is one draw"
    )
    return (
        f"{answer}: R-hat {found.rhat:.3f} of phi, |z|^2 and {found.directions} directions of the gradients; together "
        f"worth {_number(found.ess)} effective draws, {_number(found.tail_ess)} in the tails"
    )


def _strength(found: Diagnosis) -> str:
    if found.nats is None:
        if found.nats_least is None:
            return "not measured: there are too few chains, or no gradients"
        if found.nats_most is not None and found.nats_least > found.nats_most:
            return (
                f"not known: the least, {_number(found.nats_least)} nats, came out above the most, "
                f"{_number(found.nats_most)}, so the draws are not right or too few; smc tells it closer"
            )
        return (
            f"between {_number(found.nats_least)} ± {_number(found.nats_least_error)} and {_number(found.nats_most)} ± "
            f"{_number(found.nats_most_error)} nats, if the draws are right; smc tells it closer"
        )
    return (
        f"{_number(found.nats)} ± {_number(found.nats_error)} nats; log Z {_number(found.log_z)} ± "
        f"{_number(found.log_z_error)}, from {found.ancestors} of {found.chains} starts"
    )


def _number(x: float | None) -> str:
    return "unknown" if x is None else f"{x:.3g}"


def _optional(template: str, x: float | None) -> str:
    return "" if x is None else template.format(x)


def _finite(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
