"""The state of a run: one safetensors file from which every chain goes on, bit for bit."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from latentzoo.errors import StateError
from latentzoo.files import write_atomic
from latentzoo.kernels.types import Info, Kernel
from latentzoo.rng import Mark
from latentzoo.run.chain import Failure, Frame
from latentzoo.run.trace import Trace


class State(NamedTuple):
    """What a state file holds: tensors, all on the CPU, and texts, which are plain data."""

    tensors: dict[str, Tensor]
    texts: dict[str, Any]


class Saved(NamedTuple):
    """A state taken apart: the frame, how long the run took, its notes, and further tensors by name."""

    frame: Frame
    seconds: float
    notes: tuple[str, ...]
    tensors: dict[str, Tensor]


def pack(
    frame: Frame,
    *,
    seconds: float = 0.0,
    notes: tuple[str, ...] = (),
    trace: Trace | None = None,
    tensors: dict[str, Tensor] | None = None,
    decided: Mapping[str, Any] | None = None,
) -> State:
    """Puts a frame, its trace, further tensors (best states, draws) and by what the run is decided into a state; no
    tensors share memory."""
    state = {f"state.{name}": value for name, value in frame.state._asdict().items()}
    info = {f"info.{name}": value for name, value in frame.info._asdict().items()}
    whole = {**state, **info, "failed": frame.failed, **(tensors or {})}
    whole["noise"] = frame.noise.state()
    if trace is not None:
        whole |= trace.tensors(frame.step + 1)
    texts = {
        "step": frame.step,
        "failures": frame.failures,
        "seconds": seconds,
        "notes": notes,
        "seeds": () if trace is None else trace.seeds,
        "names": () if trace is None else trace.names,
        "decided": dict(decided or {}),
    }
    alone = {name: value.detach().cpu().clone().contiguous() for name, value in whole.items()}
    return State(alone, texts)


def unpack(saved: State, kernel: Kernel, device: torch.device | str = "cpu") -> Saved:
    """Takes a state apart.

    Arguments:
        saved: The state.
        kernel: The kernel that made it; its `State` gives the frame's state its class.
        device: Where the tensors are put.

    Raises:
        StateError: If it is of another kernel.
    """
    tensors = {name: value.to(device) for name, value in saved.tensors.items()}
    try:
        state = kernel.State(**_take("state.", tensors))
        info = Info(**_take("info.", tensors))
        failures = tuple(Failure(*failure) for failure in saved.texts["failures"])
        failed, noise = tensors.pop("failed"), Mark(tensors.pop("noise").cpu())
        frame = Frame(int(saved.texts["step"]), state, info, failed, noise, failures)
        notes = tuple(map(str, saved.texts["notes"]))
        return Saved(frame, float(saved.texts["seconds"]), notes, tensors)
    except (KeyError, TypeError, ValueError) as error:
        why = (
            f"there is no {error}"
            if isinstance(error, KeyError)
            else f"no {kernel.State.__name__}"
        )
        raise StateError(
            f"a state of another kernel or version ({why}); run it with the one that made it"
        ) from error


def write(path: Path, state: State) -> None:
    """Writes a state file, atomically."""
    texts = {key: json.dumps(value) for key, value in state.texts.items()}
    write_atomic(path, lambda temporary: save_file(state.tensors, temporary, texts))


def read(path: Path) -> State:
    """Reads a state file.

    Raises:
        StateError: If the file is missing or truncated.
    """
    with _opened(path) as file:
        return State({name: file.get_tensor(name) for name in file.keys()}, _texts(file))  # noqa: SIM118


def decided(path: Path) -> dict[str, Any]:
    """Reads by what the run of a state file is decided; empty where it does not tell.

    Raises:
        StateError: If the file is missing or truncated.
    """
    with _opened(path) as file:
        return _texts(file).get("decided", {})


def _texts(file: Any) -> dict[str, Any]:
    return {key: json.loads(text) for key, text in (file.metadata() or {}).items()}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise StateError(f"{path}: there is no state here; was the run started?") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise StateError(
            f"{path}: not a readable state of a run ({error}); start the run again"
        ) from error


def _take(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}
