"""A run made or resumed at the command line: under the eyes of who watches, with its page and its status."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from latentzoo.cli.app import interruptible
from latentzoo.cli.progress import climber, emit, tracked, watcher, workers_watched
from latentzoo.cli.shared import count
from latentzoo.errors import SpecError
from latentzoo.record import plain, spec
from latentzoo.record.shard import Shard, launched

if TYPE_CHECKING:
    from latentzoo.record.execute import Watch
    from latentzoo.record.workers import Crew
    from latentzoo.run.chain import Frame
    from latentzoo.run.result import Result
    from latentzoo.run.walk import Walk


class ChainFailed(typer.Exit):
    """The exit of a run in which a chain failed; a sweep goes on after it."""


class Voice(NamedTuple):
    """How a command speaks.

    Attributes:
        quiet: Whether it says nothing but errors.
        as_json: Whether it speaks in JSON lines.
        strict: Whether a sample that is not trustworthy is a failure.
        track: The tracker that gets the numbers of every step, `KIND:PLACE`.
    """

    quiet: bool = False
    as_json: bool = False
    strict: bool = False
    track: str | None = None


def make(
    record: spec.Run, out: Path, who: "Shard | Crew | None" = None, *, force: bool, voice: Voice
) -> None:
    """Makes the run of a record in a new folder.

    Arguments:
        record: The record.
        out: The folder.
        who: Who makes it: this process, this process one shard, or workers.
        force: Whether a run that is there is replaced.
        voice: How the command speaks.

    Raises:
        ChainFailed: If a chain failed.
        typer.Exit: If the user stopped it, or the sample is not trustworthy and that is a failure.
    """
    from latentzoo.record import workers

    if isinstance(who, Shard):
        _make_shard(record, out, who, force=force, voice=voice)
    elif who is None:
        _make_here(record, out, None, force=force, voice=voice)
    else:
        _gather(out, lambda watch: workers.make(record, out, who, force=force, watch=watch), voice)


def _make_here(
    record: spec.Run, out: Path, shard: Shard | None, *, force: bool, voice: Voice
) -> None:
    """Makes a run, or a shard of it, in this process."""
    from latentzoo.record import execute

    given = {"shard": shard, "force": force}
    climbing = lambda: climber(quiet=voice.quiet, as_json=voice.as_json)
    making = lambda watch: execute.make(record, out, **given, watch=watch, climbing=climbing)
    with tracked(voice.track, lambda: record) as track:
        _walk(out, making, voice, track)


def _gather(path: Path, making: "Callable[[Any], Result]", voice: Voice) -> None:
    """Has workers make a run, or go on with it.

    Raises:
        SpecError: If a tracker is to see the steps.
    """
    from latentzoo.record.folder import is_started

    if voice.track is not None:
        raise SpecError("a tracker sees steps, which stay with the workers; leave out --track")
    try:
        with workers_watched(quiet=voice.quiet, as_json=voice.as_json) as watch:
            result = making(watch)
    except KeyboardInterrupt:
        kept = is_started(path)
        end = f"go on with: latentzoo resume {path}" if kept else "nothing was written"
        typer.echo(f"stopped; {end}", err=True)
        raise typer.Exit(130) from None
    _end(result, path, voice)


def _make_shard(record: spec.Run, whole: Path, shard: Shard, *, force: bool, voice: Voice) -> None:
    from latentzoo.record import parts

    out, chains = parts.place(whole, shard), shard.chains(record)
    if launched() is not None:
        voice = voice._replace(quiet=voice.quiet or shard.index > 0)
        _take_gpu(int(os.environ.get("LOCAL_RANK", "0")))
    _say(voice, f"shard {shard}: chains {chains[0]} to {chains[-1]}")
    _make_here(record, out, shard, force=force, voice=voice)
    _say(voice, f"shard {shard} is made; when all are: latentzoo merge {whole}")


def _take_gpu(rank: int) -> None:
    """Makes the GPU of a rank on its machine the one that is meant by "cuda"."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.set_device(rank % torch.cuda.device_count())


def merge(folders: list[Path], out: Path, *, force: bool, voice: Voice) -> None:
    """Joins the shards of a run.

    Raises:
        ChainFailed: If a chain failed.
        typer.Exit: If the sample is not trustworthy, and that is a failure.
    """
    from latentzoo.record import parts

    _end(parts.merge(folders, out, force=force), out, voice)


def _say(voice: Voice, words: str) -> None:
    if not (voice.quiet or voice.as_json):
        typer.echo(words)


def resume(path: Path, who: "Crew | None" = None, *, steps: int, voice: Voice) -> None:
    """Goes on with the run in a folder.

    Raises:
        SpecError: If workers are to go on with a run that one process began.
        ChainFailed: If a chain failed.
        typer.Exit: If the user stopped it, or the sample is not trustworthy and that is a failure.
    """
    from latentzoo.record import execute, layout, workers
    from latentzoo.record.folder import is_started

    if is_started(path) and execute.by_workers(plain.read(path / layout.RECORD)):
        if steps:
            raise SpecError(f"{path}: this run is not finished; resume it without --steps first")
        crew = who or workers.Crew()
        _gather(path, lambda watch: workers.resume(path, crew, watch=watch), voice)
        return
    if who is not None:
        raise SpecError(
            f"{path}: this run was not begun by workers; leave out --workers and --ray"
        )
    making = lambda watch: execute.resume(path, steps=steps, watch=watch)
    with tracked(voice.track, lambda: plain.read(path / layout.RECORD)) as track:
        _walk(path, making, voice, track, resuming=True)


def _walk(
    path: Path,
    making: "Callable[[Watch], Result | None]",
    voice: Voice,
    track: "Watch",
    *,
    resuming: bool = False,
) -> None:
    from latentzoo.record.folder import is_started

    here = resuming or not is_started(path)  # else another run is there until the first step

    def stepped(frame: "Frame", walk: "Walk") -> None:
        interrupt.walking = True
        watch(frame, walk)
        track(frame, walk)
        interrupt.between_steps()

    with interruptible() as interrupt:
        try:
            with watcher(quiet=voice.quiet, as_json=voice.as_json) as watch:
                result = making(stepped)
        except KeyboardInterrupt:
            kept = interrupt.walking or (here and is_started(path))
            end = f"go on with: latentzoo resume {path}" if kept else "nothing was written"
            typer.echo(f"stopped{'' if kept else ' before the first step'}; {end}", err=True)
            raise typer.Exit(130) from None
    if result is None:
        typer.echo(f"{path}: this run is finished; `--steps N` gives it N gradients more")
        from latentzoo.record.saved import SavedRun

        told = SavedRun(path).diagnosis
        _hold(voice, None if told is None else told["verdict"])
        return
    _end(result, path, voice)


def _end(result: "Result", path: Path, voice: Voice) -> None:
    """Writes the page of a run and says what it is worth, by its status too."""
    from latentzoo.record.layout import REPORT
    from latentzoo.report import page

    page.write([path], path / REPORT)
    _tell(result, path, voice)
    if result.failures:
        raise ChainFailed(3)
    _hold(voice, None if result.kernel is None else result.diagnosis.verdict)


def _hold(voice: Voice, verdict: str | None) -> None:
    """Ends with status 4 under --strict, unless a verdict is the best; draws of the prior have none."""
    if voice.strict and verdict not in (None, "trustworthy"):
        typer.echo(f"--strict: {verdict}", err=True)
        raise typer.Exit(4)


def _tell(result: "Result", path: Path, voice: Voice) -> None:
    diagnosis = None if result.kernel is None else result.diagnosis
    if voice.as_json:
        told = None if diagnosis is None else diagnosis.to_dict()
        numbers = {"gradients": result.gradients, "seconds": result.seconds}
        emit("done", folder=str(path), **numbers, diagnosis=told)
    elif not voice.quiet:
        if diagnosis is not None:
            typer.echo(str(diagnosis))
        typer.echo(f"{count(len(result.z), 'picture')}: {path / 'grid.png'}")
    for failure in result.failures:
        typer.echo(
            f"chain {failure.chain} (seed {failure.seed}) stopped at step {failure.step}: "
            f"'{failure.term}' was not finite; the other chains went on",
            err=True,
        )
