"""The command that makes the runs of a sweep."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentzoo.cli.app import command, is_out_of_memory, one_line
from latentzoo.cli.making import ChainFailed, Voice, make, resume
from latentzoo.cli.progress import emit, workers_watched
from latentzoo.cli.shared import (
    Change,
    Debug,
    Gpus,
    Json,
    Quiet,
    Ray,
    Workers,
    changes,
    count,
    crew,
)
from latentzoo.errors import LatentzooError, SpecError
from latentzoo.record import plain, spec

if TYPE_CHECKING:
    from latentzoo.machines.worker import Outcome
    from latentzoo.record.workers import Crew


@command(
    example="latentzoo sweep experiments/paper.yaml --only 'clip_*_stylegan2*' --out runs/paper"
)
def sweep(
    file: Annotated[Path, typer.Argument(metavar="SWEEP", help="The sweep, a YAML file.")],
    list_only: Annotated[
        bool, typer.Option("--list", help="Print the experiments' names and stop.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(help="Only those whose name matches, * and ? allowed.", show_default=False),
    ] = None,
    change: Change = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder of the run folders.")
    ] = Path("runs"),
    workers: Workers = None,
    gpus: Gpus = None,
    ray: Ray = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make all runs of a sweep, each in its folder; finished ones are skipped, started ones go on.

    An experiment that fails is named, and the others are made; the status is 2 then, or 3 if only
    chains failed.
    """
    from latentzoo.record import sweep as sweeps

    runs = sweeps.only(sweeps.read(file), only)
    if list_only:
        for name in runs:
            typer.echo(name)
        return
    who, new, voice = crew(workers, gpus, ray), changes(change), Voice(quiet, as_json)
    failed: dict[str, int] = {}

    def attempt(name: str, making: Callable[[], Any]) -> None:
        try:
            making()
        except ChainFailed as end:
            failed[name] = end.exit_code
        except Exception as error:
            if debug or not (isinstance(error, LatentzooError) or is_out_of_memory(error)):
                raise
            typer.echo(f"error: {name}: {one_line(error)}", err=True)
            failed[name] = getattr(error, "exit_status", 2)

    if who is None:
        for name, found in runs.items():
            attempt(name, lambda name=name, found=found: _one(name, found, out / name, new, voice))
    else:
        _together(runs, out, new, who, voice, attempt)
    if failed:
        said = f"{len(failed)} of {count(len(runs), 'experiment')} failed: {', '.join(failed)}"
        typer.echo(said, err=True)
        raise typer.Exit(min(failed.values()))


def _together(
    runs: dict[str, spec.Run],
    out: Path,
    new: dict[str, Any],
    who: "Crew",
    voice: Voice,
    attempt: Callable[[str, Callable[[], Any]], None],
) -> None:
    """Has workers make the runs of a sweep, one at a time each."""
    from latentzoo.record.workers import Whole, many

    wanted: list[Whole] = []

    def ask(name: str, found: spec.Run) -> None:
        if not _is_made(out / name, new):
            wanted.append(Whole(plain.changed(found, new), (out / name).resolve()))

    for name, found in runs.items():
        attempt(name, lambda name=name, found=found: ask(name, found))
    if not wanted:
        return
    try:
        with workers_watched(quiet=voice.quiet, as_json=voice.as_json) as watch:
            for outcome in many(wanted, who, watch=watch):
                attempt(outcome.item.out.name, lambda outcome=outcome: _told(outcome, voice))
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on", err=True)
        raise typer.Exit(130) from None


def _told(outcome: "Outcome", voice: Voice) -> None:
    """Writes the page of a run that a worker made, and says that it is there.

    Raises:
        ChainFailed: If a chain failed.
        Exception: The one that the run ended with.
    """
    from latentzoo.record.layout import REPORT
    from latentzoo.report import page

    if outcome.error is not None:
        raise outcome.error
    path = outcome.item.out
    page.write([path], path / REPORT)
    if voice.as_json:
        emit("done", folder=str(path), failed=outcome.value)
    elif not voice.quiet:
        typer.echo(f"{path.name}: {path / 'grid.png'}")
    if outcome.value:
        raise ChainFailed(3)


def _one(name: str, found: spec.Run, folder: Path, new: dict[str, Any], voice: Voice) -> None:
    """Makes one run of a sweep, goes on with it, or leaves it as it is.

    Raises:
        SpecError: If it was started with other values than are to be set now.
    """
    from latentzoo.record.folder import is_started

    if _is_made(folder, new):
        return
    if not (voice.quiet or voice.as_json):
        typer.echo(name)
    if is_started(folder):
        resume(folder, steps=0, voice=voice)
    else:
        make(plain.changed(found, new), folder, force=False, voice=voice)


def _is_made(folder: Path, new: dict[str, Any]) -> bool:
    """Whether a run of a sweep is finished.

    Raises:
        SpecError: If it was started with other values than are to be set now.
    """
    from latentzoo.record.folder import is_finished, is_started
    from latentzoo.record.layout import RECORD

    if is_started(folder) and not _holds(plain.read(folder / RECORD), new):
        raise SpecError(
            f"{folder} holds this run with other values than --set gives; "
            "leave out --set, or give another --out"
        )
    return is_finished(folder)


def _holds(saved: spec.Run, new: dict[str, Any]) -> bool:
    """Whether the new values are those that a run was started with, defaults of its kernel added."""
    alone = isinstance(new.get("kernel"), str)
    new = {"kernel.name" if alone and key == "kernel" else key: new[key] for key in new}
    return plain.changed(saved, new) == saved
