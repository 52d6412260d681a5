r"""How kernels choose temperatures and step sizes, and how a recorded choice is followed.

A ramp raises :math:`\beta` from the prior (0) to the posterior (1). The largest increment is taken
for which the conditional effective sample size of the chains stays a fraction of their number,

.. math:: \frac{\mathrm{CESS}(\delta)}{B} = \frac{(\sum_b w_b \, e^{-\delta \phi_b})^2}
    {\sum_b w_b \, e^{-2 \delta \phi_b}}, \qquad \sum_b w_b = 1

and never less than a geometric ramp would need to arrive in time. Metropolis kernels find their
step size by stochastic approximation, shared by the batch,

.. math:: \log h \leftarrow \log h + 1.2 \, t^{-1/2} \, (\bar{a} - a^*)

until half of the budget is spent; from then on the kernel is fixed. The pairs :math:`(\beta_t,
h_t)` of a run are its
schedule: a chain that follows it walks alone as it walked in its batch.

References:
    | Toward automatic model comparison: an adaptive sequential Monte Carlo approach
    | (Zhou, Johansen and Aston, 2016)
    | https://arxiv.org/abs/1303.3123
    | A tutorial on adaptive MCMC (Andrieu and Thoms, 2008)
    | https://doi.org/10.1007/s11222-008-9110-y
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import SpecError
from latentzoo.kernels.types import Kernel, Point

NORMAL = NormalDist()
"""The law whose quantiles are work; torch would take a dozen times as long for one number."""
Schedule = tuple[tuple[float, float], ...]
"""The inverse temperature and the step size of each step of a run."""


class Tuned(NamedTuple):
    """The state of a Metropolis kernel without momentum whose step size is tuned.

    Attributes:
        clock: The number of the next step, from 1, (B,).
        log_h: The log step size, the same for each chain, (B,).
    """

    z: Tensor
    phi: Tensor
    grad: Tensor
    terms: Tensor
    clock: Tensor
    log_h: Tensor

    @classmethod
    def begin(cls, point: Point, step_size: float) -> "Tuned":
        """The state before the first step."""
        log_h = torch.full_like(point.phi, math.log(step_size))
        return cls(*point, torch.ones_like(log_h, dtype=torch.long), log_h)

    @property
    def point(self) -> Point:
        """Where the chains are."""
        return Point(*self[:4])

    def step_size(self, schedule: Schedule | None) -> Float[Tensor, "B"]:
        """The step size of the next step: the recorded one, else the tuned one."""
        return self.log_h.exp() if schedule is None else follow(schedule, self.clock, self.phi)[1]

    def after(
        self,
        point: Point,
        accept: Float[Tensor, "B"],
        *,
        target: float,
        longest: float,
        until: float,
    ) -> "Tuned":
        """The state after a step that is accepted so often.

        Arguments:
            point: Where the chains are then.
            accept: The probability of acceptance, (B,).
            target: The acceptance to aim for.
            longest: The longest step size.
            until: The step from which the step size stays.
        """
        log_h, t = self.log_h, int(self.clock[0])
        if t < until:
            log_h = robbins_monro(log_h, accept, target=target, t=t, longest=longest)
        return Tuned(*point, self.clock + 1, log_h)


def settled(kernel: Kernel) -> float:
    """The step from which a kernel with a `Tuned` state keeps its step size; 0 where it is given."""
    return kernel.budget // 2 / kernel.gradients if kernel.coupled else 0


def schedule(beta: Float[np.ndarray, "T B"], step_size: Float[np.ndarray, "T B"]) -> Schedule:
    """Reads the schedule off a trace; rows without a living chain, like the start, are left out.

    Raises:
        SpecError: If the chains of a row disagree, because they were not run together.
    """
    rows = []
    for row in np.stack([beta, step_size], axis=2):
        row = row[np.isfinite(row).all(1)]
        if len(row) == 0:
            continue
        if (row != row[0]).any():
            raise SpecError(
                "these chains did not share a schedule; follow the record of a single run"
            )
        rows.append((float(row[0, 0]), float(row[0, 1])))
    return tuple(rows)


def follow(rows: Schedule, clock: Tensor, like: Float[Tensor, "B"]) -> tuple[Tensor, Tensor]:
    """Reads the temperature and step size, each (B,), of the step that follows `clock` gradients.

    Raises:
        SpecError: If the schedule is shorter than the run.
    """
    t = int(clock[0]) - 1
    if t >= len(rows):
        raise SpecError(
            f"the schedule ends after {len(rows)} steps; run no more steps than its record has"
        )
    beta, h = rows[t]
    return torch.full_like(like, beta), torch.full_like(like, h)


def conditional_ess(above: Float[Tensor, "B"], delta: float, w: Float[Tensor, "B"]) -> float:
    """The conditional effective sample size of an increment `delta`, as a fraction in (0, 1].

    Arguments:
        above: The potential of each chain above the least one, (B,).
        delta: How much the inverse temperature is raised.
        w: The weights of the chains, (B,), whose sum is 1.
    """
    e = (-delta * above).exp_()
    return float((w @ e) ** 2 / (w @ e.square_()))


def raise_temperature(
    phi: Float[Tensor, "B"],
    beta: float,
    log_w: Float[Tensor, "B"] | None = None,
    *,
    cess: float,
    left: float,
    end: float = 1.0,
) -> float:
    """Chooses the next inverse temperature.

    Arguments:
        phi: The potential of each chain, (B,).
        beta: The inverse temperature until now, below the end.
        log_w: The log-weights of the chains, (B,), where they are weighted.
        cess: The fraction of the conditional effective sample size to keep.
        left: How many steps the ramp may still take.
        end: Where the ramp ends.
    """
    if left <= 1:
        return end
    phi = phi.cpu().double()
    log_w = torch.zeros_like(phi) if log_w is None else log_w.cpu().double()
    above, w = phi - phi.min(), log_w.softmax(0)
    low, high = 0.0, end - beta
    if conditional_ess(above, high, w) >= cess:
        return end
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if conditional_ess(above, middle, w) >= cess else (low, middle)
    in_time = beta * (end / beta) ** (1 / left) if beta > 0 else 0.0
    return min(max(beta + low, in_time), end)


def temperature(
    phi: Float[Tensor, "B"], beta: Float[Tensor, "B"], *, clock: int, cess: float, steps: float
) -> Float[Tensor, "B"]:
    """Chooses the next inverse temperature of a batch that carries no weights.

    Fewer than four chains cannot measure a sample size; theirs is the square of the time.

    Arguments:
        phi: The potential of each chain, (B,).
        beta: The inverse temperature until now, the same for each chain, (B,).
        clock: The gradients spent, at least 1.
        cess: The fraction of the conditional effective sample size to keep.
        steps: The longest ramp, in gradients.
    """
    if steps <= clock or (now := float(beta[0])) == 1:
        return torch.ones_like(beta)
    if len(phi) < 4:
        return torch.full_like(beta, min(1.0, (clock / (0.75 * steps)) ** 2))
    new = raise_temperature(phi, now, cess=cess, left=steps - clock)
    return torch.full_like(beta, new)


def deviation(accept: float) -> float:
    r"""The sd s of Gaussian shadow work whose steps a Metropolis test accepts so often.

    .. math:: 2 \Phi(-s / 2) = a
    """
    return -2 * NORMAL.inv_cdf(min(max(accept / 2, 1e-300), 0.5))


FEW = 0.25
"""What work counts on a ramp that only few chains do."""
CHANGE, HASTE = 0.8, 6.0
"""How the change of the energy in a step compares with its spread, at the chosen step size; and by how much the aim for
the work is raised at most where it is less."""


def step_error(relative: float, accept: float, typical: float = math.inf) -> float:
    r"""How wrong untested steps are; 0.2 is right.

    .. math:: \rho = \min\left(\frac{\mathrm{sd}(W)}{\mathrm{sd}(\beta \phi)}, \; \sqrt 2 \, s\right)

    Both are the same for a potential that informs one direction well, whose sd is
    :math:`1 / \sqrt 2`. With many directions the first is less, since their errors must be seen
    against them all. The second is less where the potential is flat but for walls that few steps
    hit: its own spread is then no measure, and the work has no useful second moment. Where states are not kept, on a
    ramp, those few count a quarter, as chains that wait for them arrive late: s is then
    :math:`\max(s_{1/2}, s / 4)`, with :math:`s_{1/2}` the spread of the middle half of the chains.

    Arguments:
        relative: sd(W) / sd(beta phi).
        accept: The mean of min(1, exp(-W)).
        typical: The sd of W as the middle half of the chains has it, on a ramp.
    """
    s = deviation(accept)
    return min(relative, math.sqrt(2) * min(s, max(typical, FEW * s)))


def middle_spread(x: Float[Tensor, "B"]) -> float:
    """The sd of Gaussian numbers whose quartiles are those of x."""
    low, high = torch.quantile(
        x.double(), torch.tensor([0.25, 0.75], dtype=torch.float64).to(x.device)
    )
    return float(high - low) / 1.349


def haste(old: Float[Tensor, "B"], new: Float[Tensor, "B"]) -> float:
    r"""By how much the aim for the work is raised in a step of the ramp from the energies `old` to `new`.

    .. math:: \max\left(1, \; \min\left(6, \; 0.8 \,
        \frac{\mathrm{sd}(\phi)}{\mathrm{median} |\phi' - \phi|}\right)\right)

    Chains that have reached their temperature change their energies in a step nearly as much as these are apart.
    Where they change them far less, the chains are on their way, and what errors put in is little beside what is
    left to go.
    """
    pace = float((new - old).abs().median() / (old.std() + 1e-3))
    return min(max(CHANGE / (pace + 1e-6), 1.0), HASTE)


def robbins_monro(
    log_h: Float[Tensor, "B"],
    accept: Float[Tensor, "B"],
    *,
    target: float,
    t: int,
    longest: float = 1.0,
) -> Float[Tensor, "B"]:
    """Corrects the shared log step size for the t-th time (t >= 1) towards the `target`."""
    gain = 1.2 / math.sqrt(t)
    return (log_h + gain * (accept.nan_to_num(0.0).mean() - target)).clamp(max=math.log(longest))
