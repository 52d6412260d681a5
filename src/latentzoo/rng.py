r"""Noise: one stream per chain, so that a chain is its seed.

.. math:: \text{key} = s + 2^{64} \, (\text{domain} + 2^{32} \, \text{index})

Chain `s` draws everything, its start included, from a counter-based Philox stream with key `s`. It
is the same alone, in a batch of 64, or resumed from the stream's state. Noise that belongs to no
chain has a domain of its own in the upper half of the key, so that it never is a chain's. Numbers
are drawn on the CPU and then moved, so that they do not depend on the device.

References:
    | Parallel Random Numbers: As Easy as 1, 2, 3 (Salmon et al., 2011)
    | https://doi.org/10.1145/2063384.2063405
"""

from collections.abc import Sequence
from enum import IntEnum, unique

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from latentzoo.errors import SpecError


@unique
class Domain(IntEnum):
    """What a stream's numbers are for. Streams of two domains never share a number."""

    CHAIN = 0
    """A chain: its start and all that its kernel draws."""
    HELD = 1
    """The blocks of a latent that do not vary."""
    MAP = 2
    """The noise maps of a network whose file has none."""
    MEAN = 3
    """The latents over which a mean style is taken."""
    STEP = 4
    """The start (index 0) and the noise of step i (index i) of a diffusion, where they are fixed."""
    COPY = 5
    """The alterations of a picture's copies in an energy."""
    RAMP = 6
    """The chains by which the weights of a strength are found."""
    CHECK = 7
    """The latents and directions on which the laws of a generator are measured."""
    BOOTSTRAP = 8
    """The draws of pictures by which an interval is found."""
    PICTURE = 9
    """What the encoder of a picture draws."""
    JUMP = 10
    """What the chains of a run share when they jump between modes (index: the step)."""


class Rng:
    """Creates one noise stream per seed.

    Arguments:
        seeds: The seed of each chain, non-negative and below 2^63.
        domain: What the numbers are for.
        index: Which of the domain's streams of these seeds, non-negative and below 2^32.
        device: Where the draws are put.
        dtype: The type of the draws; they are made in float32 and cast.

    Raises:
        SpecError: If a seed is negative or too large.
    """

    def __init__(
        self,
        *seeds: int,
        domain: Domain = Domain.CHAIN,
        index: int = 0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        for seed in seeds:
            if not 0 <= seed < 2**63:
                raise SpecError(
                    f"the seed {seed} is out of range; give a whole number from 0 to 2^63 - 1"
                )
        self.seeds = tuple(seeds)
        self.device, self.dtype = torch.device(device), dtype
        above = (domain + (index << 32)) << 64
        self._streams = [np.random.Generator(np.random.Philox(key=above + s)) for s in seeds]

    def __len__(self) -> int:
        return len(self.seeds)

    def normal(self, *shape: int) -> Float[Tensor, "B ..."]:
        """Draws standard normal numbers of shape (B, *shape), each row from its chain's stream."""
        return self._draw(
            shape, lambda stream, out: stream.standard_normal(out=out, dtype=np.float32)
        )

    def uniform(self, *shape: int) -> Float[Tensor, "B ..."]:
        """Draws uniform numbers in [0, 1) of shape (B, *shape), each row from its chain's stream."""
        return self._draw(shape, lambda stream, out: stream.random(out=out, dtype=np.float32))

    def _draw(self, shape: tuple[int, ...], fill) -> Tensor:  # noqa: ANN001
        rows = np.empty((len(self), *shape), dtype=np.float32)
        for row, stream in zip(rows.reshape(len(self), -1), self._streams, strict=True):
            fill(stream, row)
        return torch.from_numpy(rows).to(self.device, self.dtype)

    def select(self, index: Sequence[int] | Tensor) -> "Rng":
        """Gives the streams of some chains; they are shared, so draws made there advance them here."""
        index = [int(i) for i in index]
        chosen = Rng(device=self.device, dtype=self.dtype)
        chosen.seeds = tuple(self.seeds[i] for i in index)
        chosen._streams = [self._streams[i] for i in index]
        return chosen

    def state(self) -> Int64[Tensor, "B 13"]:
        """Reads where each stream stands, as whole numbers of shape (B, 13): see `restore`."""
        rows = []
        for stream in self._streams:
            s = stream.bit_generator.state
            words = [*s["state"]["counter"], *s["state"]["key"], *s["buffer"]]
            rows.append([*words, s["buffer_pos"], s["has_uint32"], s["uinteger"]])
        return torch.from_numpy(np.array(rows, dtype=np.uint64).reshape(-1, 13).view(np.int64))

    def restore(self, state: Int64[Tensor, "B 13"]) -> None:
        """Puts each stream back where `state` found it.

        Raises:
            SpecError: If the state belongs to another number of chains.
        """
        if tuple(state.shape) != (len(self), 13):
            raise SpecError(
                f"a noise state of shape {tuple(state.shape)} does not fit {len(self)} chains"
            )
        for row, stream in zip(state.numpy().view(np.uint64), self._streams, strict=True):
            stream.bit_generator.state = {
                "bit_generator": "Philox",
                "state": {"counter": row[:4].copy(), "key": row[4:6].copy()},
                "buffer": row[6:10].copy(),
                "buffer_pos": int(row[10]),
                "has_uint32": int(row[11]),
                "uinteger": int(row[12]),
            }
