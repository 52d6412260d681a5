"""The state of a run from the states of its parts, which were walked apart.

What a chain has is put side by side in the order of the chains; what all share is the same in each part. A part whose
chains all failed ends early: it stands still from there on, as its chains do in the whole run. Each part is copied to
its place as it comes, so that nothing is in memory twice.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from latentzoo.errors import StateError
from latentzoo.run.directions import ALONG, BASIS
from latentzoo.run.heading import BEGAN, GOING, WAY
from latentzoo.run.state import State

GRADIENTS, DRAWS = "gradients", "draws"
SHARED = (GRADIENTS, BASIS, WAY, "draws.step")
LOOKS = {BASIS: ALONG, WAY: GOING}
"""Where a run looks, and what it saw there: parts that look elsewhere are not put side by side."""
CHAIN = {"trace": 2, ALONG: 2, GOING: 1, DRAWS: 1}
"""Which dimension is the chain's, where it is not the first; the first is then that of the steps."""
APART = (
    "the chains were walked apart and followed no run, so they were not looked at along the directions of their "
    "gradients, nor along where they were going"
)


class _Part(NamedTuple):
    """What is kept of a part beside its place: its chains, its texts, how many draws it has, where it looks."""

    chains: range
    texts: dict[str, Any]
    draws: int
    looks: dict[str, int | None]

    @property
    def step(self) -> int:
        return self.texts["step"]


class Joined:
    """Creates the state of a run of so many chains, into which its parts are put in any order."""

    def __init__(self, chains: int) -> None:
        self._count = chains
        self._tensors: dict[str, Tensor] = {}
        self._parts: list[_Part] = []
        self._looks: dict[str, list[Tensor]] = {key: [] for key in LOOKS}

    def put(self, first: int, part: State) -> None:
        """Copies a part to its place, from chain `first` on."""
        tensors = {key: value for key, value in part.tensors.items() if key != BEGAN}
        looks = {key: self._known(key, tensors.get(key)) for key in LOOKS}
        chains = range(first, first + len(tensors["failed"]))
        elsewhere = {seen for key, seen in LOOKS.items() if looks[key] != 0}
        for key, value in tensors.items():
            if key not in SHARED and key not in elsewhere:
                self._place(key, first, value)
        self._share(tensors)
        drawn = len(tensors[DRAWS]) if DRAWS in tensors else 0
        self._parts.append(_Part(chains, part.texts, drawn, looks))

    def state(self) -> State:
        """The whole, when all parts are in their places.

        Raises:
            StateError: If they are not parts of one run, or one is not at its end.
        """
        parts = sorted(self._parts, key=lambda part: part.chains.start)
        names = {tuple(part.texts["names"]) for part in parts}
        if len(names) > 1:
            said = ", ".join(map(str, sorted(names)))
            raise StateError(f"these parts have other energies: {said}")
        steps = max(part.step for part in parts)
        for part in parts:
            self._stand(part, steps)
        texts = {**_texts(parts), "step": steps}
        for key, seen in LOOKS.items():
            known = {
                x for part in parts if (x := part.looks[key]) is not None or part.step == steps
            }
            if len(known) != 1:
                self._tensors = {k: v for k, v in self._tensors.items() if k not in (key, seen)}
                texts["notes"] = list(dict.fromkeys([*texts["notes"], APART]))
        return State(self._tensors, texts)

    def _place(self, key: str, first: int, value: Tensor) -> None:
        dim = CHAIN.get(key, 0)
        whole = self._tensors.get(key)
        if whole is None or (dim > 0 and len(whole) < len(value)):
            shape = (*value.shape[:dim], self._count, *value.shape[dim + 1 :])
            room = value.new_full(shape, torch.nan) if dim > 0 else value.new_empty(shape)
            if whole is not None:
                room[: len(whole)] = whole
            whole = self._tensors[key] = room
        there = whole.narrow(dim, first, value.shape[dim])
        (there[: len(value)] if dim > 0 else there).copy_(value)

    def _share(self, tensors: dict[str, Tensor]) -> None:
        """Keeps what all chains share, of the part that went farthest."""
        before = self._tensors.get(GRADIENTS)
        if before is None or tensors[GRADIENTS] > before:
            self._tensors |= {key: tensors[key].clone() for key in SHARED if key in tensors}

    def _known(self, key: str, look: Tensor | None) -> int | None:
        """Which of those that were seen this is."""
        if look is None:
            return None
        for i, other in enumerate(self._looks[key]):
            if torch.equal(look, other):
                return i
        self._looks[key].append(look.clone())
        return len(self._looks[key]) - 1

    def _stand(self, part: _Part, steps: int) -> None:
        """Lets a part that ended early stand until the end of the last of them."""
        if part.step == steps:
            return
        chains = slice(part.chains.start, part.chains.stop)
        if (self._tensors["failed"][chains] < 0).any():
            raise StateError(
                f"one part is at step {part.step} and another at step {steps}; resume it first"
            )
        if DRAWS in self._tensors:
            self._tensors[DRAWS][part.draws :, chains] = self._tensors["state.z"][chains]


def join(parts: Iterable[State], chains: int) -> State:
    """Joins the states of a run's parts, given in the order of its chains.

    Raises:
        StateError: If they are not parts of one run, or one is not at its end.
    """
    whole, first = Joined(chains), 0
    for part in parts:
        whole.put(first, part)
        first += len(part.tensors["failed"])
    return whole.state()


def _texts(parts: list[_Part]) -> dict[str, Any]:
    """What is said of all parts together; the seconds are those of all of them."""
    every = lambda key: [x for part in parts for x in part.texts[key]]
    failures = [
        [part.chains.start + chain, *rest]
        for part in parts
        for chain, *rest in part.texts["failures"]
    ]
    return {
        "failures": sorted(failures, key=lambda failure: (failure[2], failure[0])),
        "seconds": sum(part.texts["seconds"] for part in parts),
        "notes": list(dict.fromkeys(every("notes"))),
        "seeds": every("seeds"),
        "names": parts[0].texts["names"],
        "decided": parts[0].texts.get("decided", {}),
    }
