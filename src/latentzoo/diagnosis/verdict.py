"""What a sample is worth: three verdicts, and the reasons.

A verdict is `trustworthy` where every test that it needs was made and none failed, `not trustworthy` where one failed,
and `too short to tell` where one could not be made, because there are too few steps or too few chains. Absence of
evidence is no trust. What no run can test of itself stands beside every verdict, see `words.UNTESTED`.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from latentzoo.diagnosis.groups import CERTAIN
from latentzoo.diagnosis.numbers import Numbers, measure
from latentzoo.diagnosis.settled import CHAINS, lopsided, three_sigma, two_sigma
from latentzoo.diagnosis.traced import Stopped, Traced
from latentzoo.diagnosis.words import BLIND, Diagnosis
from latentzoo.kernels.types import Kernel

APART, RANKED, FAR = 2.0, 1.5, 10.0
"""How far apart chains may be, in energy and in its ranks; and in energy, whatever the ranks say."""
UNSETTLED = 1.0
"""By how many of its standard deviations phi may still move, or be raised by heat, for all that is known."""
AHEAD = 2.0
"""The same, where steps are so short that each move that chance makes counts as the first part of a long one."""
UNFINISHED = 0.5
"""How much of a move before the tested steps they may leave unfinished, in standard deviations."""
GOING = 0.25
"""The same of a move of all chains together, of which only what both halves of them share is seen."""
CROSSING, SUSPECT = 2.5, 2.0
"""By how many standard errors more chains may cross one way than the other; and where it is too short to tell."""
FLOW = 0.05
"""The least part of the chains that matters."""
WRONG, MOVED = 0.1, 0.5
"""The least deviation from Stein's identity that matters, per dimension; and in standard deviations of |z|^2, which
in many dimensions is less."""
UNKNOWN, UNSEEN = 0.5, 3.0
"""The largest one that may go unseen, per dimension; and in standard deviations of |z|^2."""
ACCEPTANCE = (0.1, 0.5)
"""The least acceptance, where all steps are tested, and where the tested ones certify the others."""
WORK = 0.5
"""The largest error of untested steps; they aim at 0.2."""
CHANCE = 0.001
"""How rarely chance may make the kernel Stein discrepancy as large as it is."""
LOST = 0.1
"""The largest part of the posterior that may have been passed and lost."""
WARM = 0.5
"""How much heat of untested steps may be left, in standard deviations of phi, or nats if that is more."""
FELT = 0.01
"""By how many nats phi must differ between draws to be felt."""
ANCESTORS = 1 / 4
"""The least part of the starts that must have descendants."""


def diagnose(
    trace: Traced,
    z: Float[Tensor, "B D"],
    *,
    kernel: Kernel | None,
    state: Any = None,
    failures: Sequence[Stopped] = (),
    notes: Sequence[str] = (),
    chosen: bool = False,
) -> Diagnosis:
    """Judges a run.

    Arguments:
        trace: What every chain did; row 0 is the start.
        z: The latents the run left, (B, D).
        kernel: The kernel that walked; None for draws of the prior.
        state: Its last state, for the tests that need gradients or ancestors.
        failures: The chains that stopped.
        notes: What was noticed on the way.
        chosen: Whether the latents are each chain's best instead of its last.
    """
    found = measure(trace, z, kernel=kernel, state=state, failures=failures)
    if kernel is None:
        return Diagnosis(**vars(found), notes=tuple(notes), exact=True)
    reasons = list(_reasons(found, kernel, failures))
    if chosen:
        reasons.insert(0, "each chain's best state was kept; leave out best for samples")
    return Diagnosis(
        **vars(found),
        reasons=tuple(reasons),
        missing=tuple(_missing(found, kernel)),
        notes=(*notes, *_notes(found)),
    )


def _reasons(found: Numbers, kernel: Kernel, failures: Sequence[Stopped]) -> Iterator[str]:
    """What speaks against the sample."""
    if not kernel.samples:
        yield "this kernel optimises: its results are no samples; take anneal for samples"
    if failures:
        first = failures[0]
        yield (
            f"{found.failed} of {found.chains} chains stopped, the first at step {first.step} "
            f"because '{first.term}' was not finite; look at that energy's input range"
        )
    if found.blind:
        yield BLIND
    if found.relaxing:
        yield f"the energy is still relaxing over the last quarter of the run; {_longer(kernel)}"
    if found.drifting:
        yield f"the latents still move over the last quarter of the run; {_longer(kernel)}"
    if found.unfinished is not None and found.unfinished > UNFINISHED:
        yield (
            f"the chains still moved before the tested steps, and those are too short to finish it: up to "
            f"{found.unfinished:.1f} standard deviations are left; {_longer(kernel)}"
        )
    if found.going is not None and found.going > GOING:
        yield (
            f"the chains as a whole were still going somewhere before the tested steps, and up to {found.going:.2f} "
            f"standard deviations of it are left; {_longer(kernel)}"
        )
    if _flows(found, CROSSING):
        yield (
            f"chains still cross from one part of the posterior to another, {found.fell} to lower energies and "
            f"{found.rose} to higher ones; {_longer(kernel)}"
        )
    if found.lost is not None and found.lost > LOST:
        yield (
            f"about {found.lost:.0%} of the posterior was passed on the way, at energies below those of all draws, and "
            f"no chain is there; {_more(found, kernel)}"
        )
    yield from _places(found, kernel)
    yield from _steps(found, kernel)
    if found.ancestors is not None and found.ancestors < ANCESTORS * found.chains:
        yield (
            f"all chains descend from {found.ancestors} of {found.chains} starts, so shares of "
            "modes are noise; give more chains, more steps or less weight"
        )


def _places(found: Numbers, kernel: Kernel) -> Iterator[str]:
    """Chains that are not where the others are."""
    if len(found.groups) > 1 and sum(found.groups) >= CERTAIN and not kernel.weighs:
        yield (
            f"the chains are in {len(found.groups)} groups ({' : '.join(map(str, found.groups))}) that none of them "
            f"leaves, and how many are in each is what their way there made of it; {_weighing(kernel)}"
        )
    if (
        found.apart is not None
        and found.ranked is not None
        and (found.apart > FAR or (found.apart > APART and found.ranked > RANKED))
        and not (kernel.weighs and len(found.groups) > 1)
    ):
        yield (
            f"the chains' energies are {found.apart:.1f} times as far from each other as any of "
            f"them moves, so some are stuck; {_longer(kernel)}"
        )


def _steps(found: Numbers, kernel: Kernel) -> Iterator[str]:
    """Steps that do not keep the posterior."""
    least = ACCEPTANCE[0] if kernel.adjusted else ACCEPTANCE[1]
    if found.acceptance is not None and found.acceptance < least:
        yield (
            f"only {found.acceptance:.0%} of the tested steps are accepted, so the step is too "
            "long; leave step_size out to adapt it, or give more steps"
        )
    if found.work is not None and found.work > WORK:
        yield (
            f"the untested steps err by {found.work:.2g} of the energy's spread (0.2 is right); "
            "give a shorter step_size, or more steps to adapt it"
        )
    if found.acceptance is None and found.put_back > 0.01 * found.chains * max(found.steps, 1):
        yield f"wild chains were put back {found.put_back} times; the energy is too rough to follow"
    yield from _spread(found)
    wide = (kernel.bias(0.0) - 1) * math.sqrt(found.dim / 2)
    if wide > MOVED:
        yield (
            f"even where phi says nothing the variance under step_size={found.step_size:.3g} is too large, which moves "
            f"|z|^2 by {wide:.1f} of its standard deviations; take anneal, or a shorter step_size"
        )
    bias = 1.0 if found.curvature is None else kernel.bias(found.curvature)
    if bias > 1 + WRONG:
        wrong = f"is {bias:.2f} times too large" if math.isfinite(bias) else "diverges"
        yield (
            f"in the steepest directions, of curvature about {found.curvature:.3g}, the variance under "
            f"step_size={found.step_size:.3g} {wrong}; take anneal, or a shorter step_size"
        )


def _spread(found: Numbers) -> Iterator[str]:
    """A spread of the chains that is not the posterior's."""
    alive = found.chains - found.failed
    score, mean, error = found.identity_score, found.identity, found.identity_error
    if mean is not None and error is not None:
        if abs(mean - 1) > max(_matters(found), three_sigma(alive) * error):
            yield (
                f"the spread of the chains is {mean:.3f} of what their gradients say it must be, over the end of "
                "the run; the step is too long or the run too short"
            )
    elif score is not None and abs(score) > three_sigma(alive) * 4 / 3:
        yield (
            f"the spread of the chains is off by {score:+.1f} standard errors from what their "
            "gradients say it must be; the step is too long or the run too short"
        )
    if found.ksd_p is not None and found.ksd_p <= CHANCE:
        yield (
            f"the last states and their gradients do not belong together: chance makes a kernel Stein discrepancy of "
            f"{found.ksd:.2g} less than once in {1 / CHANCE:.0f} times; the step is too long or the run too short"
        )
    moment = found.second_moment
    if (
        score is None
        and moment is not None
        and abs(found.norm_score or 0) > 4
        and not 0.9 < moment < 1.1
    ):
        yield (
            f"|z|^2 is off by {found.norm_score:+.1f} standard errors from the prior's, in most "
            "coordinates; the step is too long or the chains have collapsed"
        )


def _missing(found: Numbers, kernel: Kernel) -> Iterator[str]:
    """The tests that could not be made."""
    alive = found.chains - found.failed
    if alive < CHAINS:
        yield f"{alive} chains cannot be held against each other; give at least 8"
    elif alive < CERTAIN and len(found.groups) > 1:
        yield f"{alive} chains far from each other may be slow, or in modes of their own; give at least {CERTAIN}"
    if found.landed is None:
        yield "the chains never ran at the posterior's temperature; give more steps"
    elif found.relaxing is None:
        yield f"{found.steps} steps are too few to see whether the energy has settled; give more steps"
    elif found.unsettled is not None and found.unsettled > UNSETTLED:
        yield (
            f"the energy may still move by {found.unsettled:.1f} of its standard deviations, for all that "
            f"{alive} chains and {found.steps} steps can tell; give more of either"
        )
    elif found.ahead is not None and found.ahead > AHEAD:
        yield (
            f"the last steps are so short that the energy may have up to {found.ahead:.1f} of its standard deviations "
            f"to go, for all that {alive} chains can tell; give more steps"
        )
    elif _flows(found, SUSPECT) and not _flows(found, CROSSING):
        yield (
            f"{found.fell} chains crossed to lower energies and {found.rose} to higher ones, which may be chance "
            "or go on; give more steps"
        )
    if found.energy_spread is not None and found.energy_range is not None:
        if _warm(found):
            yield (
                f"untested steps have heated the chains, and {found.heat:.2g} nats of it may be left after the tested "
                "ones; give more steps"
            )
        if found.energy_range < FELT:
            yield (
                f"phi is the same in all draws, to {found.energy_range:.1g} nats: they are draws of the prior, or of "
                "where phi is flat, and nothing shows that what it asks for was found; give more chains or more weight"
            )
    if found.identity is not None and found.identity_error is not None:
        off, chance = abs(found.identity - 1), two_sigma(alive) * found.identity_error
        untold = not kernel.adjusted and found.work is None
        if off + chance > min(UNKNOWN, UNSEEN * math.sqrt(2 / found.dim)):
            yield f"the spread of the chains is known to {off + chance:.0%} only; give more chains or more steps"
        elif untold and off > max(_matters(found), chance):
            yield (
                f"the spread of the chains is {found.identity:.3f} ± {found.identity_error:.3f} of what gradients say "
                "it must be, and nothing else tells whether untested steps are right; give more chains, or take anneal"
            )
    elif not kernel.adjusted and found.work is None and found.identity_score is None:
        yield "nothing tells whether the steps are right: they are not tested, and there are no gradients"


def _flows(found: Numbers, errors: float) -> bool:
    """Whether chains cross one way by more than so many standard errors, and are more than few."""
    if found.fell is None or found.rose is None:
        return False
    few = abs(found.fell - found.rose) <= FLOW * (found.chains - found.failed)
    return lopsided(found.fell, found.rose) > errors and not few


def _matters(found: Numbers) -> float:
    """The least deviation from Stein's identity that matters, per dimension."""
    return min(WRONG, MOVED * math.sqrt(2 / found.dim))


def _warm(found: Numbers) -> bool:
    """Whether heat may be left that matters.

    Heat goes in along the gradients. Where these point in many directions it is shared by all of them, and matters as
    far as phi, |z|^2, or the energy of one direction, whose sd is 1 / sqrt 2, may be raised by it.
    """
    if found.heat is None or found.heat <= WARM * max(found.energy_spread or 0.0, 1.0):
        return False
    if found.felt is None or found.pointing is None:
        return True
    return found.felt > UNSETTLED or found.heat / found.pointing > WARM / math.sqrt(2)


def _notes(found: Numbers) -> Iterator[str]:
    if found.rhat is not None and found.rhat > 1.05 and len(found.groups) < 2:
        yield (
            f"R-hat is {found.rhat:.2f}, of chains in one group: they move slowly, so each is one draw, and its "
            "average over time is worth little more"
        )


def _longer(kernel: Kernel) -> str:
    """What to do where the chains did not arrive."""
    return (
        "give more steps" if kernel.anneals or kernel.weighs else "give more steps, or take anneal"
    )


def _more(found: Numbers, kernel: Kernel) -> str:
    """What to do where a mode was lost."""
    del kernel
    return "give more chains" if found.chains >= 64 else "give more chains, 64 at least"


def _weighing(kernel: Kernel) -> str:
    """What to run where shares of modes are asked for."""
    del kernel
    return "for their shares take smc with at least 64 chains"
