"""A call that is followed without its networks, and compared with another one of the same pipeline."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from latentzoo.zoo.pipelines import texts
from latentzoo.zoo.pipelines.digest import digest, digests
from latentzoo.zoo.pipelines.probe import Probe, answer, copied
from latentzoo.zoo.pipelines.texts import Texts


class Heard(Exception):  # what ends a call, and is no error
    """A network was given something else, and said something else."""


class Trace:
    """Creates the caller of networks in a call that is followed.

    Arguments:
        probe: What the networks said in the first run.
        like: A call that this one is compared with.

    Attributes:
        calls: What each call of a network was given, in hashes.
        keys: What the network was run once for.
        kept: What the first call of each key was given.
        deaf: The places of what a network was given, by the call's key, that it showed not to read.
    """

    def __init__(self, probe: Probe, like: "Trace | None" = None) -> None:
        self.probe, self.like = probe, like
        self.calls: list[dict[str, str]] = []
        self.keys: list[Any] = []
        self.kept: dict[int, Any] = {}
        self.said: dict[int, str] = {}
        self.deaf: set[tuple[Any, str]] = set()

    def __call__(
        self, call: Callable[..., Any], network: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        self.calls.append(digests((args, kwargs)))
        self.keys.append(self.probe.key(network, args, kwargs))
        if self.like is None and self.keys[-1] not in self.keys[:-1]:
            self.kept[len(self.keys) - 1] = copied((args, kwargs))
        if self.like is not None:
            self.compare(self.like, call, network, args, kwargs)
        heard = (self if self.like is None else self.like).calls[len(self.calls) - 1]
        rng = torch.Generator().manual_seed(int(digest(heard)[:15], 16))
        said = self.probe(call, network, args, kwargs)
        return pytree.tree_map(lambda x: _stirred(x, rng), said)

    def compare(
        self, like: "Trace", call: Callable[..., Any], network: Any, args: Any, kwargs: Any
    ) -> None:
        """Looks at the call at hand.

        Raises:
            Heard: If the network says something else than in the other call.
        """
        at, mine = len(self.calls) - 1, self.calls[-1]
        if at >= len(like.calls) or like.keys[at][0] != id(network):
            raise Heard
        theirs, key = like.calls[at], like.keys[at]
        changed = {place for place in {*mine, *theirs} if mine.get(place) != theirs.get(place)}
        changed = {(key, place) for place in changed} - self.deaf
        if not changed:
            return
        grown = len(key) == len(self.keys[-1]) and key != self.keys[-1]
        if grown or self.probe.whole or at not in like.kept:
            raise Heard
        if like.word(at, call) != digest(answer(call, args, kwargs)):
            raise Heard
        self.deaf |= changed

    def word(self, at: int, call: Callable[..., Any]) -> str:
        """The hash of what a network says to what it was given in a call."""
        if at not in self.said:
            args, kwargs = self.kept[at]
            self.said[at] = digest(answer(call, args, kwargs))
        return self.said[at]


class Ear:
    """Creates what answers for text encoders and for encoders of pictures: each of their calls is made once.

    Arguments:
        memory: What the text encoders said in the first run.
    """

    def __init__(self, memory: Texts) -> None:
        self.first = [memory.said(i).one for i in range(len(memory))]
        self.said: dict[Any, Any] = {}
        self.seen: dict[Any, Any] = {}

    def __call__(self, pipe: Any, args: Any, kwargs: Any) -> Any:
        key = id(pipe), digest((args, kwargs))
        if key not in self.said:
            encode = texts.as_before(pipe).encode_prompt
            self.said[key] = self.first.pop(0) if self.first else encode(*args, **kwargs)
        return self.said[key]

    def see(self, call: Callable[..., Any], network: Any, args: Any, kwargs: Any) -> Any:
        """What an autoencoder's `encode` says; the same numbers in another order in memory round otherwise."""
        tensors = (x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor))
        key = id(network), digest((args, kwargs)), *(x.stride() for x in tensors)
        if key not in self.seen:
            self.seen[key] = call(*args, **kwargs)
        return copied(self.seen[key])


def _stirred(x: Any, rng: torch.Generator) -> Any:
    """A tensor with a tenth of its spread in noise."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        return x
    noise = torch.randn(x.shape, generator=rng).to(x)
    return x + 0.1 * x.std(correction=0) * noise
