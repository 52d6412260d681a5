"""Commands that look: list, show, check."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from latentzoo import energies, kernels, zoo
from latentzoo.cli.app import Debug, command
from latentzoo.cli.progress import emit
from latentzoo.errors import UnknownName
from latentzoo.guides import networks
from latentzoo.zoo import pipelines

if TYPE_CHECKING:
    from rich.table import Table

Json = Annotated[bool, typer.Option("--json", help="One JSON line per row on standard output.")]


@command(name="list", example="latentzoo list")
def list_(as_json: Json = False, debug: Debug = False) -> None:
    """List the generators, energies and kernels."""
    generators = [_generator(name) for name in zoo.names()]
    others = {"energies": energies.known(), "kernels": kernels.known()}
    if as_json:
        for row in generators:
            emit("generator", **row)
        for kind, found in others.items():
            for entry in found.values():
                emit(
                    kind.removesuffix("s").replace("energie", "energy"),
                    name=entry.name,
                    summary=entry.summary,
                )
        return
    table = _table(
        "generators", "name", "family", "pixels", "latent", "licence", "weights", "on disk"
    )
    for row in generators:
        table.add_row(
            *(
                str(row[k])
                for k in (
                    "name",
                    "family",
                    "resolution",
                    "latent",
                    "licence",
                    "weights",
                    "on_disk",
                )
            )
        )
    _print(table)
    for kind, found in others.items():
        table = _table(kind, "name", "what")
        for entry in found.values():
            mark = " (default)" if entry.name == kernels.DEFAULT else ""
            table.add_row(entry.name + mark, entry.summary)
        _print(table)


@command(example="latentzoo show avatar-ldm")
def show(
    name: Annotated[str, typer.Argument(help="A generator, an energy, its network, or a kernel.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show all that is known of a generator, an energy, a network that judges, or a kernel."""
    if name in zoo.names():
        rows = _generator(name) | _details(name)
    elif name in kernels.known() or name in energies.known():
        entry = kernels.known().get(name) or energies.known()[name]
        rows = {
            "name": name,
            "summary": entry.summary,
            "source": entry.module,
            "text": _text(entry.module),
        } | {model: str(n) for model, n in networks.known().items() if n.energy == name}
    elif name in networks.known():
        rows = {"name": name} | dataclasses.asdict(networks.known()[name])
    elif (folder := pipelines.find(name)) is not None:
        rows = {"name": name, **pipelines.about(folder)}
    else:
        raise UnknownName(
            "generator, energy, guide or kernel",
            name,
            [*zoo.names(), *kernels.known(), *energies.known(), *networks.known()],
        )
    if as_json:
        emit("show", **rows)
        return
    table = _table(name, "", "")
    for key, value in rows.items():
        table.add_row(key.replace("_", " "), str(value))
    _print(table)


@command(example="latentzoo check avatar-turbo")
def check(
    generator: Annotated[str, typer.Argument(help="A name, a checkpoint file, or an address.")],
    family: Annotated[
        str | None, typer.Option(help="The family of a checkpoint file.", show_default=False)
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="An argument of the map, KEY=VALUE.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the latents.")] = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check that a generator is a map: repeatable, batch-independent, differentiable in every block."""
    from latentzoo.cli.runs import options
    from latentzoo.diagnosis.check import check as measure

    laws = measure(zoo.load(generator, family=family, **options(option or [])), seed=seed)
    if as_json:
        for law in laws:
            emit("law", name=law.name, measured=law.measured, allowed=law.allowed, holds=law.holds)
    else:
        table = _table(f"the laws on {generator}", "law", "measured", "allowed", "")
        for law in laws:
            table.add_row(
                law.name, f"{law.measured:.3g}", law.allowed, "ok" if law.holds else "BREACH"
            )
        _print(table)
    if not all(law.holds for law in laws):
        raise typer.Exit(1)


def _generator(name: str) -> dict[str, Any]:
    card = zoo.card(name)
    where = zoo.where(card)
    return {
        "name": name,
        "family": card.family,
        "resolution": card.resolution,
        "latent": card.latent,
        "dataset": card.dataset,
        "licence": card.licence.split(";")[0],
        "weights": card.url or "give the file",
        "on_disk": "yes" if where is not None else "no",
    }


def _details(name: str) -> dict[str, Any]:
    card = zoo.card(name)
    rows: dict[str, Any] = {
        "paper": card.paper,
        "config": card.config,
        "keys": card.keys,
        "container": card.container,
    }
    rows["sha256"] = card.sha256 or _recorded(card.url)
    if card.base is not None:
        rows["base"] = card.base
    if card.notes:
        rows["notes"] = card.notes
    path = zoo.where(card)
    if path is not None:
        generator = zoo.load(name)
        rows |= {"file": str(path), "size": "x".join(map(str, generator.size))}
        rows["latent"] = ", ".join(f"{block} {shape}" for block, shape in generator.space)
        rows["parameters"] = sum(p.numel() for p in generator.parameters())
    return rows


def _recorded(url: str | None) -> str:
    """The hash that a card without one has by now."""
    from urllib.parse import urldefrag

    from latentzoo.hub import cache

    found = None if url is None else cache.recorded(urldefrag(url)[0])
    if found is None:
        return "not known yet; the first download's hash is recorded and must match from then on"
    return f"{found} (recorded at the first download; every other file is refused)"


def _text(module: str) -> str:
    import ast
    from importlib.util import find_spec
    from pathlib import Path

    origin = find_spec(module)
    source = Path(str(origin.origin)).read_text(encoding="utf-8") if origin else ""
    return ast.get_docstring(ast.parse(source)) or ""


def _table(title: str, *columns: str) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print(table: "Table") -> None:
    from rich.console import Console

    console = Console()
    console.print(table)
