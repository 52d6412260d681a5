"""The options that several commands have."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentzoo import zoo
from latentzoo.cli import fields, prompts
from latentzoo.errors import SpecError
from latentzoo.record import shard, words

if TYPE_CHECKING:
    from latentzoo.record.workers import Crew

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
Shard = Annotated[
    str | None,
    typer.Option(
        help="Make shard i of n alone, i/n from 0/n, below the run folder; see `latentzoo merge`. Default what "
        "torchrun or accelerate say.",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="How many processes share the work, the same chains for any number; needs latentzoo\\[ray]. "
        "Default this one alone.",
        show_default=False,
    ),
]
Gpus = Annotated[
    float | None,
    typer.Option(
        "--gpus-per-worker",
        min=0.0,
        help="GPUs of each worker, fractions allowed; default shares those there are.",
        show_default=False,
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        help="The Ray cluster whose machines work, auto or HOST:PORT; default one of this machine.",
        show_default=False,
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
Prompt = Annotated[list[str] | None, typer.Option("--prompt", help=prompts.PROMPT)]
Text = Annotated[list[str] | None, typer.Option("--text", "-t", help=fields.TEXT)]
Family = Annotated[str | None, fields.option("family")]
Card = Annotated[str | None, fields.option("card")]
Seed = Annotated[int, fields.option("seed")]
Chains = Annotated[int, fields.option("chains")]
Steps = Annotated[int, fields.option("steps")]


def options(given: list[str] | None, prompt: list[str] | None = None) -> dict[str, Any]:
    """The arguments of a map, from `--option KEY=VALUE` and `--prompt TEXT`."""
    named = words.table(given or [], example="--option truncation=0.7")
    return prompts.added(zoo.own(named), prompt)


def changes(given: list[str] | None) -> dict[str, Any]:
    """The new values of a record, from `--set KEY=VALUE`."""
    return words.table(given or [], example="--set chains=4")


def crew(workers: int | None, gpus: float | None, ray: str | None) -> "Crew | None":
    """Who shares the work; None if this process does it.

    Raises:
        SpecError: If GPUs are given and no workers.
    """
    if workers is None and ray is None:
        if gpus is not None:
            raise SpecError("--gpus-per-worker is of workers; give --workers N, or --ray")
        return None
    from latentzoo.record.workers import Crew

    return Crew(workers, gpus, ray)


def who_makes(
    part: str | None, workers: int | None, gpus: float | None, ray: str | None
) -> "shard.Shard | Crew | None":
    """Who makes a run: a shard is made here, the one that is given or that of a launched process; or workers do.

    Raises:
        SpecError: If both are asked for.
    """
    chosen, who = shard.launched() if part is None else shard.read(part), crew(workers, gpus, ray)
    if chosen is not None and who is not None:
        raise SpecError(
            "a shard is made by one process; leave out --shard (and torchrun), or --workers"
        )
    return who if chosen is None else chosen


def count(n: int, noun: str) -> str:
    """A number of things in words: "1 picture", "2 pictures"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
