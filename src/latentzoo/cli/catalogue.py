"""Commands that look: list and check."""

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentzoo import energies, kernels, registry, zoo
from latentzoo.cli import fields
from latentzoo.cli.app import command
from latentzoo.cli.progress import emit
from latentzoo.cli.shared import Card, Debug, Family, Json, Option, Prompt, Seed, count, options
from latentzoo.errors import SpecError, UnknownName
from latentzoo.guides import networks
from latentzoo.zoo import pipelines

if TYPE_CHECKING:
    from rich.table import Table

    from latentzoo.generator import Generator

KINDS = {
    "generators": "generator",
    "pipelines": "pipeline",
    "guides": "guide",
    "energies": "energy",
    "kernels": "kernel",
}
"""The kinds of things that are listed, by the words that ask for all of one."""


@command(name="list", example="latentzoo list stylegan2")
def list_(
    words: Annotated[
        str | None,
        typer.Argument(
            metavar="WORDS",
            help="Only what has these words in its name, or all of a kind: guides, energies, kernels.",
        ),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the generators, the networks that guide, the energies and the kernels."""
    found = _found((words or "").lower())
    if not any(found.values()):
        known = [*KINDS, *(name for things in _found("").values() for name in things)]
        raise UnknownName("generator, family, guide, energy or kernel", words or "", known)
    if as_json:
        for kind, things in found.items():
            for name, thing in things.items():
                row = generator_row(name) if kind == "generator" else {"name": name, **thing}
                emit(kind, **row)
    elif words is None:
        _overview(found)
    else:
        _matches(found)


def _found(words: str) -> dict[str, dict[str, dict[str, Any]]]:
    """What has the words in its name or family, or is of the kind they name, by kind and name."""
    cards = {name: zoo.card(name) for name in zoo.names()}
    told = lambda entries: {name: {"summary": e.summary} for name, e in entries.items()}
    everything = {
        "generator": {name: {"family": card.family} for name, card in cards.items()},
        "pipeline": {name: {"summary": str(path)} for name, path in pipelines.shipped().items()},
        "guide": {name: {"summary": str(n)} for name, n in networks.known().items()},
        "energy": told(energies.known()),
        "kernel": told(kernels.known()),
    }
    return {
        kind: {
            name: thing
            for name, thing in things.items()
            if KINDS.get(words) == kind
            or words in name.lower()
            or words in thing.get("family", "").lower()
        }
        for kind, things in everything.items()
    }


def _overview(found: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Prints all names on one screen: the generators outside the package by family."""
    generators = found["generator"]
    cards = {name: zoo.card(name) for name in generators}
    packaged = [name for name, card in cards.items() if (card.url or "").startswith("package:")]
    families = Counter(card.family for name, card in cards.items() if name not in packaged)
    counted = [f"{family} {n}" for family, n in sorted(families.items())]
    table = _grid()
    table.add_row("built in", ", ".join(packaged))
    table.add_row("families", f"{', '.join(counted)} ({count(families.total(), 'card')})")
    shipped = "".join(f"{name}, " for name in found["pipeline"])
    table.add_row("pipelines", f"{shipped}any of diffusers that takes a text, by its folder or id")
    table.add_row("guides", ", ".join(found["guide"]))
    _print(table)
    for kind in ("energy", "kernel"):
        table = _grid()
        for name, thing in found[kind].items():
            mark = " (default)" if name == kernels.DEFAULT else ""
            table.add_row(f"{kind} {name}{mark}", _short(thing["summary"]))
        _print(table)
    typer.echo(
        "`latentzoo list WORDS` shows the cards of a family, `latentzoo show NAME` all of one thing"
    )


def _matches(found: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Prints a line for each thing found."""
    if found["generator"]:
        table = _grid("name", "pixels", "on disk", "latent")
        for name in found["generator"]:
            row = generator_row(name)
            latent = _short(row["latent"] or "?", 36)
            table.add_row(name, str(row["resolution"]), row["on_disk"], latent)
        _print(table)
    for kind in ("pipeline", "guide", "energy", "kernel"):
        table = _grid()
        for name, thing in found[kind].items():
            table.add_row(f"{kind} {name}", thing["summary"])
        if found[kind]:
            _print(table)


def _short(text: str, width: int = 56) -> str:
    from textwrap import shorten

    return shorten(text, width, placeholder=" ...")


@command(example="latentzoo check avatar-turbo")
def check(
    generator: Annotated[
        str,
        typer.Argument(
            help="A name, a checkpoint file, an address, or module:Class (module:object) of your own.",
            autocompletion=fields.completed(zoo.names),
        ),
    ],
    family: Family = None,
    card: Card = None,
    prompt: Prompt = None,
    option: Option = None,
    seed: Seed = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check that a generator is a map: repeatable, batch-independent, in range, differentiable in every block."""
    from latentzoo.diagnosis.check import Law
    from latentzoo.diagnosis.check import check as measure

    made = _made(generator, family, card, options(option, prompt))
    report = measure(made, seed=seed)
    taken = [Law(f"assumed: {names}", 0, said, True) for names, said in made.assumed.items()]
    if as_json:
        for law in (*taken, *report.laws):
            emit("law", **dataclasses.asdict(law))
    else:
        table = _grid(f"the laws on {generator}", "measured", "allowed", "")
        for law in (*taken, *report.laws):
            verdict = "ok" if law.holds else f"BREACH {law.why}".rstrip()
            table.add_row(law.name, f"{law.measured:.3g}", law.allowed, verdict)
        _print(table)
    if not report.holds:
        raise typer.Exit(1)


def _made(
    words: str, family: str | None, card: str | None, options: dict[str, Any]
) -> "Generator":
    """The generator of a name, or of `module:Class`, or one that exists as `module:object`."""
    if registry.OBJECT.fullmatch(words) is None:
        return zoo.load(words, family=family, card=card, **options)
    found = registry.imported(words)
    if not isinstance(found, type):
        return found
    try:
        return found(**options)
    except TypeError as error:
        raise SpecError(
            f"{words} cannot be made ({error}); give its arguments by --option KEY=VALUE"
        ) from error


def generator_row(name: str) -> dict[str, Any]:
    """What a list tells of a generator."""
    card = zoo.card(name)
    return {
        "name": name,
        "family": card.family,
        "resolution": card.resolution,
        "latent": card.latent,
        "dataset": card.dataset,
        "licence": card.licence.split(";")[0],
        "weights": card.url or "give the file",
        "on_disk": "no" if zoo.where(card) is None else "yes",
    }


def _grid(*columns: str) -> "Table":
    """A table without lines whose first column is never broken."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=bool(columns), header_style="bold")
    table.add_column(columns[0] if columns else "", no_wrap=True, style="cyan")
    for column in columns[1:] or ("",):
        table.add_column(column, overflow="fold")
    return table


def _print(table: "Table") -> None:
    from rich.console import Console

    Console(highlight=False).print(table)
