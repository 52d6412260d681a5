r"""The default: the annealed kernel, which changes its mind where its chains come to separate modes.

Until N/2 it is `anneal`. Over the last fifth before that, the main directions of the chains' gradients are gathered,
then the chains are followed along them, and if they sit in groups that none of them leaves, every fifth step from
then on is a jump between the groups (`jumps`), at one gradient like any other, unless it begins or ends a phase. How
many chains the ramp brought to each mode is then forgotten within a few jumps, and the shares of modes are the
posterior's, in every chain and with no weights. Where there is one group, the run is that of `anneal`, bit for bit;
where jumps are hardly ever taken, because the modes do not look alike, the groups remain, and the verdict says so:
`smc` weighs them.

The maps between the groups are learned from all chains and are part of what a run hands on: a chain that follows the
schedule and the maps walks alone as it walked in its batch.

References: see `anneal` and `jumps`.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from latentzoo.kernels.adapt import Schedule, follow
from latentzoo.kernels.anneal import Anneal, AnnealState
from latentzoo.kernels.jumps import Followed, Maps, shared_uniform
from latentzoo.kernels.lowrank import Reference
from latentzoo.kernels.types import Angle, Info, Kernel, Point, Potential, where
from latentzoo.options import Portion, Positive, Share
from latentzoo.rng import Rng

FEWEST = 8
"""Of how many chains groups are looked for."""
EVERY = 5
"""Every how many steps chains jump."""
WINDOW = 0.2
"""For which part of the budget before the half directions are gathered, and then the chains followed."""

_FOLLOWED = {f"group_{name}": Tensor for name in Followed._fields}
AutoState = NamedTuple("AutoState", tuple((AnnealState.__annotations__ | _FOLLOWED).items()))
"""The state of `anneal`, and what was seen of the groups: the fields of `jumps.Followed`."""


@dataclass(frozen=True)
class Auto(Kernel):
    """Creates the default kernel.

    Arguments:
        step_size: The step h, an angle; None adapts it.
        gamma: The friction.
        cess: The fraction of the conditional effective sample size that a rise in temperature
            keeps.
        ramp: The longest part of the budget that the ramp may take.
        work: The aim for sd(work) / sd(energy).
        tail: The part of the budget that ends the run with accept/reject steps; 0 leaves it out.
        precondition: As in `anneal`.
        jumps: "auto" lets chains jump between the groups that they are in at half of the run; "none"
            does not; the `Maps` of another run are taken from there on, for its schedule.
        schedule: The (beta, h) of each step of another run, to follow instead of adapting.
    """

    step_size: Angle | None = None
    gamma: Positive = 1.0
    cess: Portion = 0.5
    ramp: Share = 0.4
    work: Portion = 0.2
    tail: Share = 0.25
    precondition: Literal["auto", "none"] | Reference = "auto"
    jumps: Literal["auto", "none"] | Maps = "auto"
    schedule: Schedule | None = None
    anneals: ClassVar[bool] = True
    State: ClassVar[type[Any]] = AutoState

    @cached_property
    def _moves(self) -> Anneal:
        return Anneal(**{field.name: getattr(self, field.name) for field in fields(Anneal)})

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> AutoState:
        return AutoState(*self._moves.init(phi, z, rng), *Followed.nothing(z))

    @property
    def coupled(self) -> bool:
        return self.schedule is None

    @property
    def friction(self) -> float:
        return self.gamma

    def step(self, phi: Potential, state: AutoState, rng: Rng) -> tuple[AutoState, Info]:
        moves, maps, old = self._moves, self.maps(state), _moving(state)
        if maps is not None and int(old.clock[0]) % EVERY == 0 and not moves.turns(old):
            return self._jump(phi, state, rng, maps)
        new, info = moves.step(phi, old, rng)
        return self._follow(state._replace(**new._asdict()), phi), info

    def learned(self, state: AutoState) -> dict[str, Any]:
        return self._moves.learned(_moving(state)) | {"jumps": self.maps(state) or "none"}

    def maps(self, state: AutoState) -> Maps | None:
        """What chains jump by, from the run's half on."""
        if isinstance(self.jumps, Maps):
            return self.jumps if int(state.clock[0]) >= self.budget // 2 else None
        return _followed(state).maps

    def _follow(self, state: AutoState, phi: Potential) -> AutoState:
        """Gathers directions, follows the chains along them, each for half of the window, and then groups them."""
        n, half = int(state.clock[0]), self.budget // 2
        first = max(half - int(WINDOW * self.budget), int(state.landed[0]))
        alone = len(state.phi) < FEWEST or phi.chains is not None or self.schedule is not None
        if self.jumps != "auto" or alone or int(state.landed[0]) == 0 or not first <= n <= half:
            return state
        seen, middle = _followed(state), (first + half) // 2
        if seen.axis.shape[1] == 0:
            seen = Followed.begin(state.grad)
        else:
            seen = seen.turn(state.grad, n - first + 1) if n <= middle else seen.add(state.z)
        seen = seen.grouped() if n == half else seen
        return state._replace(**dict(zip(_FOLLOWED, seen, strict=True)))

    def _jump(
        self, phi: Potential, state: AutoState, rng: Rng, maps: Maps
    ) -> tuple[AutoState, Info]:
        """Lets every chain jump, or stay."""
        here, u = Point(*state[:4]), shared_uniform(rng, int(state.clock[0]))
        z, log_ratio, down = maps.jump(state.z, rng.uniform())
        there = phi.evaluate(z)
        taken = torch.where(down, u, 1 - u) < (log_ratio + here.phi - there.phi).sigmoid()
        nan, one = torch.full_like(state.phi, torch.nan), torch.ones_like(state.phi)
        beta, h = one, state.log_h.exp()
        if self.schedule is not None:
            beta, h = follow(self.schedule, state.clock, state.phi)
        new = state._replace(**where(taken, there, here)._asdict(), clock=state.clock + 1)
        return new, Info(nan, h, beta, torch.zeros_like(one))


def _moving(state: AutoState) -> AnnealState:
    return AnnealState(*state[: len(AnnealState._fields)])


def _followed(state: AutoState) -> Followed:
    return Followed(*state[len(AnnealState._fields) :])
