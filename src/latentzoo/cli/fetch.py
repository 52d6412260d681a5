"""The command that gets a model's files ahead of time."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from latentzoo.cli.app import command, is_terminal
from latentzoo.cli.shared import Debug, Quiet

if TYPE_CHECKING:
    from latentzoo.hub.fetch import Progress


@command(example="latentzoo fetch mobilestylegan-ffhq-1024")
def fetch(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="Generators as `latentzoo list` names them, or guides such as face-api or human.",
        ),
    ],
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Get the files of models ahead of time, so that later runs need no network."""
    from latentzoo import zoo
    from latentzoo.guides import networks

    for name in names:
        get = networks.fetch if name in networks.packaged() else zoo.fetch
        with bar(name, shown=is_terminal() and not quiet) as progress:
            path = get(name, progress=progress)
        typer.echo(f"{name}: {path}")


def bar(name: str, *, shown: bool) -> "AbstractContextManager[Progress | None]":
    """A progress bar of bytes, or nothing."""
    return Bar(name) if shown else nullcontext()


class Bar:
    """Creates a bar for the bytes of one download; it shows speed and the time that is left."""

    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns = [TextColumn("{task.description}"), BarColumn(), DownloadColumn()]
        columns += [TransferSpeedColumn(), TimeRemainingColumn()]
        self.progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task = self.progress.add_task(name, total=None)

    def __enter__(self) -> Callable[[int, int | None], None]:
        self.progress.start()
        return lambda done, total: self.progress.update(self.task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self.progress.stop()
