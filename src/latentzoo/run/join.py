"""The state of a run from the states of its parts, which were walked apart.

What a chain has is put side by side in the order of the chains; what all share is the same in each part. A part whose
chains all failed ends early: it stands still from there on, as its chains do in the whole run.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from latentzoo.errors import StateError
from latentzoo.files import write_atomic

SHARED = ("draws.step", "directions.basis")
CHAIN = {"trace": 2, "directions.along": 2, "draws": 1}
"""Which dimension is the chain's, where it is not the first."""
APART = (
    "the chains were walked apart and followed no run, so they were not looked at along the directions of their "
    "gradients"
)


class State(NamedTuple):
    """A state file as it is: its tensors and its texts."""

    tensors: dict[str, Tensor]
    texts: dict[str, Any]


def read(path: Path) -> State:
    """Reads a state file as it is.

    Raises:
        StateError: If it is missing or broken.
    """
    try:
        with safe_open(path, framework="pt") as file:
            texts = {key: json.loads(text) for key, text in (file.metadata() or {}).items()}
            return State({name: file.get_tensor(name) for name in file.keys()}, texts)  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise StateError(
            f"{path}: not a readable state of a part ({error}); make the part again"
        ) from error


def write(path: Path, state: State) -> None:
    """Writes a state file, atomically."""
    texts = {key: json.dumps(value) for key, value in state.texts.items()}
    write_atomic(path, lambda temporary: save_file(state.tensors, temporary, texts))


def join(states: Sequence[State]) -> State:
    """Joins the states of a run's parts, in the order of their chains.

    The parts are emptied on the way, so that no more than one tensor is there twice.

    Raises:
        StateError: If they are not parts of one run.
    """
    names = {tuple(state.texts["names"]) for state in states}
    if len(names) > 1:
        raise StateError(f"these parts have other energies: {', '.join(map(str, sorted(names)))}")
    last = max(states, key=lambda state: state.texts["step"])
    steps = last.texts["step"]
    whole = [_until(state, last) for state in states]
    texts = _texts(whole)
    keys = list(dict.fromkeys(key for state in whole for key in state.tensors))
    if _apart(whole):
        keys = [key for key in keys if not key.startswith("directions.")]
        texts["notes"].append(APART)
    return State({key: _joined(key, whole) for key in keys}, {**texts, "step": steps})


def _texts(states: Sequence[State]) -> dict[str, Any]:
    """What is said of all parts together; the seconds are those of all of them."""
    failures, before = [], 0
    for state in states:
        for chain, *rest in state.texts["failures"]:
            failures.append([before + chain, *rest])
        before += len(state.tensors["failed"])
    every = lambda key: [x for state in states for x in state.texts[key]]
    return {
        "failures": sorted(failures, key=lambda failure: (failure[2], failure[0])),
        "seconds": sum(state.texts["seconds"] for state in states),
        "notes": list(dict.fromkeys(every("notes"))),
        "seeds": every("seeds"),
        "names": states[0].texts["names"],
    }


def _apart(states: Sequence[State]) -> bool:
    """Whether the parts looked along directions of their own."""
    bases = [state.tensors.get("directions.basis") for state in states]
    some = [basis for basis in bases if basis is not None]
    return bool(some) and not (
        len(some) == len(bases) and all(torch.equal(basis, some[0]) for basis in some)
    )


def _joined(key: str, states: Sequence[State]) -> Tensor:
    values = [state.tensors.pop(key) for state in states if key in state.tensors]
    if key == "gradients":
        return torch.stack(values).amax()
    return values[0] if key in SHARED else torch.cat(values, CHAIN.get(key, 0)).contiguous()


def _until(state: State, last: State) -> State:
    """A part that ended early, until the end of the last of them."""
    missing = last.texts["step"] - state.texts["step"]
    if missing == 0:
        return state
    if (state.tensors["failed"] < 0).any():
        raise StateError(
            f"one part is at step {state.texts['step']} and another at step {last.texts['step']}; resume it first"
        )
    more, chains = dict(state.tensors), len(state.tensors["failed"])
    for key in ("trace", "directions.along"):
        if key in last.tensors:
            ended = last.tensors[key].new_full((*last.tensors[key].shape[:2], chains), torch.nan)
            before = more.get(key, ended[:0])
            more[key] = torch.cat([before, ended[len(before) :]])
    if "draws" in last.tensors:
        stands = more["state.z"].expand(len(last.tensors["draws"]), -1, -1)
        before = more.get("draws", stands[:0])
        more["draws"] = torch.cat([before, stands[len(before) :]])
    return State(
        {**more, **{key: last.tensors[key] for key in SHARED if key in last.tensors}}, state.texts
    )
