r"""What is measured of a run, before anybody judges it.

Nothing here looks at images: a run says by itself whether it has arrived and whether its steps were right.

* *settled*: the means of phi over the chains between 81 and 91 % of the run and after; their difference is compared
  with the chains' own differences, and with the spread of phi: what many chains see may be too little to matter, and
  what few do not see may be much, the more so the less they turned meanwhile; the same for :math:`|z|^2`, along the
  followed directions, and along where the chains were going, see `run.heading`. Both parts are of the certified tail:
  where steps begin to be tested, a small bias of the untested ones goes, and that is no drift;
* *apart*: stuck chains look settled, so the chains are held against each other: over the last quarter,

  .. math:: \frac{\mathrm{sd}_b(\bar\phi_b)}{\sqrt{\overline{\mathrm{var}_t(\phi_{tb})}}},

  for phi and for the normal scores of its ranks, since a few rare draws of a skew energy stretch the first; and from
  5/8 of the run on they are split into groups that none leaves, see `groups`;
* *identity*: Stein's, :math:`\mathbb{E} \, \langle z - \bar z, \, z + \nabla \phi(z) \rangle = d`, with the mean of the
  other chains, which holds for every posterior, however far it is from the prior: of the last states, in standard
  errors, and over time, see `run.directions`; *norm*: :math:`(\overline{|z|^2} - d) / \sqrt{2d/B}`;
* *work*: the error of untested steps, see `step_error`, aimed at 0.2; *acceptance* of tested ones.

Time averages of single chains are another matter: for them split R-hat and effective sample sizes of phi, of
:math:`|z|^2` and along the main directions of the gradients are given where the traces are long enough to tell.

References:
    | Measuring sample quality with Stein's method (Gorham and Mackey, 2015)
    | https://arxiv.org/abs/1506.03039
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.diagnosis.convergence import LONG, ess_bulk, ess_tail, normal_scores, rhat
from latentzoo.diagnosis.gradients import gradients
from latentzoo.diagnosis.groups import groups
from latentzoo.diagnosis.left import erring, felt, heat, lost, unfinished
from latentzoo.diagnosis.rows import ROWS, Rows
from latentzoo.diagnosis.settled import CHAINS, ahead, apart, crossed, moving, unsettled
from latentzoo.diagnosis.traced import Stopped, Traced
from latentzoo.kernels.types import Kernel, Population

MOVES = ("relaxing", "drifting", "fell", "rose", "unsettled", "ahead")
"""What is told of whether the run still moves."""


@dataclass(frozen=True)
class Numbers:
    """What was measured; a number is None where the run is too short, or of the wrong kind, to tell.

    Attributes:
        chains: How many chains there were.
        dim: How many coordinates a latent has.
        failed: How many stopped because something was not finite.
        steps: How many steps each made.
        landed: The step at which the temperature reached the posterior.
        step_size: The step size at the end.
        acceptance: The mean acceptance of the last tested steps.
        work: The error of the untested steps of the second half, see `step_error`.
        put_back: How often a wild chain was put back after the ramp.
        heat: How many nats of what untested steps put in are left at the end, see `left`.
        felt: How much of it phi and |z|^2 may feel, at 95 % confidence, in their standard deviations.
        lost: The part of the posterior that was passed and that no draw is in, see `left`.
        unfinished: How much of a move before the tested steps they may not have finished, see `left`.
        going: The same of a move that all chains share, along where they were going, see `run.heading`.
        energy: The mean of phi over the chains at 50, 75 and 100 % of the run.
        energy_error: The standard error of the last of them.
        energy_range: The standard deviation of all energies of the last quarter.
        energy_spread: The median over its steps of that from chain to chain, which no rare high energy stretches.
        relaxing: Whether phi still moves.
        drifting: Whether |z|^2, or a followed direction, still moves.
        fell, rose: How many chains crossed into a part of lower energy, and out of it, see `settled.crossed`.
        unsettled: By how much phi may still move, at 95 % confidence, in its standard deviations.
        ahead: The same until it rests, as far as the chains turned meanwhile can tell, see `settled`.
        apart: How far the chains' mean energies are from each other, in how far each chain's moves.
        ranked: The same of the energies' ranks, which a few rare draws do not stretch.
        groups: How many chains are in each of the groups that none leaves, the largest first.
        norm_score: The norm's deviation from the prior's, in standard errors.
        identity_score: The last states' deviation from Stein's identity, in standard errors.
        identity: Stein's identity per dimension over the last three eighths, 1 at the posterior.
        identity_error: Its standard error, from the differences of the chains.
        ksd: The squared kernel Stein discrepancy of the last states, per dimension, see `ksd`.
        ksd_p: How often chance alone makes it as large.
        second_moment: The median over the coordinates of the mean square over the chains, about 1.
        curvature: The largest curvature of phi, from below, from the gradients of the chains.
        pointing: In how many directions the gradients of the chains point.
        blind: Whether the gradient is zero everywhere although phi differs.
        directions: Along how many main directions of the gradients the chains were followed.
        rhat: The largest split R-hat of phi, |z|^2 and those directions over the second half.
        ess: The smallest bulk effective sample size of them, of all chains together.
        tail_ess: The smallest tail effective sample size.
        ess_per_gradient: `ess` per gradient spent in the second half by all chains.
        ancestors: How many starts have descendants, where chains were resampled.
        log_z: The log of the normalising constant Z, where the ramp measures it.
        log_z_error: Its standard error; see `kernels.types.Population`.
        nats: The strength of the guidance, KL(p(z|C) || prior), where the ramp measures it.
        nats_error: Its standard error.
        nats_least, nats_most: Between what it is, by the last states and their gradients; see `nats`.
        nats_least_error, nats_most_error: Their standard errors.
    """

    chains: int
    dim: int
    failed: int
    steps: int
    landed: int | None
    step_size: float | None
    acceptance: float | None
    work: float | None
    put_back: int
    heat: float | None
    felt: float | None
    lost: float | None
    unfinished: float | None
    going: float | None
    energy: tuple[float, ...]
    energy_error: float | None
    energy_range: float | None
    energy_spread: float | None
    relaxing: bool | None
    drifting: bool | None
    fell: int | None
    rose: int | None
    unsettled: float | None
    ahead: float | None
    apart: float | None
    ranked: float | None
    groups: tuple[int, ...]
    norm_score: float | None
    identity_score: float | None
    identity: float | None
    identity_error: float | None
    ksd: float | None
    ksd_p: float | None
    second_moment: float | None
    curvature: float | None
    pointing: float | None
    blind: bool
    directions: int
    rhat: float | None
    ess: float | None
    tail_ess: float | None
    ess_per_gradient: float | None
    ancestors: int | None
    log_z: float | None
    log_z_error: float | None
    nats: float | None
    nats_error: float | None
    nats_least: float | None
    nats_least_error: float | None
    nats_most: float | None
    nats_most_error: float | None


def measure(
    trace: Traced,
    z: Float[Tensor, "B D"],
    *,
    kernel: Kernel | None,
    state: Any = None,
    failures: Sequence[Stopped] = (),
) -> Numbers:
    """Measures a run; see `diagnose` for the arguments."""
    z, alive = z.cpu(), np.ones(len(z), bool)
    alive[[failure.chain for failure in failures]] = False
    keep = torch.from_numpy(np.flatnonzero(alive))
    rows = Rows.of(trace, alive)
    half, tested = rows.half, rows.tested
    cost = 1.0 if kernel is None else kernel.gradients
    known = None if kernel is None or state is None else kernel.population(state)
    return Numbers(
        chains=len(alive),
        dim=z.shape[1],
        failed=int((~alive).sum()),
        steps=max(len(rows.phi) - 1, 0),
        landed=int(rows.arrived.argmax()) if rows.arrived.any() else None,
        step_size=_mean(rows.step_size[-1:]),
        acceptance=_mean(rows.accept[half & tested]),
        work=erring(rows.error, rows.phi, half & ~tested),
        put_back=int((rows.accept[rows.arrived & ~tested] == 0).sum()),
        **_energy(rows, kernel),
        **_places(rows),
        **_averages(rows, cost),
        **_identity(rows),
        **_ends(z[keep]),
        **_way(rows, kernel, z.shape[1]),
        **gradients(state, keep, rows.phi, known),
        **_population(known, keep, rows.phi[half]),
    )


def _energy(rows: Rows, kernel: Kernel | None) -> dict[str, Any]:
    """The mean energy on the way, its standard error at the end, and whether it still moves."""
    phi = rows.phi
    length, chains = phi.shape
    if length == 0 or chains == 0:
        return {"energy": ()} | dict.fromkeys(
            ("energy_error", "energy_range", "energy_spread", *MOVES)
        )
    at = [round(part * (length - 1)) for part in (0.5, 0.75, 1.0)]
    error = float(phi[-1].std(ddof=1)) / math.sqrt(chains) if chains > 1 else None
    found = {"energy": tuple(float(phi[row].mean()) for row in at), "energy_error": error}
    if not rows.long:
        return found | dict.fromkeys(("energy_range", "energy_spread", *MOVES))
    moves = [moving(x) for x in (*rows.followed[1:], rows.going) if rows.late(x)]
    last = phi[3 * length // 4 :]
    spread = float(last.std())
    fell, rose = crossed(phi)
    friction = None if kernel is None else kernel.friction
    may = None if chains < CHAINS else unsettled(phi, spread)
    return found | {
        "fell": fell,
        "rose": rose,
        "energy_range": spread,
        "energy_spread": spread if chains < CHAINS else float(np.median(last.std(1))),
        "relaxing": moving(phi),
        "drifting": None if None in moves else any(moves),
        "unsettled": may,
        "ahead": may * ahead(rows.step_size, friction) if may and friction else None,
    }


def _places(rows: Rows) -> dict[str, Any]:
    """How far apart the chains are in energy, and in how many groups by all that is followed."""
    length, chains = rows.phi.shape
    if not rows.long or chains < CHAINS:
        return {"apart": None, "ranked": None, "groups": ()}
    last = rows.phi[3 * length // 4 :]
    count = np.bincount(groups([x[5 * length // 8 :] for x in rows.followed]))
    return {
        "apart": apart(last),
        "ranked": apart(normal_scores(last)),
        "groups": tuple(sorted(count.tolist()))[::-1],
    }


def _way(rows: Rows, kernel: Kernel | None, dim: int) -> dict[str, Any]:
    """What the way to the posterior left behind; see `left`."""
    chains = rows.phi.shape[1]
    if chains == 0 or not rows.long:
        return dict.fromkeys(("heat", "felt", "lost", "unfinished", "going"))
    found: dict[str, Any] = {"lost": lost(rows.phi, rows.beta, rows.norm2, dim)}
    friction = None if kernel is None else kernel.friction
    if friction is None:
        return found | dict.fromkeys(("heat", "felt", "unfinished", "going"))
    kept, step_size = np.isnan(rows.accept), rows.step_size
    found["heat"] = heat(rows.error, step_size, kept, rows.tested, friction)
    found["felt"] = felt((rows.phi, rows.norm2), step_size, rows.tested, friction)
    left = lambda followed: unfinished(followed, step_size, rows.tested, friction)
    many = chains >= CHAINS
    found["unfinished"] = left(filter(rows.late, rows.followed)) if many else None
    found["going"] = left([rows.going]) if many and rows.late(rows.going) else None
    return found


def _averages(rows: Rows, gradients: float) -> dict[str, Any]:
    """R-hat and effective sample sizes over the second half, or None where they would mislead."""
    count, chains = int(rows.half.sum()), rows.phi.shape[1]
    along = rows.along[rows.half]
    known = along[:, np.isfinite(along).all((0, 2))]
    found = {"directions": known.shape[1]}
    if count < LONG or chains == 0:
        return found | dict.fromkeys(("rhat", "ess", "tail_ess", "ess_per_gradient"))
    each = [rows.phi[rows.half], rows.norm2[rows.half], *known.transpose(1, 0, 2)]
    bulk = min(map(ess_bulk, each))
    return found | {
        "rhat": max(map(rhat, each)) if chains > 1 else None,
        "ess": bulk,
        "tail_ess": min(map(ess_tail, each)),
        "ess_per_gradient": bulk / (count * chains * gradients),
    }


def _identity(rows: Rows) -> dict[str, Any]:
    """Stein's identity over the last three eighths, each chain's average a draw."""
    length, chains = rows.identity.shape
    last = rows.identity[3 * length // 4 :]
    if length < ROWS or chains < CHAINS or not np.isfinite(last).all():
        return {"identity": None, "identity_error": None}
    each = last.mean(0)
    return {
        "identity": float(each.mean()),
        "identity_error": float(each.std(ddof=1)) / math.sqrt(chains),
    }


def _ends(z: Float[Tensor, "B D"]) -> dict[str, Any]:
    """The norm of the last states, against the prior's."""
    if len(z) == 0:
        return {"norm_score": None, "second_moment": None}
    dim, norm2 = z.shape[1], z.double().square().sum(1).mean()
    return {
        "norm_score": float((norm2 - dim) / math.sqrt(2 * dim / len(z))),
        "second_moment": float(z.square().mean(0).median()),
    }


def _population(
    known: Population | None, keep: Tensor, phi: Float[np.ndarray, "T B"]
) -> dict[str, Any]:
    """The ancestors of the chains at `keep`; what the ramp measured, if the energies phi follow it."""
    names: tuple[str, ...] = ("ancestors", "log_z", "log_z_error", "nats", "nats_error")
    if known is None or len(keep) == 0:
        return dict.fromkeys(names)
    ancestor = known.ancestor.cpu()[keep]
    found = dict.fromkeys(names) | {"ancestors": len(ancestor.unique())}
    if phi.size:
        log_z, error = float(known.log_z.cpu()[keep[0]]), known.error
        mean = phi.mean(0)
        spread = float(mean.std(ddof=1)) / math.sqrt(len(mean)) if len(mean) > 1 else math.inf
        found |= {"log_z": log_z, "log_z_error": error}
        found |= {"nats": float(-phi.mean()) - log_z, "nats_error": math.hypot(error, spread)}
    return found


def _mean(x: np.ndarray) -> float | None:
    x = x[np.isfinite(x)]
    return float(x.mean()) if x.size else None
