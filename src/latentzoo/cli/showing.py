"""The command that shows all that is known of one thing: a generator, a family, a guide, an energy, a kernel."""

import ast
import dataclasses
import inspect
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from latentzoo import energies, kernels, zoo
from latentzoo.cli import fields
from latentzoo.cli.app import command
from latentzoo.cli.catalogue import generator_row
from latentzoo.cli.progress import emit
from latentzoo.cli.shared import Debug, Json
from latentzoo.errors import UnknownName
from latentzoo.files import apart
from latentzoo.guides import networks
from latentzoo.zoo import pipelines


def names() -> list[str]:
    """Everything that can be shown."""
    every = (zoo.names(), zoo.families(), kernels.known(), energies.known(), networks.known())
    return [name for some in every for name in some]


@command(example="latentzoo show measure")
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A generator, a file of weights, a family, an energy, its network, or a kernel.",
            autocompletion=fields.completed(names),
        ),
    ],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show all that is known of a generator, a family, an energy, a network that judges, or a kernel."""
    rows = _rows(name)
    if as_json:
        emit("show", **rows)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    for key, value in rows.items():
        if isinstance(value, dict) and value:
            table.add_row("", "")
            table.add_row(key.replace("_", " "), "", style="bold")
            for inner, said in value.items():
                table.add_row(f"  {inner}", _plain(said))
        elif value not in ({}, None):
            table.add_row(key.replace("_", " "), str(value))
    Console(highlight=False).print(table, markup=False)


def _plain(said: Any) -> str:
    """What is known of a part of a thing, in a line."""
    if not isinstance(said, dict):
        return str(said)
    return ", ".join(
        f"{key} {_plain(value)}" for key, value in said.items() if value not in (None, {})
    )


def _rows(name: str) -> dict[str, Any]:
    if name in zoo.names():
        return generator_row(name) | _details(name)
    if name in kernels.known():
        entry = kernels.known()[name]
        kernel = entry.load()
        said = kernels.settings(kernel())
        return _module(name, entry.module) | {"settings": _explained(said, kernel)}
    if name in energies.known():
        return _energy(name)
    if name in networks.known():
        return dataclasses.asdict(networks.known()[name])
    if name in zoo.families():
        return _family(name)
    if (folder := pipelines.find(name)) is not None:
        return {"name": name, **pipelines.about(folder)}
    if Path(apart(name)[0]).exists():
        return _file(name)
    raise UnknownName("generator, family, energy, guide or kernel", name, names())


def _energy(name: str) -> dict[str, Any]:
    entry = energies.known()[name]
    build = entry.load()
    said = {option: p.default for option, p in energies.arguments(name).items()}
    guides = {guide: card.told(name) for guide, card in networks.of_kind(name).items()}
    told = energies.described(name)
    return (
        _module(name, entry.module)
        | {"target": _meanings(build).get("target", "")}
        | {"options": _explained(said, *told)}
        | {"guides": guides}
    )


def _family(name: str) -> dict[str, Any]:
    module = import_module(zoo.families()[name])
    required, kinds = inspect.Parameter.empty, (inspect.Parameter.VAR_KEYWORD,)
    said = {
        option: "needed" if p.default is required else p.default
        for option, p in inspect.signature(module.build).parameters.items()
        if p.kind not in kinds
    }
    cards = [card for card in map(zoo.card, zoo.names()) if card.family == name]
    return _module(name, module.__name__) | {
        "options": _explained(said, module.build),
        "cards": {card.name: f"{card.resolution} pixels, {card.latent}" for card in cards},
    }


def _file(name: str) -> dict[str, Any]:
    """What a file of weights says of its network, and what is taken for granted."""
    return {"name": name, **zoo.described(name)}


def _module(name: str, module: str) -> dict[str, Any]:
    """What the documentation of a module tells in words: its first line, and its references."""
    origin = find_spec(module)
    source = Path(str(origin.origin)).read_text(encoding="utf-8") if origin else ""
    text = ast.get_docstring(ast.parse(source)) or ""
    _, _, references = text.partition("References:")
    lines = [line.strip().removeprefix("|").strip() for line in references.splitlines()]
    return {
        "name": name,
        "summary": text.splitlines()[0],
        "source": module,
        "references": "\n".join(line for line in lines if line),
    }


def _explained(said: dict[str, Any], *owners: Any) -> dict[str, str]:
    """Each option with its default and what the documentation of its owners says of it."""
    meanings = {key: text for owner in owners for key, text in _meanings(owner).items()}
    return {key: f"{value}. {meanings.get(key, '')}".rstrip() for key, value in said.items()}


def _meanings(owner: Any) -> dict[str, str]:
    """What a docstring says of each argument, without mark-up."""
    text = inspect.getdoc(owner) or ""
    found = re.search(r"^Arguments:\n((?:    .*\n?|\n)*)", text, re.MULTILINE)
    entries = re.findall(
        r"^    (\w+): (.*(?:\n {5,}.*)*)", found[1] if found else "", re.MULTILINE
    )
    plain = lambda words: re.sub(r":math:`([^`]*)`", r"\1", " ".join(words.split()))
    return {key: plain(words) for key, words in entries}


def _details(name: str) -> dict[str, Any]:
    card = zoo.card(name)
    rows: dict[str, Any] = {
        "paper": card.paper,
        "keys": card.keys,
        "container": card.container,
        "sha256": card.sha256 or _recorded(card.url),
        "config": card.config,
    }
    if card.base is not None:
        rows["base"] = card.base
    rows |= {key: said for key in ("notes", "caveat") if (said := getattr(card, key))}
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
