"""A run that follows another: its temperatures and step sizes, and where it looks, read from the other's folder.

A kernel without a schedule of its own follows in the directions alone.
"""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from latentzoo import kernels
from latentzoo.errors import SpecError, StateError
from latentzoo.kernels.adapt import schedule
from latentzoo.kernels.types import Kernel
from latentzoo.record import layout, plain, spec
from latentzoo.record.folder import is_finished
from latentzoo.run import state
from latentzoo.run.directions import BASIS, Sights
from latentzoo.run.heading import WAY


def kernel(run: spec.Run) -> Kernel:
    """The kernel of a record, which follows the run that the record names.

    Raises:
        SpecError: If the record follows a run that is not finished, or its kernel refuses the settings.
        UnknownName: If there is no such kernel or setting.
    """
    name, settings = run.kernel.name, dict(run.kernel.settings)
    if run.schedule is not None:
        table = _finished(Path(run.schedule))
        if "schedule" in kernels.settings(kernels.load(name)):
            settings |= followed(Path(run.schedule), table)
    return kernels.load(name, **settings)


def sights(run: spec.Run, dim: int) -> Sights | None:
    """Where a run looks that follows another: along its directions and heading, about the mean of its last states.

    None if the record follows none, or the other has no state file, or no directions.

    Arguments:
        run: The record.
        dim: How many numbers its latents have.

    Raises:
        SpecError: If those of the other have more or fewer.
    """
    if run.schedule is None:
        return None
    try:
        with safe_open(Path(run.schedule) / layout.STATE, framework="pt") as file:
            basis, z, failed = map(file.get_tensor, (BASIS, "state.z", "failed"))
            way = file.get_tensor(WAY) if WAY in file.keys() else None  # noqa: SIM118
    except (FileNotFoundError, SafetensorError):
        return None
    if len(basis) != dim:
        raise SpecError(
            f"{run.schedule}: the latents of this run have {len(basis)} numbers, and those that would follow it {dim}; "
            "follow a run of the same generator, with the same options"
        )
    return Sights.of(basis, z, failed < 0, way)


def _finished(folder: Path) -> layout.Table:
    table = layout.read_trace(folder)
    if table is None or not is_finished(folder):
        raise SpecError(f"{folder}: there is no finished run here; run or resume it first")
    return table


def followed(folder: Path, table: layout.Table) -> dict[str, Any]:
    """The settings of a kernel that follows the run in a folder, whose trace is given.

    Raises:
        SpecError: If its chains shared no schedule.
        StateError: If its state is gone, or of another kernel.
    """
    record = plain.read(folder / layout.RECORD).kernel
    walked = kernels.load(record.name, **record.settings)
    rows = schedule(table.column("beta"), table.column("step_size"))
    try:
        saved = state.unpack(state.read(folder / layout.STATE), walked)
    except StateError as error:
        raise StateError(f"{folder}: its schedule cannot be followed: {error}") from error
    return {"schedule": rows, **walked.learned(saved.frame.state)}
