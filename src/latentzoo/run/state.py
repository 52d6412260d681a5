"""The state of a run: one safetensors file from which every chain goes on, bit for bit."""

import json
from pathlib import Path
from typing import NamedTuple

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


class Saved(NamedTuple):
    """A state file read back: the frame, how long the run took, its notes, and further tensors by name."""

    frame: Frame
    seconds: float
    notes: tuple[str, ...]
    tensors: dict[str, Tensor]


def save(
    path: Path,
    frame: Frame,
    *,
    seconds: float = 0.0,
    notes: tuple[str, ...] = (),
    trace: Trace | None = None,
    tensors: dict[str, Tensor] | None = None,
) -> None:
    """Writes a frame, its trace and further tensors (best states, draws) atomically."""
    state = {f"state.{name}": value for name, value in frame.state._asdict().items()}
    info = {f"info.{name}": value for name, value in frame.info._asdict().items()}
    whole = {**state, **info, "failed": frame.failed, **(tensors or {})}
    whole["noise"] = frame.noise.state()
    if trace is not None:
        whole |= trace.tensors(frame.step + 1)
    metadata = {
        "step": str(frame.step),
        "failures": json.dumps(frame.failures),
        "seconds": repr(seconds),
        "notes": json.dumps(notes),
        "seeds": json.dumps(() if trace is None else trace.seeds),
        "names": json.dumps(() if trace is None else trace.names),
    }
    whole = {
        name: value.detach().cpu().clone().contiguous() for name, value in whole.items()
    }  # none may share memory
    write_atomic(path, lambda temporary: save_file(whole, temporary, metadata))


def read(path: Path, kernel: Kernel, device: torch.device | str = "cpu") -> Saved:
    """Reads a state file back.

    Arguments:
        path: The file.
        kernel: The kernel that made it; its `State` gives the frame's state its class.
        device: Where the tensors are put.

    Raises:
        StateError: If the file is missing, truncated, or of another kernel.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise StateError(f"{path}: there is no state here; was the run started?") from None
    except (SafetensorError, OSError) as error:
        raise StateError(
            f"{path}: not a readable state of a run ({error}); start the run again"
        ) from error
    try:
        state = kernel.State(**_take("state.", tensors))
        info = Info(**_take("info.", tensors))
        failures = tuple(Failure(*failure) for failure in json.loads(metadata["failures"]))
        failed, noise = tensors.pop("failed"), Mark(tensors.pop("noise").cpu())
        frame = Frame(int(metadata["step"]), state, info, failed, noise, failures)
        notes = tuple(map(str, json.loads(metadata["notes"])))
        return Saved(frame, float(metadata["seconds"]), notes, tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise StateError(
            f"{path}: a state of another kernel or version ({error}); run it with the one that made it"
        ) from error


def _take(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}
