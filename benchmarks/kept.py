"""Runs kept in files, so that verdicts can be given anew without running again."""

from collections.abc import Callable
from pathlib import Path

import torch

from latentzoo.kernels.types import Kernel
from latentzoo.run.chain import Failure
from latentzoo.run.result import Result
from latentzoo.run.trace import Trace


def kept(path: Path, kernel: Kernel, run: Callable[[], Result]) -> Result:
    """The run of a file; it is made, and the file with it, where there is none.

    Arguments:
        path: The file.
        kernel: The kernel of the run, with its plan.
        run: What makes the run.
    """
    if not path.exists():
        result = run()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        torch.save(_plain(result), part)
        part.replace(path)
        return result
    saved = torch.load(path, weights_only=True)
    trace = Trace(tuple(saved["seeds"]))
    trace.restore(saved["trace"])
    return Result(
        z=saved["z"],
        start=saved["z"],
        trace=trace,
        kernel=kernel,
        failures=tuple(Failure(*failure) for failure in saved["failures"]),
        notes=tuple(saved["notes"]),
        state=kernel.State(*saved["state"]),
    )


def _plain(result: Result) -> dict:
    """What a diagnosis needs of a run, as plain data."""
    return {
        "z": result.z,
        "seeds": list(result.trace.seeds),
        "trace": result.trace.tensors(len(result.trace)),
        "failures": [list(failure) for failure in result.failures],
        "notes": list(result.notes),
        "state": list(result.state),
    }
