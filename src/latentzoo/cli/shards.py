"""Commands over runs that several processes make: merge, status."""

from pathlib import Path
from typing import Annotated

import typer

from latentzoo.cli.app import command
from latentzoo.cli.making import Voice
from latentzoo.cli.making import merge as join
from latentzoo.cli.progress import emit
from latentzoo.cli.shared import Debug, Force, Json, Quiet, Run, Strict
from latentzoo.errors import SpecError


@command(example="latentzoo merge runs/hats")
def merge(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="The run's folder, or those of its shards."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The folder of the whole run; default the one that holds the shards.",
            show_default=False,
        ),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    strict: Strict = False,
    debug: Debug = False,
) -> None:
    """Join the shards of a run (`sample --shard i/n`) to the run that one process would have made.

    It is the same, bit for bit, pictures and verdict included, where the kernel follows another run (`--schedule`).
    """
    if out is None and len(folders) > 1:
        raise SpecError("the shards are in several folders; give --out for the whole run")
    join(folders, out or folders[0], force=force, voice=Voice(quiet, as_json, strict))


@command(example="latentzoo status runs/hats")
def status(folder: Run, as_json: Json = False, debug: Debug = False) -> None:
    """Say how far a run is, from another terminal: chains done, running and failed, and the seconds left.

    A state file tells it, which is written every ten seconds; `latentzoo report` makes the page of what there is.
    """
    from latentzoo.record import status

    found = status.read(folder)
    if as_json:
        emit("status", run=str(folder), **found.to_dict())
        return
    typer.echo(f"{folder}: {found}")
    for path in found.stopped_at:
        typer.echo(f"stopped: {path}; go on with: latentzoo resume {path}")
