"""Runs that a team of workers makes: one run in shards, or many runs.

A run: one worker looks at its networks; if the kernel adapts across chains, it then makes a *pilot*, a few chains of
another seed, whose schedule the others follow; then all make shards, each in a folder below that of the run, and the
driver joins them (`parts`). What a worker has finished, or written into a state file, is not made again, whoever dies.
All machines must see the run's folder.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from latentzoo import files, kernels
from latentzoo.errors import SpecError
from latentzoo.machines.team import Said, Team
from latentzoo.machines.worker import Outcome, Tell
from latentzoo.record import execute, inputs, layout, parts, places, plain, schedule, spec
from latentzoo.record.experiment import Experiment
from latentzoo.record.folder import RunFolder, is_finished, is_started
from latentzoo.record.shard import Shard, micro_batch, splittable
from latentzoo.run import pieces
from latentzoo.run.progress import Progress
from latentzoo.run.result import Result

Watch = Callable[[Progress], Any]


@dataclass(frozen=True)
class Crew:
    """Who makes a run.

    Attributes:
        workers: How many workers; None takes as many as a cluster has GPUs, or else processors.
        gpus: How many GPUs each takes; None shares those that there are.
        address: The cluster to join; None starts one on this machine.
    """

    workers: int | None = None
    gpus: float | None = None
    address: str | None = None

    def team(self) -> Team:
        """Its team, which can make runs."""
        return Team(Making(), self.workers, gpus=self.gpus, address=self.address)


class Look(NamedTuple):
    """To look at the networks of a run, before anything is made."""

    run: spec.Run


class Whole(NamedTuple):
    """To make a whole run, or to go on with it."""

    run: spec.Run
    out: Path


class Piece(NamedTuple):
    """To make a shard of a run, below the run's folder."""

    run: spec.Run
    out: Path
    shard: Shard


class Making:
    """Creates what workers do. The networks of a run are kept for the next that has the same."""

    def __init__(self) -> None:
        self._last: Experiment | None = None
        self._known: dict[str, str] | None = None

    def do(self, item: Look | Whole | Piece, tell: Tell) -> Any:
        """Looks at networks and tells the record with nothing left open, or makes a run or a shard."""
        tell(0, 1)
        step = lambda frame, walk: tell(frame.step, walk.length)
        experiment = self._experiment(item.run)
        if isinstance(item, Whole):
            return _whole(item, step, experiment)
        known = self._hashes(experiment)
        if isinstance(item, Piece):
            _visible(item.out)
            execute.require_alike(experiment, item.out, known)
            out = item.out / layout.PARTS / item.shard.folder
            return execute.make_part(experiment, item.shard, out, known=known, watch=step)
        if item.run.energies:
            _ = experiment.probed
        return replace(experiment.resolved, record={"inputs": known})

    def _experiment(self, run: spec.Run) -> Experiment:
        """The experiment of a record, whose networks are loaded when they are first asked for."""
        if self._last is None or self._last.run != run:
            self._last = Experiment(run) if self._last is None else self._last.sharing(run)
            self._known = None
        return self._last

    def _hashes(self, experiment: Experiment) -> dict[str, str]:
        """The hashes of what an experiment is made with, which must be those that its record tells."""
        if self._known is None:
            self._known = inputs.digests(experiment)
            told = experiment.run.record.get("inputs", {})
            inputs.compare(told, self._known, source=experiment.run.generator)
        return self._known


def _whole(item: Whole, step: Any, like: Experiment) -> int:
    """Makes or resumes a run and says how many of its chains failed."""
    if is_started(item.out):
        result = execute.resume(item.out, watch=step, like=like)
    else:
        result = execute.make(item.run, item.out, watch=step, like=like)
    return 0 if result is None else len(result.failures)


def _visible(folder: Path) -> None:
    if not (folder / layout.RECORD).exists():
        raise SpecError(
            f"{folder}: a worker's machine does not see this folder; give --out on a file system of all machines"
        )


def make(
    run: spec.Run,
    out: Path,
    crew: Crew,
    *,
    force: bool = False,
    watch: Watch = lambda progress: None,
) -> Result:
    """Makes the run of a record in a new folder.

    Arguments:
        run: The record.
        out: The folder; all machines see it.
        crew: Who makes it.
        force: Whether a run that is there is replaced.
        watch: Called several times a second.

    Raises:
        SpecError: If the folder is taken, the record cannot be meant, or the run cannot be split.
        WorkerError: If workers do not start, or die over and over.
        KeyboardInterrupt: If the user stops it; what was made is in the folder.
    """
    run = places.located(run)  # workers are in other folders
    run = replace(run, micro_batch=micro_batch(run)) if _piloted(run) else _checked(run)
    with RunFolder(out, force=force) as folder, crew.team() as team:
        looked = team.one(Look(run))
        folder.publish()
        count = pieces.count(run.chains, micro_batch(run), team.workers)
        told = {**looked.record, "shards": count, "workers": team.workers}
        return _made(folder, replace(looked, record=told), team, watch)


def resume(path: Path, crew: Crew, *, watch: Watch = lambda progress: None) -> Result:
    """Goes on with a run that workers began and did not finish.

    Arguments:
        path: The folder.
        crew: Who goes on with it; where it says no number of workers, there are as many as before.
        watch: Called several times a second.

    Raises:
        SpecError: If there is no such run, or an input was exchanged.
        WorkerError: If workers do not start, or die over and over.
        KeyboardInterrupt: If the user stops it; what was made is in the folder.
    """
    with RunFolder(path, resume=True) as folder:
        run = plain.read(path / layout.RECORD)
        if crew.workers is None and crew.address is None:
            crew = Crew(run.record["workers"], crew.gpus)
        with crew.team() as team:
            return _made(folder, run, team, watch)


def many(
    runs: Sequence[Whole], crew: Crew, *, watch: Watch = lambda progress: None
) -> Iterator[Outcome]:
    """Has workers make many runs, each one whole, and yields what became of each: the number of failed chains, or
    the error. They come in no order.

    Raises:
        WorkerError: If workers do not start, or die over and over.
    """
    with crew.team() as team:
        done = 0
        see = lambda said: watch(
            Progress(done + _fractions(said), len(runs), len(said), team.lost)
        )
        items = [Whole(places.located(run), out.resolve()) for run, out in runs]
        for outcome in team.each(items, see):
            done += 1
            yield outcome


def _piloted(run: spec.Run) -> bool:
    """Whether a run needs a pilot: for a schedule, or for the factor of a strength."""
    if not run.energies or run.schedule is not None:
        return False
    kernel = schedule.kernel(run)
    follows = "schedule" in kernels.settings(kernel)
    return (kernel.coupled and follows) or (run.strength is not None and run.scale is None)


def _checked(run: spec.Run) -> spec.Run:
    return splittable(run, schedule.kernel(run))


def _made(folder: RunFolder, run: spec.Run, team: Team, watch: Watch) -> Result:
    """Makes what is missing of a run and joins it."""
    path = folder.path.resolve()
    files.write_text(path / layout.RECORD, spec.to_yaml(run))
    if _piloted(run):
        run = _following(run, path / layout.PILOT, team, watch)
        files.write_text(path / layout.RECORD, spec.to_yaml(run))
    shards = [Shard(i, run.record["shards"]) for i in range(run.record["shards"])]
    place = lambda shard: path / layout.PARTS / shard.folder
    missing = [Piece(run, path, shard) for shard in shards if not is_finished(place(shard))]
    done = run.chains - sum(len(piece.shard.chains(run)) for piece in missing)

    def see(said: Said) -> None:
        begun = sum(len(p.shard.chains(run)) * made for p, made in _each(said))
        watch(Progress(done + begun, run.chains, len(said), team.lost))

    for outcome in team.each(missing, see):
        if outcome.error is not None:
            raise outcome.error
        done += len(outcome.item.shard.chains(run))
    told = {"shards": len(shards), "workers": team.workers, "lost": team.lost}
    result = parts.fill(folder, parts.complete(parts.find(path), [path]), told)
    shutil.rmtree(path / layout.PARTS, ignore_errors=True)
    return result


def _following(run: spec.Run, pilot: Path, team: Team, watch: Watch) -> spec.Run:
    """The record of a run that follows its pilot, which is made."""
    chains, seed = pieces.pilot_chains(run.chains), pieces.pilot_seed(run.seed)
    first = replace(run, chains=chains, seed=seed, keep=None, best=None, record={})
    prompts = run.options.get("prompt")
    if isinstance(prompts, list):  # one per chain
        first = replace(first, options={**run.options, "prompt": prompts[:chains]})
    see = lambda said: watch(Progress(0.0, run.chains, len(said), team.lost))
    if not is_finished(pilot):
        team.one(Whole(first, pilot), see)
    return replace(run, schedule=str(pilot), scale=plain.read(pilot / layout.RECORD).scale)


def _each(said: Said) -> Iterator[tuple[Any, float]]:
    """The items at hand, and which part of each is made."""
    for item, words in said:
        yield item, words[0] / max(words[1], 1) if words else 0.0


def _fractions(said: Said) -> float:
    return sum(made for _, made in _each(said))
