"""A run that follows another: its temperatures and step sizes, read from the other's folder."""

from pathlib import Path
from typing import Any

from latentzoo import kernels
from latentzoo.errors import SpecError
from latentzoo.kernels.adapt import schedule
from latentzoo.record import layout, plain
from latentzoo.run import state


def followed(folder: Path) -> dict[str, Any]:
    """The settings of a kernel that follows the run in a folder.

    Raises:
        SpecError: If the folder holds no finished run.
    """
    table = layout.read_trace(folder)
    if table is None:
        raise SpecError(f"{folder}: there is no finished run here; run or resume it first")
    record = plain.read(folder / layout.RECORD).kernel
    kernel = kernels.load(record.name, **record.settings)
    saved = state.read(folder / layout.STATE, kernel)
    rows = schedule(table.column("beta"), table.column("step_size"))
    return {"schedule": rows, **kernel.learned(saved.frame.state)}
