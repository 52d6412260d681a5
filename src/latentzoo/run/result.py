"""What a run leaves: a frozen record, from which pictures and a verdict follow."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from latentzoo.diagnosis import latents
from latentzoo.diagnosis.verdict import Diagnosis, diagnose
from latentzoo.errors import SpecError
from latentzoo.generator import Generator, images
from latentzoo.kernels.types import Kernel, Potential
from latentzoo.posterior import Posterior
from latentzoo.run.chain import Failure
from latentzoo.run.draws import inference_data
from latentzoo.run.trace import Trace
from latentzoo.run.walk import Walk

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run leaves.

    Attributes:
        z: The latents, (B, D): the last states, or each chain's best if that was asked for.
        start: The latents the chains began at, (B, D).
        trace: What every chain did at every step.
        kernel: The kernel that walked; None for draws from the prior.
        gradients: The gradients spent per chain; a forward pass alone counts a third.
        failures: The chains that stopped because something was not finite.
        potential: What was sampled; None for draws from the prior.
        generator: The map, if there is one.
        seconds: How long it took.
        notes: What was noticed on the way, in words.
        state: The kernel's last state; None if `z` is not where it stands.
        draws: The states kept along the chains, (B, K, D); None if none were asked for.
        draw_steps: The steps at which they were kept.
        micro_batch: How many latents go through the generator at once; None takes all.
    """

    z: Float[Tensor, "B D"]
    start: Float[Tensor, "B D"]
    trace: Trace
    kernel: Kernel | None = None
    gradients: float = 0.0
    failures: tuple[Failure, ...] = ()
    potential: Potential | None = None
    generator: Generator | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    state: Any = None
    draws: Float[Tensor, "B K D"] | None = None
    draw_steps: tuple[int, ...] = ()
    micro_batch: int | None = None

    @cached_property
    def images(self) -> Float[Tensor, "B 3 H W"]:
        """The images of the latents, (B, 3, H, W), nominally in [0, 1]."""
        return self.picture(self.z)

    def picture(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        """Maps latents to images with the run's generator, without gradients.

        Raises:
            SpecError: If the run was of a bare potential and has no generator.
        """
        if self.generator is None:
            raise SpecError(
                "this run sampled a potential without a generator, so it has no images; see result.z"
            )
        return images(self.generator, z, self.micro_batch)

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """What the sample is worth, in numbers and in words."""
        return diagnose(
            self.trace,
            self.z,
            kernel=self.kernel,
            state=self.state,
            failures=self.failures,
            notes=(*self.notes, *rewarded(self)),
            chosen=self.kernel is not None and self.state is None,
        )

    def to_pil(self) -> "list[Image]":
        """The images as pictures of Pillow, one per chain."""
        from PIL.Image import fromarray

        from latentzoo.picture import to_uint8

        return [fromarray(pixels) for pixels in to_uint8(self.images)]

    def to_inference_data(self) -> Any:
        """The draws along the chains as ArviZ takes them.

        Returns:
            ArviZ's own container with `z` of shape (chain, draw, dim), and the statistics of every
            step.

        Raises:
            SpecError: If no draws were kept.
            MissingExtra: If ArviZ is not installed.
        """
        return inference_data(self.draws, self.draw_steps, self.trace)

    def __repr__(self) -> str:
        spent = f"{self.gradients:g} gradients" if self.kernel is not None else "the prior"
        return f"Result({len(self.z)} chains in {self.z.shape[1]} dimensions, {spent})"

    def _repr_html_(self) -> str:
        """The pictures and the verdict, for a notebook."""
        from latentzoo.picture import embedded, grid, to_uint8

        shown = "" if self.generator is None else embedded(grid(to_uint8(self.images)))
        picture = f'<img src="{shown}" alt="the pictures of the chains">' if shown else ""
        return f"{picture}<pre>{self if self.kernel is None else self.diagnosis}</pre>"


def rewarded(result: Result) -> Iterator[str]:
    """Says how the latents look where a reward was an energy."""
    if result.kernel is None or not isinstance(result.potential, Posterior):
        return
    parts = (part for _, energy in result.potential.terms.values() for part in energy.modules())
    if result.generator is not None and any(getattr(part, "reward", False) for part in parts):
        yield latents.described(result.z, result.generator.space)


def finish(walk: Walk, *, stopped: bool = False) -> Result:
    """Makes the result of a walk that has come to its end, or was stopped on the way."""
    phi, notes = walk.phi.phi, walk.notes
    if walk.best is not None:
        kept = phi.names[walk.best]
        notes += (f"each chain's best state by '{kept}' was kept; these are no samples",)
    if stopped:
        notes += (f"stopped after step {walk.here.step} of {walk.length}",)
    posterior = phi if isinstance(phi, Posterior) else None
    return Result(
        z=walk.z,
        start=walk.z if (began := walk.start) is None else began,
        trace=walk.trace,
        kernel=walk.kernel,
        gradients=walk.gradients,
        failures=walk.here.failures,
        potential=phi,
        generator=None if posterior is None else posterior.generator,
        seconds=walk.seconds,
        notes=notes,
        state=walk.here.state if walk.best is None else None,
        draws=walk.draws,
        draw_steps=walk.draw_steps,
        micro_batch=None if posterior is None else posterior.micro_batch,
    )
