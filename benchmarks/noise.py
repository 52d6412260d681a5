"""Noise of one stream for each chain: numpy's generators, a table for their words, and Philox in torch's operations.

    python benchmarks/noise.py [--turns 15]

Prints processor seconds as ratios to `torch.randn` of the same shape, in turns: median, least and largest. numpy's
Philox alone, into memory that is there, is the least that these streams cost. Of Philox in torch, and in a row of its
own of numpy's, only the random words are timed, of which normal numbers would still have to be made. The first pass
of a ziggurat is the least that numpy's own numbers would take, were they made of all words at once. The table is the
inverse of the normal law in straight pieces, 256 for each halving of the probability (within 1e-6 of it): a few exact
passes, the same on every processor.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

import latentzoo as lz

SHAPES = ((1, 512, 400), (256, 512, 8), (16, 49152, 2))
"""Chains, numbers of each, and how many draws are timed together."""
TILE = 2**13
"""For how many blocks of four words passes are made at once, so that they stay in a processor's cache."""
LOW = 2**32 - 1
Side = Callable[[int, int], Callable[[], object]]
"""From the chains and the numbers of each to what draws them."""


def words(keys: Tensor, block: Tensor) -> tuple[Tensor, ...]:
    """Philox 4x32-10 (Salmon et al., 2011): four words, each (B, N), of blocks (N,) under keys (B, 2)."""
    one, two = keys[:, :1], keys[:, 1:]
    a = block.expand(len(keys), -1)
    b = c = d = torch.zeros_like(a)
    for _ in range(10):
        x, y = a * 0xD2511F53, c * 0xCD9E8D57
        a = ((y >> 32) & LOW).bitwise_xor_(b).bitwise_xor_(one)
        c = ((x >> 32) & LOW).bitwise_xor_(d).bitwise_xor_(two)
        b, d = y & LOW, x & LOW
        one, two = (one + 0x9E3779B9) & LOW, (two + 0xBB67AE85) & LOW
    return a, b, c, d


def tensors(chains: int, dim: int) -> Callable[[], object]:
    keys = torch.arange(2 * chains).view(chains, 2)
    blocks = torch.arange(dim // 4).split(TILE)
    rows = keys.split(max(TILE * 4 // dim, 1))

    def draw() -> None:
        for some in rows:
            for block in blocks:
                words(some, block)

    return draw


def streams(kind: type[np.random.BitGenerator]) -> Side:
    def made(chains: int, dim: int) -> Callable[[], object]:
        each = [np.random.Generator(kind(seed)) for seed in range(chains)]
        rows = np.empty((chains, dim), np.float32)  # once: nothing but the ziggurat is timed

        def draw() -> None:
            for stream, row in zip(each, rows, strict=True):
                stream.standard_normal(out=row, dtype=np.float32)

        return draw

    return made


class Table:
    """Creates the inverse of the normal law below 0, as pieces a + b v of the probability v / 2^32."""

    SHIFT = (
        15  # leaves the exponent of a float32 and 8 bits of its fraction: the number of the piece
    )

    def __init__(self) -> None:
        ends = np.array([1, 2**31], np.float32).view(np.int32) >> self.SHIFT
        self.first = int(ends[0])
        edges = np.arange(ends[0], ends[1] + 1, dtype=np.int32) << self.SHIFT
        v = edges.view(np.float32).astype(float)
        x = np.array([NormalDist().inv_cdf(u) for u in v / 2**32])
        b = np.diff(x) / np.diff(v)
        self.a, self.b = (x[:-1] - b * v[:-1]).astype(np.float32), b.astype(np.float32)

    def normal(self, word: np.ndarray, out: np.ndarray) -> None:
        """Makes normal numbers of 32-bit words, with one bit for the sign."""
        word = word.view(np.int32)
        v = (word & 0x7FFFFFFF).astype(np.float32)
        piece = (v.view(np.int32) >> self.SHIFT).astype(np.intp) - self.first
        np.take(self.a, piece, out=out, mode="clip")
        out += np.take(self.b, piece, mode="clip") * v
        bits = out.view(np.int32)
        bits ^= word & -(2**31)


def passes(
    kind: type[np.random.Philox | np.random.PCG64DXSM], of: "type[Table] | type[Ziggurat]"
) -> Side:
    def made(chains: int, dim: int) -> Callable[[], object]:
        each, law = [kind(seed) for seed in range(chains)], of()

        def draw() -> None:
            rows = np.empty((chains, dim), np.float32)
            some = max(TILE // dim, 1)
            for first in range(0, chains, some):
                words = np.concatenate(
                    [g.random_raw(dim // 2) for g in each[first : first + some]]
                )
                out = rows[first : first + some].reshape(-1)
                for tile in range(0, len(out), TILE):
                    part = slice(tile, tile + TILE)
                    law.normal(words.view(np.uint32)[part], out[part])

        return draw

    return made


class Ziggurat:
    """Creates the first pass of a ziggurat over all words, as 99 numbers in 100 need it; its tables are for show.

    What it refuses would still have to be drawn from the words that follow, and the rest moved up.
    """

    def __init__(self) -> None:
        self.width = np.full(2**9, 4e-7, np.float32)
        self.bound = np.full(2**9, int(0.988 * 2**23), np.int32)

    def normal(self, word: np.ndarray, out: np.ndarray) -> None:
        layer, x = (word & 0x1FF).astype(np.intp), (word >> 9).astype(np.int32)
        np.flatnonzero(x >= np.take(self.bound, layer, mode="clip"))
        np.multiply(np.take(self.width, layer, mode="clip"), x, out=out, dtype=np.float32)


def words_alone(chains: int, dim: int) -> Callable[[], object]:
    each = [np.random.Philox(seed) for seed in range(chains)]
    return lambda: [stream.random_raw(dim // 2) for stream in each]


def ours(chains: int, dim: int) -> Callable[[], object]:
    rng = lz.Rng(*range(chains))
    return lambda: rng.normal(dim)


SIDES: dict[str, Side] = {
    "latentzoo, numpy's Philox": ours,
    "numpy's Philox alone": streams(np.random.Philox),
    "numpy's SFC64": streams(np.random.SFC64),
    "words of numpy's Philox": words_alone,
    "its ziggurat's first pass": passes(np.random.Philox, Ziggurat),
    "Philox and a table": passes(np.random.Philox, Table),
    "PCG64DXSM and a table": passes(np.random.PCG64DXSM, Table),
    "words of Philox by torch": tensors,
}


def seconds(draw: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        draw()
    return time.process_time() - began


def main(turns: int) -> None:
    torch.set_num_threads(1)
    for chains, dim, times in SHAPES:
        plain = lambda chains=chains, dim=dim: torch.randn(chains, dim)
        for name, side in SIDES.items():
            draw = side(chains, dim)
            rows = [seconds(draw, times) / seconds(plain, times) for _ in range(turns + 1)][1:]
            spread = f"{statistics.median(rows):6.2f} ({min(rows):.2f}-{max(rows):.2f})"
            print(f"{chains:4d} x {dim:5d}  {name:26s} {spread}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--turns", type=int, default=15)
    main(parser.parse_args().turns)
