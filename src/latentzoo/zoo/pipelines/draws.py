r"""What a foreign function does around its networks, heard and answered.

A pipeline of diffusers is a function of its Gaussian draws,

.. math:: x = P(\varepsilon_1, \dots, \varepsilon_k), \qquad \varepsilon_i \sim \mathcal{N}(0, I)

but it makes the draws itself, turns gradients off, clamps the picture and ends in an array. A
torch-function mode around the call gives each draw its part of the latent instead, does not hear
the wish to turn gradients off, leaves the clamp out, and keeps the picture as a tensor. The
pipeline is not changed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from latentzoo.errors import SpecError
from latentzoo.space import Space
from latentzoo.zoo.pipelines.probe import Reach

FOREIGN = {
    *(torch.rand, torch.rand_like, torch.randint, torch.randint_like, torch.randperm),
    *(torch.multinomial, torch.bernoulli, torch.normal, torch.poisson),
    *(Tensor.normal_, Tensor.uniform_, Tensor.exponential_, Tensor.random_, Tensor.bernoulli_),
    *(Tensor.multinomial, Tensor.bernoulli),
}
"""Draws that no part of a Gaussian latent can answer."""

FOLLOWING = {torch.autograd.grad, torch.autograd.backward, Tensor.backward}
"""How a pipeline follows a gradient: from what it has let go, so that no other goes through."""

BOUNDS = {torch.clamp, torch.clip, Tensor.clamp, Tensor.clip, torch.clamp_, Tensor.clamp_}
"""Where a gradient may end though the draw counts. In a first run, whose numbers are no real ones, it goes on."""

PAINTED = 3, 4, 6
"""Channels of a picture: colours, with what covers them, with a depth in colours of its own."""

Kind = Literal["start", "noise"]


class Place(NamedTuple):
    """Where in the latent a draw is: a block, and which of its rows (None for the whole block)."""

    block: str
    row: int | None


class Draws(TorchFunctionMode):
    """Creates the mode of one call.

    Arguments:
        given: What each draw is answered with, in their order, (B, ...); None for zeros. Without
            a list the draws are noise of their own and need a gradient.

    Attributes:
        count: How many pictures the call makes, which may become arrays one by one.
        drawn: The draws so far.
        kinds: Of each, whether a scheduler's step asked for it ("noise") or anything else.
        stepping: Whether a scheduler's step is running.
        image: The picture (B, 3, H, W) in [0, 1], not clamped, when the call is over.
    """

    def __init__(self, given: Sequence[Tensor | None] | None = None) -> None:
        super().__init__()
        self.given, self.count = given, 1
        self.painted: list[Tensor] = []
        self.drawn: list[Tensor] = []
        self.kinds: list[Kind] = []
        self.stepping = False
        self.rng = torch.Generator().manual_seed(0)

    @property
    def image(self) -> Tensor | None:
        """The pictures that became arrays; None if there were none."""
        return torch.cat(self.painted) if self.painted else None

    @contextmanager
    def away(self) -> Iterator[None]:
        """Takes the mode off, so that a network runs as it does alone."""
        self.__exit__(None, None, None)
        try:
            yield
        finally:
            self.__enter__()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch._C._set_grad_enabled:
            return None
        if func is torch.randn or func is torch.randn_like:
            kwargs = {k: v for k, v in kwargs.items() if k != "generator"}
            empty = torch.empty if func is torch.randn else torch.empty_like
            return self.draw(empty(*args, **kwargs))
        if func in FOREIGN:
            raise SpecError(
                f"the pipeline draws by {func.__name__}, which is no Gaussian and has no place in a "
                "latent; turn off what asks for it, or take another scheduler"
            )
        if func in FOLLOWING:
            raise SpecError(
                "the pipeline follows a gradient of its own on its way, which leaves none of the picture; take a "
                "pipeline without"
            )
        if func is Tensor.clamp and _bounds(args, kwargs) == (0, 1) and _painted(args[0], 1):
            return args[0]
        if func is Tensor.numpy and _painted(args[0], -1):
            self.paint(args[0][..., :3].movedim(-1, 1))
            return func(args[0].detach())
        if func in BOUNDS and self.given is None and args[0].requires_grad:
            return Reach.apply(func(args[0].detach(), *args[1:], **kwargs), args[0])
        if func is Tensor.numpy and args[0].requires_grad and not self.painted:
            raise SpecError(
                f"the pipeline makes an array of what is no picture of three channels, {tuple(args[0].shape)}, "
                "and loses the gradient; take a text-to-image pipeline"
            )
        return func(*args, **kwargs)

    def paint(self, image: Tensor) -> None:
        """Notes pictures that become arrays. What comes when all are there takes their place."""
        full = sum(map(len, self.painted)) >= self.count
        self.painted = [image] if full else [*self.painted, image]

    def draw(self, like: Tensor) -> Tensor:
        """The answer to a draw of the shape, type and device of `like`.

        Raises:
            SpecError: If the draw was not there, or had another shape, in the first run.
        """
        index = len(self.drawn)
        if self.given is None:
            noise = torch.randn(like.shape, generator=self.rng).to(like).requires_grad_()
        elif index >= len(self.given):
            raise SpecError(f"the pipeline makes more draws than the {index} of its first run")
        else:
            noise = self.given[index]
            noise = torch.zeros_like(like) if noise is None else noise
            if len(noise) == 1 and noise.shape[1:] == like.shape:
                noise = noise[0]  # of a call with one picture, which draws no row for each
            if noise.shape != like.shape:
                raise SpecError(
                    f"draw {index} of the pipeline has shape {tuple(like.shape)}, in its first run "
                    f"{tuple(noise.shape)}; it must not depend on the pictures"
                )
            exact = noise.dtype == torch.float64
            noise = noise.to(like.device, noise.dtype if exact else like.dtype)
        self.drawn.append(noise)
        self.kinds.append("noise" if self.stepping else "start")
        return noise


def arrange(
    shapes: Sequence[tuple[int, ...]], kinds: Sequence[Kind], alive: Sequence[bool]
) -> tuple[Space, list[Place | None]]:
    """The latent of draws: each one outside of a scheduler's steps opens a stage, whose block it
    is; the noises of the stage's steps are stacked in a second one.

    Arguments:
        shapes: The draws' shapes, without the batch dimension.
        kinds: What they are.
        alive: Whether they have an influence on the picture.

    Returns:
        The space, and each draw's place in it; None for those without influence.
    """
    stage, blocks, places = 0, {}, []
    for shape, kind, lives in zip(shapes, kinds, alive, strict=True):
        stage += kind == "start"
        name = kind + (str(stage) if stage > 1 else "")
        row = blocks.get(name, (0,))[0] if kind == "noise" else None
        places.append(Place(name, row) if lives else None)
        if lives:
            blocks[name] = tuple(shape) if row is None else (row + 1, *shape)
    return Space(**blocks), places


def of_picture(draw: Tensor) -> tuple[int, ...]:
    """The shape of a draw for one picture: without the batch dimension, where there is one.

    A picture that is seen twice for guidance has two rows.
    """
    return tuple(draw.shape[1:] if draw.ndim and len(draw) == 1 else draw.shape)


def _painted(x: Tensor, channels: int) -> bool:
    """Whether a tensor is pictures. One alone has three dimensions, as much else has."""
    return x.ndim == 4 and x.shape[channels] in PAINTED


def _bounds(args: Any, kwargs: Any) -> tuple[Any, Any]:
    low, high = (*args[1:], None, None)[:2]
    return kwargs.get("min", low), kwargs.get("max", high)
