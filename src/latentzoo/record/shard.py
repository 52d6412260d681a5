"""Which chains of a run one process takes: shard i of n, a piece of whole micro-batches; see `run.pieces`."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from latentzoo import kernels
from latentzoo.errors import SpecError
from latentzoo.record import spec
from latentzoo.run import pieces

if TYPE_CHECKING:
    from latentzoo.kernels.types import Kernel

WORDS = re.compile(r"(\d+)/(\d+)")
FOLDER = re.compile(r"(\d+)-of-(\d+)")


@dataclass(frozen=True, order=True)
class Shard:
    """Shard `index` of `count`, from 0."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def folder(self) -> str:
        """The name of its folder below that of the whole run."""
        return f"{self.index:05d}-of-{self.count:05d}"

    def chains(self, run: spec.Run) -> range:
        """The chains it takes of a run.

        Raises:
            SpecError: If there are more shards than micro-batches.
        """
        size = micro_batch(run)
        blocks = pieces.blocks(run.chains, size)
        if self.count > blocks:
            raise SpecError(
                f"{run.chains} chains in micro-batches of {size} make {blocks} shards at most, and {self.count} are "
                "asked for; give fewer, or a smaller --micro-batch"
            )
        return pieces.piece(run.chains, size, self.index, self.count)


def micro_batch(run: spec.Run) -> int:
    """How many chains of a run that is split go through the networks at once."""
    return run.micro_batch or pieces.micro_batch(run.chains)


def splittable(run: spec.Run, kernel: "Kernel") -> spec.Run:
    """The record of a run that is split, with its micro-batch.

    Arguments:
        run: The record.
        kernel: Its kernel.

    Raises:
        SpecError: If its chains depend on each other.
    """
    if run.energies and kernel.coupled:
        follows = "schedule" in kernels.settings(kernel)
        cure = (
            "let it follow a pilot, a run of a few chains with the same steps: --schedule RUN"
            if follows
            else "take a kernel whose chains walk alone, such as anneal with --schedule RUN"
        )
        raise SpecError(
            f"the chains of '{run.kernel.name}' adapt to each other, so this run cannot be split; {cure}"
        )
    if run.energies and run.strength is not None and run.scale is None:
        raise SpecError(
            f"the factor for {run.strength:g} nats would be sought by each shard; give the pilot's, --scale X "
            "(it is in its run.yaml)"
        )
    return replace(run, micro_batch=micro_batch(run))


def read(words: str) -> Shard:
    """Reads "i/n".

    Raises:
        SpecError: If it is no shard.
    """
    found = WORDS.fullmatch(words.strip())
    if found is None or not 0 <= int(found[1]) < int(found[2]):
        raise SpecError(f"'{words}' is no shard; write i/n with i from 0 to n - 1, e.g. 0/4")
    return Shard(int(found[1]), int(found[2]))


def launched(environment: Mapping[str, str] = os.environ) -> Shard | None:
    """The shard of a process that torchrun or accelerate launched as one of several; None of any other.

    Raises:
        SpecError: If its rank is not below its number of processes.
    """
    rank, size = environment.get("RANK", ""), environment.get("WORLD_SIZE", "")
    if not (rank.isdigit() and size.isdigit()) or int(size) < 2:
        return None
    return read(f"{rank}/{size}")
