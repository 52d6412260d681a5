r"""Generators: deterministic, differentiable maps from a Gaussian latent to an image.

.. math:: x = G(z), \qquad z \sim \mathcal{N}(0, I), \qquad x \in \mathbb{R}^{3 \times H \times W}

The map is a function: same `z`, same image, whatever the batch around it. Truncation, number of
steps, camera, class and prompt are arguments of the constructor.

References:
    | Unifying Diffusion Models' Latent Space, with Applications to CycleDiffusion and Guidance
    | (Wu and De la Torre, 2022)
    | https://arxiv.org/abs/2210.05559
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from latentzoo.compiling import plainly
from latentzoo.errors import SpecError
from latentzoo.rng import Rng
from latentzoo.space import Space


class Generator(nn.Module, ABC):
    """A map from the latent to images in the nominal range [0, 1].

    Attributes:
        space: The latent space with its named blocks.
        size: The image's height and width in pixels.
        chains: How many chains it is for, if each has a map of its own (a prompt); None for any.
        assumed: What its file did not say, by the options that would: {"heads or head_width": "8 heads, ..."}, and
            what of it was left aside, which no option would: {"left aside": "..."}.
        configuration: The arguments of its family's `build` that file and card say, as plain data.
    """

    space: Space
    size: tuple[int, int]
    chains: int | None = None
    assumed: Mapping[str, str] = MappingProxyType({})
    configuration: Mapping[str, Any] = MappingProxyType({})

    @abstractmethod
    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        """Maps latents of shape (B, D) to images of shape (B, 3, H, W), nominally in [0, 1], not clamped."""

    def select(self, index: Int64[Tensor, "b"]) -> "Generator":
        """The map of the chains at `index`; itself where all have the same one."""
        del index
        return self

    def repeated(self) -> Iterator[nn.Module]:
        """The networks that compute the same operations at every call, for `compiling`: all, unless it is a loop."""
        yield self

    def assumptions(self) -> str:
        """What its file did not say, in one sentence with the cure; empty if it said all."""
        if not self.assumed:
            return ""
        firsts = {names: names.split(" or ")[0] for names in self.assumed}
        answered = [names for names, first in firsts.items() if first.isidentifier()]
        listed = lambda keys: "; ".join(f"{names}: {self.assumed[names]}" for names in keys)
        beside = listed(names for names in self.assumed if names not in answered)
        if not answered:
            return beside
        each, first = listed(answered), firsts[answered[0]]
        return (f"{beside}; " if beside else "") + (
            f"what the file does not say is taken for granted ({each}); set it by options ({first}=...), "
            "or join a card to the file (card=NAME)"
        )

    @property
    def place(self) -> tuple[torch.device | None, torch.dtype | None]:
        """The device and the number type of the network; None for a map without weights."""
        weights = chain(self.parameters(), self.buffers())
        first = next((w for w in weights if w.is_floating_point()), None)
        return (None, None) if first is None else (first.device, first.dtype)


def required(given: object) -> Generator:
    """What can be asked of a map before anything is computed.

    Raises:
        SpecError: If it is no generator, or does not say its latent and its size.
    """
    if isinstance(given, Generator):
        space, size = getattr(given, "space", None), getattr(given, "size", None)
        sides = size if isinstance(size, tuple | list) else ()
        if isinstance(space, Space) and len(sides) == 2 and all(type(n) is int for n in sides):
            return given
        raise SpecError(
            f"the generator {type(given).__name__} does not say its latent and its size; set "
            "self.space = lz.Space(style=(128,)) and self.size = (64, 64) in its __init__"
        )
    said = f"'{given}'" if isinstance(given, str) else f"a {type(given).__name__}"
    cure = (
        "load it: lz.load(NAME)"
        if isinstance(given, str)
        else "subclass lz.Generator and set its space and size, as docs/tutorials/own-model.md shows"
    )
    raise SpecError(f"{said} is no generator; {cure}")


def image(generator: Generator, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
    """Maps latents to images across the generator's border.

    The latent takes the device and the number type of the network, the image the number type of
    the latent: chains walk in float32, or float64, whatever the network computes in.

    Arguments:
        generator: The map.
        z: Latents of shape (B, D), anywhere.

    Raises:
        SpecError: If the processor lacks an operation in the network's number type.
    """
    device, dtype = generator.place
    with supported(dtype):
        return generator(z.to(device=device, dtype=dtype)).to(z.dtype)


@torch.no_grad()
def images(
    generator: Generator, z: Float[Tensor, "B D"], micro_batch: int | None = None
) -> Float[Tensor, "B 3 H W"]:
    """Maps latents to images, `micro_batch` at a time and without gradients; see `image`.

    Where each chain has a map of its own, `z` holds all of them.
    """
    size = micro_batch or max(len(z), 1)
    with plainly():
        if generator.chains is None or size >= len(z):
            return torch.cat([image(generator, part) for part in z.split(size)])
        each = torch.arange(len(z)).split(size)
        return torch.cat([image(generator.select(index), z[index]) for index in each])


def encode(
    generator: "Encodable", image: Float[Tensor, "B 3 H W"], rng: Rng
) -> Float[Tensor, "B D"]:
    """Finds the latents of images across the generator's border, as `image` maps them.

    Arguments:
        generator: A map that can also encode.
        image: Images in [0, 1], of any number type.
        rng: One noise stream per image; the latents take its device and number type.

    Raises:
        SpecError: If the processor lacks an operation in the network's number type.
    """
    device, dtype = generator.place if isinstance(generator, Generator) else (None, None)
    with supported(dtype):
        z = generator.encode(image.to(device=device, dtype=dtype), rng)
    return z.to(rng.device, rng.dtype)


@contextmanager
def supported(dtype: torch.dtype | None) -> Iterator[None]:
    """Turns the processor's "not implemented for" into one line that names the operation.

    Raises:
        SpecError: If an operation within lacks the number type `dtype`.
    """
    try:
        yield
    except (NotImplementedError, RuntimeError) as error:
        said = str(error).split("\n")[0]
        if "not implemented for" not in said:
            raise
        raise SpecError(
            f"this processor lacks an operation in {str(dtype).removeprefix('torch.')} ({said}); "
            "give dtype=float32, or bfloat16"
        ) from error


class Encodable(ABC):
    """A generator that can also go back, from an image to a latent that gives it."""

    @abstractmethod
    def encode(self, image: Float[Tensor, "B 3 H W"], rng: Rng) -> Float[Tensor, "B D"]:
        """Finds latents of shape (B, D) whose images are the given ones, up to the model's own
        limit.

        Arguments:
            image: Images of shape (B, 3, H, W) in [0, 1].
            rng: The noise of stochastic encoders, one stream per image.
        """


class Restricted(Generator):
    """Creates the same map seen from some of its blocks, the others held fixed.

    "Only the style varies" is `Restricted(G, ("style",), rest)`.

    Arguments:
        generator: The whole map.
        names: The blocks that vary.
        rest: A latent of shape (dim,) that gives the other blocks their values.
    """

    rest: Tensor

    def __init__(
        self, generator: Generator, names: tuple[str, ...], rest: Float[Tensor, "D"]
    ) -> None:
        super().__init__()
        self.generator = generator
        self.space = generator.space.subspace(*names)
        self.names, self.size, self.chains = names, generator.size, generator.chains
        self.register_buffer("rest", rest, persistent=False)

    def select(self, index: Int64[Tensor, "b"]) -> "Restricted":
        if self.chains is None:
            return self
        return Restricted(self.generator.select(index), self.names, self.rest)

    def repeated(self) -> Iterator[nn.Module]:
        return self.generator.repeated()

    def forward(self, z: Float[Tensor, "B d"]) -> Float[Tensor, "B 3 H W"]:
        whole = self.generator.space
        blocks = whole.split(self.rest.to(z).expand(len(z), -1))
        return self.generator(whole.join(**(blocks | self.space.split(z))))
