"""A run made, resumed and extended in its folder.

    walk = experiment.begin()                       # or walk.resume(state)
    for frame in folder.keeping(walk): ...          # state files on the way
    folder.write(finish(walk))

`lz.sample` is the same walk without a folder.
"""

import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace

from latentzoo.errors import SpecError
from latentzoo.record import inputs, layout, plain, spec
from latentzoo.record.decided import decided, require_same
from latentzoo.record.experiment import Experiment
from latentzoo.record.folder import RunFolder, is_finished, is_started
from latentzoo.record.shard import Shard
from latentzoo.record.shard import read as read_shard
from latentzoo.run import state
from latentzoo.run.chain import Frame
from latentzoo.run.result import Result, finish
from latentzoo.run.strength import Watch as Climb
from latentzoo.run.trace import Trace
from latentzoo.run.walk import Walk

Watch = Callable[[Frame, Walk], Any]
Climbing = Callable[[], AbstractContextManager[Climb | None]]


def make(
    run: spec.Run,
    out: Path,
    *,
    shard: Shard | None = None,
    force: bool = False,
    watch: Watch | None = None,
    climbing: Climbing = nullcontext,
    like: Experiment | None = None,
) -> Result:
    """Makes the run of a record in a new folder.

    Arguments:
        run: The record; if it tells the hashes of what it was made with, they must be the same.
        out: The folder.
        shard: Which of its chains are made; None makes all. See `parts.merge`.
        force: Whether a run that is there is replaced.
        watch: Called after every step.
        climbing: Who watches the search for a strength: a context that gives what is called after its steps.
        like: An experiment whose networks are taken where they are the same.

    Raises:
        SpecError: If the folder is taken, the record cannot be meant, or an input was exchanged.
        KeyboardInterrupt: If the user stops it; what was reached is in the folder.
    """
    with RunFolder(out, force=force) as folder:
        experiment = Experiment(run, shard) if like is None else like.sharing(run, shard)
        with climbing() as climb:
            experiment, notes = experiment.scaled(climb)
        measured = measure(experiment)
        inputs.compare(run.record.get("inputs", {}), measured["inputs"], source=str(out))
        return _made(experiment, folder, measured, watch, notes)


def resume(
    path: Path, *, steps: int = 0, watch: Watch | None = None, like: Experiment | None = None
) -> Result | None:
    """Goes on with a stopped run, or with a finished one for more steps.

    The result is that of an undisturbed run, bit for bit. An extended run keeps the schedule that
    was planned for its first part, and its record says both.

    Arguments:
        path: The run's folder.
        steps: How many gradients each chain gets beyond those of the record.
        watch: Called after every step.
        like: An experiment whose networks are taken where they are the same.

    Returns:
        The result; None if the run is finished and no steps were given.

    Raises:
        SpecError: If there is no run, it cannot go on, or an input was exchanged.
        StateError: If the state file is broken.
        KeyboardInterrupt: If the user stops it; what was reached is in the folder.
    """
    with RunFolder(path, resume=True) as folder:
        run = plain.read(path / layout.RECORD)
        if run.record.get("python"):
            raise SpecError(
                f"{path}: this run was sampled in Python from objects that no record names; "
                "sample it there again"
            )
        if is_finished(path) and not steps:
            return None
        if by_workers(run):
            raise SpecError(
                f"{path}: workers make this run; go on with `latentzoo resume {path} --workers N`"
            )
        if steps:
            run = extended(run, steps)
        if run.energies and not folder.state.exists() and (path / layout.LATENTS).exists():
            raise SpecError(
                f"{path}: its {layout.STATE} is gone, from which it would go on; put it back, or make the run again: "
                f"`latentzoo run {path / layout.RECORD} --out NEW`"
            )
        experiment = Experiment(run, of(run)) if like is None else like.sharing(run, of(run))
        measured = measure(experiment)
        inputs.compare(run.record.get("inputs", {}), measured["inputs"], source=str(path))
        return _made(experiment, folder, measured, watch)


def make_part(
    whole: Experiment,
    shard: Shard,
    out: Path,
    *,
    known: dict[str, str],
    watch: Watch | None = None,
) -> None:
    """Makes a shard of an experiment whose networks are loaded, goes on with it, or leaves it as it is if it is made.

    Arguments:
        whole: The experiment of all chains.
        shard: Which of them are made.
        out: The shard's folder.
        known: The hashes of what the experiment is made with.
        watch: Called after every step.
    """
    if is_finished(out):
        return
    with RunFolder(out, resume=is_started(out)) as folder:
        experiment = whole.sharing(whole.run, shard)
        _made(experiment, folder, measure(experiment, known), watch)


def _made(
    experiment: Experiment,
    folder: RunFolder,
    measured: dict[str, Any],
    watch: Watch | None,
    notes: tuple[str, ...] = (),
) -> Result:
    """Makes a run from its start, or from its state."""
    if not experiment.run.energies:
        return _drawn(experiment, folder, measured)
    settings = decided(experiment.resolved, measured["inputs"])
    if folder.state.exists():
        walk = experiment.walk()
        walk.decided = settings
        require_same(state.decided(folder.state), settings, source=folder.final)
        walk.resume(folder.state)
    else:
        walk = experiment.begin(notes)
        walk.decided = settings
    return _walked(experiment, folder, walk, measured, watch)


def require_alike(whole: Experiment, path: Path, known: dict[str, str]) -> None:
    """Refuses to make further shards of a run with other settings than those that are there.

    Arguments:
        whole: The experiment of all chains.
        path: The run's folder.
        known: The hashes of what the experiment is made with.

    Raises:
        SpecError: If a setting is another.
    """
    for part in layout.parts(path):
        if (part / layout.STATE).exists():
            now = decided(whole.resolved, known)
            require_same(state.decided(part / layout.STATE), now, source=path)


def of(run: spec.Run) -> Shard | None:
    """Which shard of its run a record was measured on; None if it is the whole."""
    words = run.record.get("shard")
    return None if words is None else read_shard(str(words))


def by_workers(run: spec.Run) -> bool:
    """Whether a record is that of a run that workers make, and have not finished; see `workers`."""
    return "shards" in run.record and not run.record.get("finished")


def holds(path: Path, run: spec.Run) -> bool:
    """Whether a folder holds the run of a record, made with what is here: same words, same inputs."""
    if not is_started(path):
        return False
    saved, experiment = plain.read(path / layout.RECORD), Experiment(run)
    words = lambda record: spec.to_yaml(replace(record, record={}))
    return words(saved) == words(experiment.resolved) and saved.record.get(
        "inputs"
    ) == inputs.digests(experiment)


def extended(run: spec.Run, steps: int) -> spec.Run:
    """The record of a run that goes on for more steps by the schedule it was planned with.

    Raises:
        SpecError: If the run has no chains that could go on.
    """
    if steps < 1:
        raise SpecError(f"steps is {steps}; give how many gradients more each chain gets")
    if not run.energies:
        raise SpecError("draws from the prior take no steps; give energies to guide them")
    return replace(run, steps=run.steps + steps, plan=run.plan or run.steps)


def measure(experiment: Experiment, known: dict[str, str] | None = None) -> dict[str, Any]:
    """What the record tells of the machine and of what went in, whose hashes may be known."""
    assumed = {**experiment.bare.assumed, **experiment.unexamined}
    versions = {name: version(name) for name in ("latentzoo", "torch", "numpy")}
    return {
        "versions": versions | {"python": platform.python_version()},
        "device": str(experiment.device),
        "threads": torch.get_num_threads(),
        "seeds": list(experiment.rng.seeds),
        **({} if experiment.shard is None else {"shard": str(experiment.shard)}),
        "inputs": inputs.digests(experiment) if known is None else known,
        **({"assumed": assumed} if assumed else {}),
    }


def _walked(
    experiment: Experiment,
    folder: RunFolder,
    walk: Walk,
    measured: dict[str, Any],
    watch: Watch | None,
) -> Result:
    run = experiment.resolved
    text = lambda **more: spec.to_yaml(replace(run, record={**measured, **more}))
    try:
        for frame in folder.keeping(walk, text()):
            if watch is not None:
                watch(frame, walk)
    except KeyboardInterrupt:
        if folder.published:  # what was reached, for `latentzoo report`
            folder.write(finish(walk, stopped=True), text())
        raise
    result = finish(walk)
    folder.write(result, text(**_cost(result)))
    return result


def _drawn(experiment: Experiment, folder: RunFolder, measured: dict[str, Any]) -> Result:
    z = experiment.prior()
    result = Result(
        z=z,
        start=z,
        trace=Trace(experiment.rng.seeds),
        generator=experiment.map,
        micro_batch=experiment.run.micro_batch,
    )
    record = replace(experiment.resolved, record={**measured, **_cost(result)})
    folder.write(result, spec.to_yaml(record))
    return result


def _cost(result: Result) -> dict[str, Any]:
    return {
        "finished": True,
        "gradients": result.gradients,
        "seconds": round(result.seconds, 3),
    }
