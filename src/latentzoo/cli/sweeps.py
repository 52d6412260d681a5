"""The command that makes the runs of a sweep."""

from pathlib import Path
from typing import Annotated, Any

import typer

from latentzoo.cli.app import command, is_out_of_memory, one_line
from latentzoo.cli.making import ChainFailed, Voice, make, resume
from latentzoo.cli.shared import Change, Debug, Json, Quiet, changes, count
from latentzoo.errors import LatentzooError, SpecError
from latentzoo.record import plain, spec


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
    failed: dict[str, int] = {}
    for name, found in runs.items():
        try:
            _one(name, found, out / name, changes(change), Voice(quiet, as_json))
        except ChainFailed as end:
            failed[name] = end.exit_code
        except Exception as error:
            if debug or not (isinstance(error, LatentzooError) or is_out_of_memory(error)):
                raise
            typer.echo(f"error: {name}: {one_line(error)}", err=True)
            failed[name] = getattr(error, "exit_status", 2)
    if failed:
        said = f"{len(failed)} of {count(len(runs), 'experiment')} failed: {', '.join(failed)}"
        typer.echo(said, err=True)
        raise typer.Exit(min(failed.values()))


def _one(name: str, found: spec.Run, folder: Path, new: dict[str, Any], voice: Voice) -> None:
    """Makes one run of a sweep, goes on with it, or leaves it as it is.

    Raises:
        SpecError: If it was started with other values than are to be set now.
    """
    from latentzoo.record.folder import is_finished, is_started
    from latentzoo.record.layout import RECORD

    if is_started(folder):
        saved = plain.read(folder / RECORD)
        if not _holds(saved, new):
            raise SpecError(
                f"{folder} holds this run with other values than --set gives; "
                "leave out --set, or give another --out"
            )
        if is_finished(folder):
            return
    if not (voice.quiet or voice.as_json):
        typer.echo(name)
    if is_started(folder):
        resume(folder, steps=0, voice=voice)
    else:
        make(plain.changed(found, new), folder, force=False, voice=voice)


def _holds(saved: spec.Run, new: dict[str, Any]) -> bool:
    """Whether the new values are those that a run was started with, defaults of its kernel added."""
    alone = isinstance(new.get("kernel"), str)
    new = {"kernel.name" if alone and key == "kernel" else key: new[key] for key in new}
    return plain.changed(saved, new) == saved
