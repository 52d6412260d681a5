"""The options that several commands have."""

from pathlib import Path
from typing import Annotated, Any

import typer

from latentzoo.cli import fields
from latentzoo.record import words

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON line per event on standard output.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, no words, no warnings: errors only.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with status 4 if the sample is not trustworthy.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a run that is in the folder.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="The run folder; default runs/NAME.", show_default=False),
]
Track = Annotated[
    str | None,
    typer.Option(
        help="Send the numbers of every step to a tracker: trackio:PROJECT, wandb:PROJECT or tensorboard:FOLDER.",
        show_default=False,
    ),
]
Change = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change the record, KEY=VALUE; keys may be nested: energies.0.weight=300.",
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.")]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")]

Generator = Annotated[
    str,
    typer.Argument(
        help="A name, a checkpoint file, or an address.",
        autocompletion=fields.completed(fields.NAMES["generator"]),
    ),
]
Option = Annotated[list[str] | None, typer.Option("--option", help=fields.OPTION)]
Text = Annotated[list[str] | None, typer.Option("--text", "-t", help=fields.TEXT)]
Family = Annotated[str | None, fields.option("family")]
Seed = Annotated[int, fields.option("seed")]
Chains = Annotated[int, fields.option("chains")]
Steps = Annotated[int, fields.option("steps")]


def options(given: list[str] | None) -> dict[str, Any]:
    """The arguments of a map, from `--option KEY=VALUE`."""
    return words.table(given or [], example="--option truncation=0.7")


def changes(given: list[str] | None) -> dict[str, Any]:
    """The new values of a record, from `--set KEY=VALUE`."""
    return words.table(given or [], example="--set chains=4")


def count(n: int, noun: str) -> str:
    """A number of things in words: "1 picture", "2 pictures"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
