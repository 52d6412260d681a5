r"""The main job in one call: draw latents from the posterior, and say what they are worth."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo import kernels
from latentzoo.errors import EnergyError, SpecError
from latentzoo.generator import Generator
from latentzoo.kernels.types import Function, Kernel, Potential
from latentzoo.posterior import Posterior
from latentzoo.rng import Rng
from latentzoo.run.chain import Failure, Frame
from latentzoo.run.starts import affordable
from latentzoo.run.trace import Trace
from latentzoo.run.walk import Walk

if TYPE_CHECKING:
    from latentzoo.diagnose import Diagnosis


def seeds(seed: int, chains: int) -> tuple[int, ...]:
    """The seeds of a run's chains, :math:`2^{32} s + c`: runs of different seeds share no chain.

    Raises:
        SpecError: If there are no chains, or the seed is out of range.
    """
    if chains < 1:
        raise SpecError(f"chains is {chains}; a run needs at least one chain")
    if not 0 <= seed < 2**31:
        raise SpecError(f"the seed {seed} is out of range; give a whole number from 0 to 2^31 - 1")
    return tuple(seed * 2**32 + chain for chain in range(chains))


@dataclass(frozen=True)
class Result:
    """What a run leaves.

    Attributes:
        z: The latents, (B, D): the last states, or each chain's best if that was asked for.
        start: The latents the chains began at, (B, D).
        trace: What every chain did at every step.
        kernel: The kernel that walked.
        gradients: The gradients spent per chain; a forward pass alone counts a third.
        failures: The chains that stopped because something was not finite.
        potential: What was sampled; None for draws from the prior.
        generator: The map, if there is one.
        seconds: How long it took.
        notes: What was noticed on the way, in words.
        state: The kernel's last state; None if `z` is not where it stands.
    """

    z: Float[Tensor, "B D"]
    start: Float[Tensor, "B D"]
    trace: Trace
    kernel: Kernel | None
    gradients: float
    failures: tuple[Failure, ...] = ()
    potential: Potential | None = None
    generator: Generator | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())
    state: Any = None

    @cached_property
    def images(self) -> Float[Tensor, "B 3 H W"]:
        """The images of the latents, (B, 3, H, W), nominally in [0, 1]."""
        return self.picture(self.z)

    def picture(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        """Maps latents to images with the run's generator, without gradients.

        Raises:
            SpecError: If the run was of a bare potential and has no generator.
        """
        if isinstance(self.potential, Posterior):
            return self.potential.images(z)
        if self.generator is None:
            raise SpecError(
                "this run sampled a potential without a generator, so it has no images; see result.z"
            )
        with torch.no_grad():
            return self.generator(z)

    @cached_property
    def diagnosis(self) -> "Diagnosis":
        """What the sample is worth, in numbers and in words."""
        from latentzoo.diagnose import diagnose

        return diagnose(
            self.trace,
            self.z,
            kernel=self.kernel,
            state=self.state,
            failures=self.failures,
            notes=self.notes,
        )

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Writes the run folder: images, grid, latents, trace, diagnosis.

        Raises:
            SpecError: If the folder holds a run already and `force` is not given.
        """
        from latentzoo.record.folder import RunFolder

        with RunFolder(Path(path), force=force) as folder:
            folder.write_result(self)
        return Path(path)


def sample(
    target: Potential | Generator | Callable[[Tensor], Tensor],
    *,
    dim: int | None = None,
    chains: int = 16,
    steps: int = 200,
    seed: int = 0,
    kernel: Kernel | str | None = None,
    best: str | None = None,
    tries: int | None = None,
    start: Float[Tensor, "B D"] | None = None,
    device: torch.device | str = "cpu",
    watch: Callable[[Frame], Any] | None = None,
) -> Result:
    """Samples N(z; 0, I) exp(-phi(z)).

    Arguments:
        target: A `Posterior`; or any differentiable potential, (B, D) -> (B,), together with
            `dim`; or a generator alone, which draws from the prior.
        dim: The latent's dimension, for a bare potential.
        chains: How many chains B.
        steps: The budget of each chain in gradients.
        seed: The run's seed; chain c draws all its noise from the stream `seed * 2**32 + c`.
        kernel: A kernel, its name, or None for the default.
        best: A term's name, to keep each chain's state of least energy instead of its last; not a
            sample then.
        tries: Of how many draws of the prior each chain picks its start, see `starts`; they are
            part of the budget. None leaves it to `usual_tries`.
        start: Where the chains begin, (B, D) or (1, D); None draws from the prior.
        device: Where the latents live.
        watch: Called with every frame.

    Raises:
        SpecError: If `dim` is missing for a bare potential, or `start` has another shape.
        EnergyError: If the potential cannot be used; see `Posterior.evaluate`.
    """
    rng = Rng(*seeds(seed, chains), device=device)
    if isinstance(target, Generator):
        z = rng.normal(target.space.dim)
        return Result(z, z, Trace(rng.seeds), None, 0.0, generator=target)
    phi = target if isinstance(target, Potential) else Function(target)
    dim = getattr(phi, "dim", None) if dim is None else dim
    if dim is None:
        raise SpecError("a bare potential does not know its latent's dimension; give dim=")
    chosen = kernel if isinstance(kernel, Kernel) else kernels.load(kernel or kernels.DEFAULT)
    tries = usual_tries(tries, phi, chosen, steps, given=start is not None)
    walk = Walk(phi, chosen, rng, steps=steps, tries=tries, best=best)
    z = walk.draw(dim)
    if start is not None:
        if start.shape[1:] != (dim,) or len(start) not in (1, chains):
            raise SpecError(
                f"start has shape {tuple(start.shape)}; give ({chains}, {dim}) or (1, {dim})"
            )
        z = start.to(z).expand(chains, -1).clone()
    notes = probe(phi, z)
    began = time.perf_counter()
    walk.begin(z)
    for frame in walk:
        if watch is not None:
            watch(frame)
    return finish(walk, z, seconds=time.perf_counter() - began, notes=notes)


def usual_tries(
    asked: int | None, phi: Potential, kernel: Kernel, steps: int, *, given: bool
) -> int:
    """Of how many draws chains pick: as asked, or several where networks are guided by an annealing kernel, else one.

    Arguments:
        asked: What was asked for; None for what is usual.
        phi: What is sampled.
        kernel: The kernel.
        steps: The budget in gradients.
        given: Whether the start is given, so that there is nothing to pick.
    """
    if given:
        return 1
    usual = affordable(steps) if isinstance(phi, Posterior) and kernel.anneals else 1
    return usual if asked is None else asked


def finish(walk: Walk, start: Tensor, *, seconds: float, notes: tuple[str, ...] = ()) -> Result:
    """Makes the result of a walk that has come to its end."""
    phi = walk.phi.phi
    if walk.best is not None:
        kept = (
            f"each chain's best state by '{phi.names[walk.best]}' was kept; these are no samples"
        )
        notes = (*notes, kept)
    return Result(
        walk.z,
        start,
        walk.trace,
        walk.kernel,
        walk.phi.gradients,
        walk.here.failures,
        phi,
        phi.generator if isinstance(phi, Posterior) else None,
        seconds,
        notes,
        walk.here.state if walk.best is None else None,
    )


def probe(phi: Potential, z: Float[Tensor, "B D"]) -> tuple[str, ...]:
    """Evaluates one chain twice and names the terms that are random between calls.

    Returns:
        One sentence per finding; they are also warned about.

    Raises:
        EnergyError: If the potential's shape is wrong.
    """
    with torch.no_grad():
        one = phi.select(torch.zeros(1, dtype=torch.long))
        first, second = (one.evaluate(z[:1], gradient=False) for _ in range(2))
    if first.phi.shape != (1,):
        raise EnergyError(
            f"the potential returned shape {tuple(first.phi.shape)} for one latent; return (1,)"
        )
    same = lambda a, b: bool(torch.isclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True))
    pairs = (
        zip(phi.names, first.terms[0], second.terms[0], strict=True)
        if phi.names
        else [("phi", first.phi[0], second.phi[0])]
    )
    notes = tuple(
        f"the energy '{name}' is random: {a:.6g} and {b:.6g} for the same latent, so accept/reject steps are biased "
        "and replays differ; fix its draws once per run"
        for name, a, b in pairs
        if not same(a, b)
    )
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return notes
