r"""What a sample is worth, in numbers and in words.

Nothing here looks at images: a run says by itself whether it has arrived and whether its steps were
right. The tests are

* *relaxing*: the mean of phi over the chains between 62 and 75 % of the run and over its last
  eighth differ by more than three standard errors of the chains' differences; *drifting*: that of
  :math:`|z|^2` does;
* *apart*: stuck chains look settled, so the chains are held against each other: over the last
  quarter, the spread of their mean energies is more than twice what a chain's energy moves,

  .. math:: \frac{\mathrm{sd}_b(\bar\phi_b)}{\sqrt{\overline{\mathrm{var}_t(\phi_{tb})}}} > 2
* *norm*: :math:`(\overline{|z|^2} - d) / \sqrt{2d/B}`, and, where gradients are known, the identity

  .. math:: \mathbb{E} \, \langle z - \bar{z}, \, z + \nabla \phi(z) \rangle = d,
      \qquad \bar{z} \text{ the mean of the other chains}

  which holds for every posterior, however far it is from the prior: its score is the mean over the
  chains in standard errors, and more than four is wrong;
* *work*: the error of untested steps, sd(W) / sd(phi) or what a Metropolis test would refuse of
  them (see `step_error`), aimed at 0.2 and doubtful above 0.5;
* *acceptance* of tested steps, put-back and failed chains, the ramp's arrival, the surviving
  ancestors of resampling, and the bias of a fixed Langevin step s in the steepest direction, whose
  variance is :math:`1/(1 - s(1+\kappa)/4)` times too large.

Time averages of single chains are another matter: for them split R-hat and effective sample sizes
of phi, of :math:`|z|^2` and along the main directions of the gradients (see `directions`) are given
where the traces are long enough to tell.

References:
    | Measuring sample quality with Stein's method (Gorham and Mackey, 2015)
    | https://arxiv.org/abs/1506.03039
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.diagnosis.convergence import LONG, ess_bulk, ess_tail, rhat
from latentzoo.kernels.adapt import step_error
from latentzoo.kernels.smc import SMCState, log_z_error
from latentzoo.kernels.types import Kernel
from latentzoo.kernels.ula import ULA
from latentzoo.run.chain import Failure
from latentzoo.run.trace import Trace

APART = 2.0
"""How far apart chains may be; runs that arrived on targets with known truth stay under 1.3."""


@dataclass(frozen=True)
class Diagnosis:
    """What was found; a number is None where the run is too short, or of the wrong kind, to tell.

    Attributes:
        chains: How many chains there were.
        failed: How many stopped because something was not finite.
        steps: How many steps each made.
        landed: The step at which the temperature reached the posterior.
        step_size: The step size at the end.
        acceptance: The mean acceptance of the last tested steps.
        work: The error of the untested steps of the second half, see `step_error`.
        put_back: How often a wild chain was put back after the ramp.
        energy: The mean of phi over the chains at 50, 75 and 100 % of the run.
        energy_error: The standard error of the last of them.
        relaxing: Whether phi still moves.
        drifting: Whether |z|^2 still moves.
        apart: How far the chains' mean energies are from each other, in how far each chain's moves.
        norm_score: The norm's deviation from the prior's, in standard errors.
        identity_score: The deviation from the posterior's own identity, in standard errors.
        second_moment: The median over the coordinates of the mean square over the chains, about 1.
        curvature: The largest curvature of phi, from below, from the gradients of the chains.
        directions: Along how many main directions of the gradients the chains were followed.
        rhat: The largest split R-hat of phi, |z|^2 and those directions over the second half.
        ess: The smallest bulk effective sample size of them, of all chains together.
        tail_ess: The smallest tail effective sample size.
        ess_per_gradient: `ess` per gradient spent in the second half by all chains.
        ancestors: How many starts have descendants, where chains were resampled.
        log_z: The log of the normalising constant Z, where the ramp measures it.
        log_z_error: Its standard error; see `kernels.smc`.
        nats: The strength of the guidance, KL(p(z|C) || prior), where the ramp measures it.
        reasons: Why the sample is not to be trusted; empty if it is.
        notes: What else to know.
    """

    chains: int
    failed: int
    steps: int
    landed: int | None
    step_size: float | None
    acceptance: float | None
    work: float | None
    put_back: int
    energy: tuple[float, ...]
    energy_error: float | None
    relaxing: bool | None
    drifting: bool | None
    apart: float | None
    norm_score: float
    identity_score: float | None
    second_moment: float
    curvature: float | None
    directions: int
    rhat: float | None
    ess: float | None
    tail_ess: float | None
    ess_per_gradient: float | None
    ancestors: int | None
    log_z: float | None
    log_z_error: float | None
    nats: float | None
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def trustworthy(self) -> bool:
        """Whether nothing speaks against the sample."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {"trustworthy": self.trustworthy, **asdict(self)}

    def __str__(self) -> str:
        lines = [
            f"{self.chains} chains of {self.steps} steps, {self.failed} failed"
            + _optional(", at the posterior from step {:.0f}", self.landed),
            "energy "
            + " -> ".join(f"{x:.4g}" for x in self.energy)
            + _optional(" ± {:.2g}", self.energy_error)
            + " at 50, 75 and 100 % of the run: "
            + {None: "too short to tell", True: "still relaxing", False: "settled"}[self.relaxing]
            + _optional("; chains {:.2g} apart", self.apart),
            f"step size {_number(self.step_size)}, acceptance {_number(self.acceptance)}, "
            f"error of untested steps {_number(self.work)}, put back {self.put_back}",
            f"norm score {self.norm_score:+.1f} against the prior, "
            f"{_number(self.identity_score)} against the posterior's identity; "
            f"second moment {self.second_moment:.3f}, largest curvature {_number(self.curvature)}",
            "time averages: too short to tell"
            if self.rhat is None
            else f"time averages of phi, |z|^2 and {self.directions} directions of the gradients: "
            f"R-hat {self.rhat:.3f}, effective draws {_number(self.ess)} bulk, "
            f"{_number(self.tail_ess)} tail, {_number(self.ess_per_gradient)} per gradient",
        ]
        if self.ancestors is not None:
            lines.append(
                f"{self.ancestors} of {self.chains} starts have descendants; "
                f"log Z {_number(self.log_z)} ± {_number(self.log_z_error)}, "
                f"strength {_number(self.nats)} nats"
            )
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"not trustworthy: {reason}" for reason in self.reasons]
        return "\n".join(
            lines if self.reasons else [*lines, "trustworthy: nothing speaks against it"]
        )


def diagnose(
    trace: Trace,
    z: Float[Tensor, "B D"],
    *,
    kernel: Kernel | None,
    state: Any = None,
    failures: Sequence[Failure] = (),
    notes: Sequence[str] = (),
) -> Diagnosis:
    """Judges a run.

    Arguments:
        trace: What every chain did; row 0 is the start.
        z: The latents the run left, (B, D).
        kernel: The kernel that walked.
        state: Its last state, for the tests that need gradients or ancestors.
        failures: The chains that stopped.
        notes: What was noticed on the way.
    """
    z, alive = z.cpu(), np.ones(len(z), bool)
    alive[[failure.chain for failure in failures]] = False
    keep = torch.from_numpy(np.flatnonzero(alive))
    columns = trace.array.astype(float)[:, :6, alive].transpose(1, 0, 2)
    phi, norm2, accept, h, beta, work = columns
    steps, chains = max(len(phi) - 1, 0), phi.shape[1]
    after = np.arange(len(phi)) > 0
    arrived = after & (beta == 1).all(1) & (chains > 0)
    half = arrived & (np.arange(len(phi)) >= len(phi) // 2)
    tested = after & ~np.isnan(accept).any(1)
    found = Diagnosis(
        chains=len(alive),
        failed=int((~alive).sum()),
        steps=steps,
        landed=int(arrived.argmax()) if arrived.any() else None,
        step_size=_mean(h[-1:]),
        acceptance=_mean(accept[half & tested]),
        work=_work(work, phi, half & ~tested),
        put_back=int((accept[arrived & ~tested] == 0).sum()),
        **_energy(phi, norm2, arrived),
        norm_score=_norm_score(z[keep]),
        identity_score=None,
        second_moment=float(z[keep].square().mean(0).median()) if chains else math.nan,
        curvature=None,
        **_averages(
            np.stack([phi, norm2], axis=1)[half],
            trace.along.astype(float)[half][:, :, alive],
            1.0 if kernel is None else kernel.gradients,
        ),
        **_population(state, keep, phi[half]),
        notes=tuple(notes),
    )
    if state is not None and state.grad.shape[1] > 0 and chains > 1:
        here, grad = state.z.cpu()[keep], state.grad.cpu()[keep]
        score, curvature = _identity_score(here, grad), _curvature(grad)
        found = replace(found, identity_score=score, curvature=curvature)
    return replace(found, reasons=tuple(_reasons(found, kernel, failures)))


def _reasons(
    found: Diagnosis, kernel: Kernel | None, failures: Sequence[Failure]
) -> Iterator[str]:
    if kernel is not None and not kernel.samples:
        yield "this kernel optimises: its results are no samples; take anneal for samples"
    if failures:
        first = failures[0]
        yield (
            f"{found.failed} of {found.chains} chains stopped, the first at step {first.step} "
            f"because '{first.term}' was not finite; look at that energy's input range"
        )
    if found.landed is None:
        yield "the chains never ran at the posterior's temperature; give more steps"
    if found.relaxing:
        yield "the energy is still relaxing over the last quarter of the run; give more steps"
    if found.drifting:
        yield "|z|^2 still moves over the last quarter of the run; give more steps"
    if found.apart is not None and found.apart > APART:
        yield (
            f"the chains' energies are {found.apart:.1f} times as far from each other as any of "
            "them moves, so some are stuck; give more steps, or take anneal"
        )
    least = 0.1 if kernel is None or kernel.adjusted else 0.5
    if found.acceptance is not None and found.acceptance < least:
        yield (
            f"only {found.acceptance:.0%} of the tested steps are accepted, so the step is too "
            "long; leave step_size out to adapt it"
        )
    if found.work is not None and found.work > 0.5:
        yield (
            f"the untested steps err by {found.work:.2g} of the energy's spread (0.2 is right); "
            "give a shorter step_size, or more steps to adapt it"
        )
    if found.put_back > 0.01 * found.chains * max(found.steps, 1):
        yield f"wild chains were put back {found.put_back} times; the energy is too rough to follow"
    yield from _norm_reasons(found)
    if isinstance(kernel, ULA) and found.curvature is not None:
        reach = kernel.step_size * (1 + found.curvature)
        if reach > 0.4:
            bias = "diverges" if reach >= 4 else f"is {1 / (1 - reach / 4):.2f} times too large"
            yield (
                f"in the steepest directions, of curvature about {found.curvature:.3g}, the "
                f"variance under step_size={kernel.step_size:g} {bias}; "
                f"take anneal, or step_size={0.2 / (1 + found.curvature):.1g}"
            )
    if found.rhat is not None and found.rhat > 1.05 and found.steps >= 1000:
        yield f"R-hat is {found.rhat:.2f} after a long run: the chains are in different places"
    if found.ancestors is not None and found.ancestors < found.chains / 4:
        yield (
            f"all chains descend from {found.ancestors} of {found.chains} starts, so shares of "
            "modes are noise; give more chains or a slower ramp"
        )


def _norm_reasons(found: Diagnosis) -> Iterator[str]:
    score = found.identity_score
    if score is not None and abs(score) > _three_sigma(found.chains - found.failed) * 4 / 3:
        yield (
            f"the spread of the chains is off by {score:+.1f} standard errors from what their "
            "gradients say it must be; the step is too long or the run too short"
        )
    if score is None and abs(found.norm_score) > 4 and not 0.9 < found.second_moment < 1.1:
        yield (
            f"|z|^2 is off by {found.norm_score:+.1f} standard errors from the prior's, in most "
            "coordinates; the step is too long or the chains have collapsed"
        )


def _energy(phi: np.ndarray, norm2: np.ndarray, arrived: np.ndarray) -> dict[str, Any]:
    """The mean energy on the way, its standard error at the end, and whether it still moves."""
    rows, chains = phi.shape
    if rows == 0 or chains == 0:
        return dict.fromkeys(("energy_error", "relaxing", "drifting", "apart"), None) | {
            "energy": ()
        }
    at = [round(part * (rows - 1)) for part in (0.5, 0.75, 1.0)]
    error = float(phi[-1].std(ddof=1)) / math.sqrt(chains) if chains > 1 else None
    long = arrived[5 * rows // 8 :].all() and rows >= 16
    return {
        "energy": tuple(float(phi[row].mean()) for row in at),
        "energy_error": error,
        "relaxing": _relaxing(phi) if long else None,
        "drifting": _relaxing(norm2) if long else None,
        "apart": _apart(phi[3 * rows // 4 :]) if long and chains >= 4 else None,
    }


def _apart(phi: np.ndarray) -> float:
    """The spread of the chains' mean energies, in the spread of a chain's energy over time."""
    within = math.sqrt(float(phi.var(0, ddof=1).mean()))
    between = float(phi.mean(0).std(ddof=1))
    return between / within if within > 0 else math.inf if between > 0 else 0.0


def _relaxing(phi: np.ndarray) -> bool | None:
    rows, chains = phi.shape
    before, after = phi[5 * rows // 8 : 6 * rows // 8], phi[7 * rows // 8 :]
    if chains < 4:
        if rows < LONG:
            return None
        effective = min(ess_bulk(before), ess_bulk(after))
        error = math.hypot(before.std(), after.std()) / math.sqrt(effective)
        return bool(abs(after.mean() - before.mean()) > 3 * error)
    change = after.mean(0) - before.mean(0)
    limit = _three_sigma(chains) * float(change.std(ddof=1)) / math.sqrt(chains)
    return abs(float(change.mean())) > limit


def _averages(draws: np.ndarray, along: np.ndarray, gradients: float) -> dict[str, Any]:
    """R-hat and effective sample sizes over the kept rows, or None where they would mislead.

    Arguments:
        draws: What is averaged, (T, Q, B).
        along: The same along directions, (T, K, B); left out where a row is not known.
        gradients: The gradients of a step.
    """
    rows, _, chains = draws.shape
    if rows < LONG or chains == 0:
        return {"directions": 0} | dict.fromkeys(("rhat", "ess", "tail_ess", "ess_per_gradient"))
    known = along[:, np.isfinite(along).all((0, 2))]
    each = [*draws.transpose(1, 0, 2), *known.transpose(1, 0, 2)]
    bulk = min(map(ess_bulk, each))
    return {
        "directions": known.shape[1],
        "rhat": max(map(rhat, each)) if chains > 1 else None,
        "ess": bulk,
        "tail_ess": min(map(ess_tail, each)),
        "ess_per_gradient": bulk / (rows * chains * gradients),
    }


def _population(state: Any, keep: Tensor, phi: np.ndarray) -> dict[str, Any]:
    """The ancestors of the chains at `keep`; what the ramp measured, if the energies phi follow it."""
    names: tuple[str, ...] = ("ancestors", "log_z", "log_z_error", "nats")
    if not isinstance(state, SMCState):
        return dict.fromkeys(names)
    ancestor = state.ancestor.cpu()[keep]
    found = dict.fromkeys(names) | {"ancestors": len(ancestor.unique())}
    if phi.size:
        log_z = float(state.log_z.cpu()[keep[0]])
        nats = float(-phi.mean()) - log_z
        found |= {"log_z": log_z, "log_z_error": log_z_error(ancestor), "nats": nats}
    return found


def _work(work: np.ndarray, phi: np.ndarray, rows: np.ndarray) -> float | None:
    """How wrong the steps of the given rows are; over chains where there are enough, else over time."""
    if not np.isfinite(work[rows]).any():
        return None
    axis = 1 if phi.shape[1] >= 4 else None
    spread = float(np.mean(phi[rows].std(axis)))
    relative = float(np.mean(work[rows].std(axis))) / spread if spread > 0 else math.inf
    return step_error(relative, float(np.exp(-work[rows].clip(min=0)).mean()))


def _norm_score(z: Tensor) -> float:
    if len(z) == 0:
        return math.nan
    dim = z.shape[1]
    return float((z.double().square().sum(1).mean() - dim) / math.sqrt(2 * dim / len(z)))


def _identity_score(z: Tensor, grad: Tensor) -> float:
    chains, dim = z.shape
    others = (z.double() - z.double().mean(0)) * chains / (chains - 1)
    value = (others * (z + grad)).sum(1) - dim
    return float(value.mean() / (value.std() / math.sqrt(chains) + 1e-12))


def _curvature(grad: Tensor) -> float:
    """The curvature from the gradients' covariance C, as tr C^2 / tr C: never far above the truth.

    The gradient's variance in a direction of curvature kappa is c = kappa^2 / (1 + kappa).
    """
    x = (grad - grad.mean(0)).double()
    gram, n = x @ x.T, len(x)
    across = float((gram.square().sum() - gram.diagonal().square().sum()) / (n * (n - 1)))
    c = across / (float(gram.diagonal().mean()) + 1e-30)
    return (c + math.sqrt(c * c + 4 * c)) / 2


def _three_sigma(chains: int) -> float:
    """The quantile of Student's t that is as rare as three standard deviations."""
    nu = max(chains - 1, 1)
    return 3 + 7.5 / nu + 17.25 / nu**2


def _mean(x: np.ndarray) -> float | None:
    x = x[np.isfinite(x)]
    return float(x.mean()) if x.size else None


def _number(x: float | None) -> str:
    return "unknown" if x is None else f"{x:.3g}"


def _optional(template: str, x: float | None) -> str:
    return "" if x is None else template.format(x)
