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

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum, unique
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from latentzoo.errors import SpecError

AHEAD = 2**14
"""How many numbers of a chain are sooner drawn again than its state is read: that takes as long."""
SINGLE = np.dtype(np.float32)
"""In what numbers are drawn; numpy takes the finished type sooner than its class."""
MANY = 2**20
"""How many numbers the threads of torch draw together; numpy's generators run beside each other."""


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
        self._log, self._part = _Log(), None

    def __len__(self) -> int:
        return len(self.seeds)

    def normal(self, *shape: int) -> Float[Tensor, "B ..."]:
        """Draws standard normal numbers of shape (B, *shape), each row from its chain's stream."""
        return self._draw("standard_normal", shape)

    def uniform(self, *shape: int) -> Float[Tensor, "B ..."]:
        """Draws uniform numbers in [0, 1) of shape (B, *shape), each row from its chain's stream."""
        return below_one(self._draw("random", shape))

    def _draw(self, law: str, shape: tuple[int, ...]) -> Tensor:
        self._log.note(_Draw(law, shape, self._part))
        rows = np.empty((len(self), *shape), SINGLE)
        fill = lambda stream, row: getattr(stream, law)(None, SINGLE, row)
        pairs = self._streams, rows.reshape(len(self), -1)
        threads = min(torch.get_num_threads(), len(self)) if rows.size >= MANY else 1
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(fill, *pairs))
        else:
            list(map(fill, *pairs))
        return torch.from_numpy(rows).to(self.device, self.dtype)

    def select(self, index: Sequence[int] | Tensor) -> "Rng":
        """Gives the streams of some chains; they are shared, so draws made there advance them here."""
        index = [int(i) for i in index]
        chosen = Rng(device=self.device, dtype=self.dtype)
        chosen.seeds = tuple(self.seeds[i] for i in index)
        chosen._streams = [self._streams[i] for i in index]
        chosen._log = self._log
        chosen._part = index if self._part is None else [self._part[i] for i in index]
        return chosen

    def state(self) -> Int64[Tensor, "B 13"]:
        """Reads where each stream stands, as whole numbers of shape (B, 13): see `restore`."""
        rows = np.empty((len(self), 13), np.uint64)
        for row, stream in zip(rows, self._streams, strict=True):
            s = stream.bit_generator.state
            row[:4], row[4:6], row[6:10] = s["state"]["counter"], s["state"]["key"], s["buffer"]
            row[10:] = s["buffer_pos"], s["has_uint32"], s["uinteger"]
        return torch.from_numpy(rows.view(np.int64))

    def at(self, state: Int64[Tensor, "B 13"]) -> "Rng":
        """The streams where `state` found them; what is drawn there does not advance them here."""
        there = Rng(*self.seeds, domain=Domain.CHAIN, device=self.device, dtype=self.dtype)
        there.restore(state)
        return there

    def mark(self) -> "Mark":
        """Notes where each stream stands, at next to no cost; `Mark.state` reads it later."""
        if self._part is not None:
            return Mark(self.state())
        return self._log.mark(self)

    def restore(self, state: Int64[Tensor, "B 13"]) -> None:
        """Puts each stream back where `state` found it.

        Raises:
            SpecError: If the state belongs to another number of chains.
        """
        if tuple(state.shape) != (len(self), 13):
            raise SpecError(
                f"a noise state of shape {tuple(state.shape)} does not fit {len(self)} chains"
            )
        self._log.forget()
        for row, stream in zip(state.numpy().view(np.uint64), self._streams, strict=True):
            stream.bit_generator.state = {
                "bit_generator": "Philox",
                "state": {"counter": row[:4].copy(), "key": row[4:6].copy()},
                "buffer": row[6:10].copy(),
                "buffer_pos": int(row[10]),
                "has_uint32": int(row[11]),
                "uinteger": int(row[12]),
            }


def below_one(u: Tensor) -> Tensor:
    """Uniform numbers in [0, 1) that were rounded to their type, which in 16 bits takes some to 1."""
    return u.clamp(max=1 - torch.finfo(u.dtype).eps / 2)


class _Draw(NamedTuple):
    """A draw: numpy's name of the law, the shape of a row, and which chains drew (None: all)."""

    law: str
    shape: tuple[int, ...]
    part: list[int] | None


class Mark(NamedTuple):
    """Where streams stood: at a state of theirs, after some draws from there.

    Attributes:
        begin: The state, (B, 13).
        draws: What was drawn from there on.
        before: How many of these draws came before the mark.
    """

    begin: Int64[Tensor, "B 13"]
    draws: Sequence[_Draw] = ()
    before: int = 0

    def state(self) -> Int64[Tensor, "B 13"]:
        """Reads the state (B, 13), by drawing again."""
        if self.before == 0:
            return self.begin
        again = Rng(*[0] * len(self.begin), domain=Domain.CHAIN)  # the state has the key
        again.restore(self.begin)
        for law, shape, part in self.draws[: self.before]:
            (again if part is None else again.select(part))._draw(law, shape)
        return again.state()


class _Log:
    """Creates what streams and selections of them share: their draws since a state that was read.

    A state is thirteen words a chain, and reading them takes as long as drawing a thousand numbers, so a
    run that marks its place at every step reads them only now and then.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Leaves the marks that were made to themselves, and reads the state for the next."""
        self._begin: Tensor | None = None
        self._draws: list[_Draw] = []
        self._drawn = 0

    def note(self, draw: _Draw) -> None:
        """Takes down a draw that is about to be made."""
        if self._begin is not None:
            self._draws.append(draw)
            self._drawn += math.prod(draw.shape)

    def mark(self, rng: Rng) -> Mark:
        """Marks where all streams stand."""
        if self._begin is None or self._drawn > AHEAD:
            self.forget()
            self._begin = rng.state()
        return Mark(self._begin, self._draws, len(self._draws))
