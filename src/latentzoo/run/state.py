"""Checkpoints of a run: one safetensors file from which every chain goes on, bit for bit."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from latentzoo.errors import CheckpointError
from latentzoo.files import write_atomic
from latentzoo.kernels.types import Info, Kernel
from latentzoo.run.chain import Failure, Frame


def save(path: Path, frame: Frame, **tensors: Tensor) -> None:
    """Writes a frame and further tensors (trace, best states) atomically."""
    state = {f"state.{name}": value for name, value in frame.state._asdict().items()}
    info = {f"info.{name}": value for name, value in frame.info._asdict().items()}
    whole = {**state, **info, "failed": frame.failed, "noise": frame.noise, **tensors}
    metadata = {"step": str(frame.step), "failures": json.dumps(frame.failures)}
    whole = {
        name: value.detach().cpu().clone().contiguous() for name, value in whole.items()
    }  # none may share memory
    write_atomic(path, lambda temporary: save_file(whole, temporary, metadata))


def read(
    path: Path, kernel: Kernel, device: torch.device | str = "cpu"
) -> tuple[Frame, dict[str, Tensor]]:
    """Reads a checkpoint back.

    Arguments:
        path: The file.
        kernel: The kernel that made it; its `State` gives the frame's state its class.
        device: Where the tensors are put.

    Returns:
        The frame, and the further tensors by name.

    Raises:
        CheckpointError: If the file is missing, truncated, or of another kernel.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: there is no checkpoint here; was the run started?"
        ) from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a readable checkpoint ({error}); start the run again"
        ) from error
    try:
        state = kernel.State(**_take("state.", tensors))
        info = Info(**_take("info.", tensors))
        failures = tuple(Failure(*failure) for failure in json.loads(metadata["failures"]))
        failed, noise = tensors.pop("failed"), tensors.pop("noise").cpu()
        return Frame(int(metadata["step"]), state, info, failed, noise, failures), tensors
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path}: a checkpoint of another kernel or version ({error}); run it with the one that made it"
        ) from error


def _take(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    names = [name for name in tensors if name.startswith(prefix)]
    return {name.removeprefix(prefix): tensors.pop(name) for name in names}
