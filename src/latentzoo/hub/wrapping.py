"""What programs wrap around a network before they save it, and which of several copies of it is meant.

DistributedDataParallel puts "module." before every name, torch.compile "_orig_mod."; a network inside of another has
its attribute's name there, as the decoder of pSp; a training file has the same network twice, as it is and averaged
over the last steps. Averaged weights go first. Where two copies are equally good, nothing is chosen: both are named.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from math import prod

from latentzoo.errors import CheckpointError

PASSING = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
"""Segments of torch.compile and FSDP, which may stand anywhere in a name."""
COUNTS = {
    *("n_averaged", "num_updates", "decay", "initted", "step"),
    *("global_step", "epoch", "iter", "iteration"),
}
"""What averages over training steps, and trainings, count beside the network, or in it."""
AVERAGED = re.compile(
    r"(?<![a-z])(ema|smooth(ed)?|running|avg|averaged?|swa|shadow|polyak|accum(ulated?)?)(?![a-z])|^gs\.?$"
)
BESIDE = re.compile(
    r"(encoder|e|netE|d|netD|disc\w*|\w*discriminator\w*|\w*optim\w*|\w*sched\w*|\w*loss\w*|lpips|face_pool|id_loss|mapper|"
    r"clip\w*|augment\w*|scaler)(_\w+)?",
    re.IGNORECASE,
)
"""Networks that are trained with a generator and not needed to draw from it."""


def is_averaged(name: str) -> bool:
    """Whether a name says that its weights are averaged over training steps: "g_ema", "netG_avg", "Gs"."""
    apart = re.sub(r"(?<=[a-z])(?=EMA|Ema|Avg|Smooth)", "_", name)
    return AVERAGED.search(apart.lower()) is not None


def is_beside(first: str) -> bool:
    """Whether names that begin so are of a network that is not needed to draw: "encoder", "netD"."""
    return BESIDE.fullmatch(first) is not None


def counts(name: str, shape: Sequence[int]) -> bool:
    """Whether a tensor of a file is a counter of `COUNTS`: one number of such a name."""
    return name.rpartition(".")[2] in COUNTS and prod(shape) == 1


def unwrapped(names: Iterable[str]) -> Iterator[dict[str, str]]:
    """The names of a network's tensors as they are, then without one of what is wrapped around all of them, two, and so
    on; each by which a name as it was is known."""
    parts = {name: [part for part in name.split(".") if part not in PASSING] for name in names}
    yield {".".join(p): name for name, p in parts.items()}
    while parts and all(
        len(p) > 1 and p[0] == next(iter(parts.values()))[0] for p in parts.values()
    ):
        parts = {name: p[1:] for name, p in parts.items()}
        yield {".".join(p): name for name, p in parts.items()}


def bare(names: Iterable[str]) -> dict[str, str]:
    """The names of a network's tensors without what is wrapped around all of them, and the names as they were."""
    return [*unwrapped(names)][-1]


def choose(copies: Iterable[str]) -> str:
    """Chooses one of several networks by their names: the only one, or the averaged one.

    Raises:
        CheckpointError: If it cannot be told which is meant.
    """
    copies = list(copies)
    averaged = [name for name in copies if is_averaged(name)] or copies
    if len(averaged) > 1:
        some = " and ".join(f"'{name}'" for name in averaged[:3])
        raise CheckpointError(
            f"the file holds several networks that could be meant, {some}, and does not say which; "
            "save the one you mean alone"
        )
    return averaged[0]
