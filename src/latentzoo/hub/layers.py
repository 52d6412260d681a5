"""The networks that a file could mean, whatever programs have wrapped around them."""

from collections.abc import Iterator
from dataclasses import replace

from latentzoo.hub import respelling, wrapping
from latentzoo.hub.checkpoint import Checkpoint

LEFT = ("total_ops", "total_params")
"""What counters of operations (thop) leave behind in modules."""
DEPTH = 6


def layers(checkpoint: Checkpoint) -> Iterator[dict[str, Checkpoint]]:
    """The networks that a file could mean, by their prefix: as it is, then without one wrapping, two, and so on.

    A wrapping is the first segment of all names, those of `BESIDE` apart; tensors whose name has no dot, as
    `latent_avg`, belong to each.
    """
    uncounted = {n: x for n, x in checkpoint.tensors.items() if not wrapping.counts(n, x.shape)}
    yield {"": replace(checkpoint, tensors=uncounted)}
    tensors = {
        ".".join(part for part in name.split(".") if part not in wrapping.PASSING): tensor
        for name, tensor in uncounted.items()
        if name.rpartition(".")[2] not in LEFT
    }
    whole = {"": replace(checkpoint, tensors=tensors)}
    if tensors.keys() != uncounted.keys():
        yield whole
    if (averaged := respelling.completed(whole[""])) is not whole[""]:
        whole = {"": averaged}
        yield whole
    for _ in range(DEPTH):
        whole = {
            f"{prefix}{name}.": inner
            for prefix, outer in whole.items()
            for name, inner in inside(outer).items()
        }
        if not whole:
            return
        yield whole


def inside(checkpoint: Checkpoint) -> dict[str, Checkpoint]:
    """The networks inside of a file's outermost wrapping, by the first segment of their names.

    Copies of which one is wrapped more often than another, "generator." and "ema.module.", are met at the same depth.
    """
    beside = {name: tensor for name, tensor in checkpoint.tensors.items() if "." not in name}
    groups: dict[str, dict] = {}
    for name, tensor in checkpoint.tensors.items():
        first, _, rest = name.partition(".")
        if rest and not wrapping.is_beside(first):
            groups.setdefault(first, dict(beside))[rest] = tensor
    names = [wrapping.bare(group).keys() for group in groups.values()]
    if any(own != names[0] for own in names):
        return {}
    least = min(groups.values(), key=lambda group: sum(map(len, group)), default={})
    plain = wrapping.bare(least)
    even = lambda group: {plain[name]: group[own] for name, own in wrapping.bare(group).items()}
    return {
        first: replace(checkpoint, tensors=group if group.keys() == least.keys() else even(group))
        for first, group in groups.items()
    }
