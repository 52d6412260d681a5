r"""What every kernel knows: the prior, a potential, a state, and how to accept.

The target is :math:`p(z \mid C) \propto \mathcal{N}(z; 0, I) \, e^{-\phi(z)}`. The prior belongs to the kernels; a
potential is :math:`\phi` alone. A kernel is a frozen record of its settings with two pure functions, `init` and `step`.
The noise is an argument, and all that is carried from step to step is a tuple of tensors whose
first dimension is the chain.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int64
from msgspec import Meta
from torch import Tensor

from latentzoo import options
from latentzoo.errors import EnergyError
from latentzoo.rng import Rng

Angle = Annotated[float, Meta(gt=0, le=3)]
"""The range of a step that is an angle: at pi the half turns of a step have no end."""
Time = Annotated[float, Meta(gt=0, le=10)]
"""The range of a step that is a time, in which a coordinate of the prior moves by about as much."""
Kept = Annotated[float, Meta(ge=0, lt=1)]
"""The range of what a step keeps of what was there before."""


class Point(NamedTuple):
    """A place in the latent space and what was computed there.

    Attributes:
        z: The latent, (B, D).
        phi: The potential, (B,).
        grad: The potential's gradient, (B, D), or (B, 0) where none was asked for.
        terms: The unweighted energies the potential is made of, (B, K), for the record.
    """

    z: Float[Tensor, "B D"]
    phi: Float[Tensor, "B"]
    grad: Float[Tensor, "B d"]
    terms: Float[Tensor, "B K"]


class Info(NamedTuple):
    """What a step reports and never carries, per chain.

    Attributes:
        accept: The probability with which the proposal was accepted, (B,); NaN for kernels without
            a test.
        step_size: The step size h that was used, (B,).
        beta: The inverse temperature of the potential during the step, (B,), in [0, 1].
        error: The error in energy of the step (the shadow work), (B,); NaN where it is not known.
    """

    accept: Float[Tensor, "B"]
    step_size: Float[Tensor, "B"]
    beta: Float[Tensor, "B"]
    error: Float[Tensor, "B"]

    @classmethod
    def unadjusted(cls, like: Float[Tensor, "B"], *, step_size: float) -> "Info":
        """The report of a step without a test, at full temperature."""
        nan = torch.full_like(like, torch.nan)
        return cls(nan, torch.full_like(like, step_size), torch.ones_like(like), nan)


class Population(NamedTuple):
    """What chains that are drawn from each other know of their origin.

    Attributes:
        ancestor: The place in the batch that each chain started from, (B,).
        log_z: The estimate of log Z, the same for each chain, (B,).
    """

    ancestor: Int64[Tensor, "B"]
    log_z: Float[Tensor, "B"]

    @property
    def error(self) -> float:
        r"""The standard error of log Z, :math:`(\sum_e (N_e / N - 1/N)^2)^{1/2}`; see `smc`."""
        share = self.ancestor.unique(return_counts=True)[1].double() / len(self.ancestor)
        return float((share.square().sum() - 1 / len(self.ancestor)).clamp(min=0).sqrt())


class Potential(ABC):
    """The function phi of the latent, with its gradient; `Posterior` is one, `Function` makes one
    of any callable.

    Attributes:
        names: The names of the terms that `evaluate` reports.
        chains: How many chains it is for, if each has a target of its own; None for any number.
    """

    names: tuple[str, ...] = ()
    chains: int | None = None

    @abstractmethod
    def evaluate(self, z: Float[Tensor, "B D"], *, gradient: bool = True) -> Point:
        """Computes phi, its terms and, where asked, its gradient; nothing in the result carries an autograd graph."""

    def select(self, index: Tensor) -> "Potential":
        """The potential of the chains at `index` (whole numbers); itself where all have the same target."""
        del index
        return self

    def scaled(self, factor: float) -> "Potential":
        """The potential :math:`c \\phi` with the same terms."""
        return Scaled(self, factor)


class Scaled(Potential):
    """Creates the potential :math:`c \\phi` of a potential phi and a factor c > 0."""

    def __init__(self, phi: Potential, factor: float) -> None:
        self.phi, self.factor = phi, factor
        self.names, self.chains = phi.names, phi.chains

    def evaluate(self, z: Float[Tensor, "B D"], *, gradient: bool = True) -> Point:
        at = self.phi.evaluate(z, gradient=gradient)
        return at._replace(phi=self.factor * at.phi, grad=self.factor * at.grad)

    def select(self, index: Tensor) -> "Scaled":
        return Scaled(self.phi.select(index), self.factor)


class Function(Potential):
    """Creates a potential from a differentiable function of the latent, (B, D) -> (B,).

    Raises:
        EnergyError: On evaluation, if the function returns another shape or cannot be
            differentiated.
    """

    def __init__(self, phi: Callable[[Tensor], Tensor]) -> None:
        self.phi = phi

    def evaluate(self, z: Float[Tensor, "B D"], *, gradient: bool = True) -> Point:
        z = z.detach()
        with torch.set_grad_enabled(gradient):
            phi = self.phi(z.requires_grad_(gradient))
        if not isinstance(phi, Tensor):
            raise EnergyError(
                f"the potential returned a {type(phi).__name__} for latents {tuple(z.shape)}; return a tensor, "
                f"({len(z)},)"
            )
        if phi.shape != z.shape[:1]:
            raise EnergyError(
                f"the potential returned shape {tuple(phi.shape)} for latents {tuple(z.shape)}; return ({len(z)},)"
            )
        if not gradient:
            return Point(z, phi, z.new_empty(len(z), 0), z.new_empty(len(z), 0))
        if not phi.requires_grad:
            raise EnergyError(
                "the potential does not depend on z through autograd (is its input detached?); "
                "use a kernel without gradients: pcn or slice"
            )
        (grad,) = torch.autograd.grad(phi, z, torch.ones_like(phi))
        return Point(z.detach(), phi.detach(), grad, z.new_empty(len(z), 0))


State = TypeVar("State", bound=tuple[Any, ...])
"""A NamedTuple of tensors, chain first, that begins with the four fields of `Point`."""
K = TypeVar("K", bound="Kernel")


@dataclass(frozen=True)
class Kernel(ABC):
    """A Markov kernel for N(z; 0, I) exp(-phi(z)); concrete ones are frozen dataclasses.

    The annotation of a field is its type and its range; a setting of another one is refused when a kernel is created.

    Attributes:
        budget: The number of gradients of the run. It is the run's, which sets it by `plan`, and no
            setting of the kernel; those that ramp or adapt have their phases in parts of it.
        samples: Whether the kernel draws samples; False for optimisers, whose results are never
            reported as samples.
        adjusted: Whether an accept/reject test makes the posterior exactly invariant.
        anneals: Whether it may start anywhere near the prior, because it ramps the temperature and
            weighs nothing by the prior's law; its chains then pick their starts, see `starts`.
        weighs: Whether it sees to the shares of separate modes, by weights and resampling or by chains that
            climb over; else the share of chains in each is whatever their starts made of it.
        State: The class of the kernel's states, a NamedTuple that begins with the fields of
            `Point`.

    Raises:
        SpecError: If a setting is of a wrong type, or out of range.
    """

    budget: int = field(default=200, kw_only=True, repr=False)
    samples: ClassVar[bool] = True
    adjusted: ClassVar[bool] = False
    anneals: ClassVar[bool] = False
    weighs: ClassVar[bool] = False
    State: ClassVar[type[Any]] = Point

    def __post_init__(self) -> None:
        known = options.parameters(type(self))
        given = {name: getattr(self, name) for name in known}
        shown = f"latentzoo show {self.name}"
        options.check(given, known, owner=f"the kernel '{self.name}'", shown=shown)

    @property
    def name(self) -> str:
        """What the kernel is called: the name of its file."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def gradients(self) -> float:
        """How many gradients of phi one step takes; a forward pass alone counts a third."""
        return 1.0

    @property
    def friction(self) -> float | None:
        """The rate, per unit of step size, at which it takes the heat of untested steps away; None if it does not."""
        return None

    def plan(self: "K", steps: int) -> "K":
        """Prepares for a run with a budget of `steps` gradients."""
        return replace(self, budget=steps)

    def learned(self, state: Any) -> dict[str, Any]:
        """What a run has learned, beside its schedule, as settings of a kernel that follows it."""
        del state
        return {}

    def bias(self, curvature: float) -> float:
        """How many times too large its variance is, in a direction of this curvature; infinite if it diverges."""
        del curvature
        return 1.0

    def population(self, state: Any) -> Population | None:
        """What a state of chains that are drawn from each other knows; None where chains do not meet."""
        del state
        return None

    @property
    def coupled(self) -> bool:
        """Whether a chain's steps depend on the chains beside it, as under these settings it adapts across
        them or draws them from each other; such a run is not split."""
        return False

    @abstractmethod
    def init(self, phi: Potential, z: Float[Tensor, "B D"], rng: Rng) -> Any:
        """Evaluates the start `z` and returns the first state."""

    @abstractmethod
    def step(self, phi: Potential, state: Any, rng: Rng) -> tuple[Any, Info]:
        """Moves each chain once; `rng` holds exactly the chains of `state`."""


def select(state: State, index: Tensor) -> State:
    """Takes the chains at `index` (whole numbers or a mask of shape (B,)) out of a state."""
    return type(state)(*(field[index] for field in state))


def where(mask: Tensor, a: State, b: State) -> State:
    """Takes each chain from `a` where the mask of shape (B,) holds, else from `b`."""
    if bool(mask.all()):  # mostly so, and a latent may have millions of numbers
        return a
    return type(a)(*(pick(mask, x, y) for x, y in zip(a, b, strict=True)))


def pick(mask: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Takes each row from x where the mask of shape (B,) holds, else from y."""
    return torch.where(mask.view(-1, *(1,) * (x.ndim - 1)), x, y)


def metropolis(log_ratio: Float[Tensor, "B"], u: Float[Tensor, "B"]) -> tuple[Tensor, Tensor]:
    """The Metropolis-Hastings test.

    .. math:: a = \\min(1, e^{r}), \\qquad \\text{accept} \\iff u < a

    Arguments:
        log_ratio: The log of the Hastings ratio r, (B,); NaN never accepts and stays NaN, so that
            the run sees it.
        u: Uniform numbers in [0, 1), (B,).

    Returns:
        The acceptance probability (B,) and the decision (B,).
    """
    accept = log_ratio.clamp(max=0).exp()
    return accept, u < accept
