"""The command that serves a page to play with."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from latentzoo.cli import fields
from latentzoo.cli.app import command
from latentzoo.cli.shared import Debug, Option, options
from latentzoo.errors import MissingExtra, SpecError, UnknownName

LOOPBACK = ("127.0.0.1", "localhost", "::1")
Generators = Annotated[
    list[str] | None,
    typer.Option(
        "--generator", "-g", help="A generator to choose from; default those inside the package."
    ),
]
Judges = Annotated[
    list[str] | None,
    typer.Option(
        "--judge",
        help="KIND=NETWORK, what judges pictures of generators that have no judge of their own, e.g. clip=ViT-B-32.pt.",
    ),
]
Host = Annotated[
    str,
    typer.Option(
        help="The address to listen at; others than this machine see only their own runs."
    ),
]


@command(name="app", example="latentzoo app runs")
def play(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where runs are kept, and found again.")
    ] = Path("runs/app"),
    generator: Generators = None,
    option: Option = None,
    judge: Judges = None,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port.")] = 7860,
    chains: Annotated[int, typer.Option(min=1, help="The most chains of a run.")] = 16,
    steps: Annotated[int, typer.Option(min=1, help="The most steps of a run.")] = 500,
    megapixels: Annotated[
        float, typer.Option(min=0.01, help="The largest picture that is decoded.")
    ] = 24.0,
    megabytes: Annotated[int, typer.Option(min=1, help="The largest upload.")] = 10,
    device: Annotated[str, fields.option("device")] = "auto",
    browser: Annotated[
        bool, typer.Option("--browser", help="Open the page in a browser.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Serve a page to play with: write a text, watch the chains walk, read the verdict. Ctrl-C ends it.

    One run walks at a time, the others wait in a queue. The page has no passwords: beyond this machine, put a server in
    front of it that asks for one.
    """
    from latentzoo.app.desk import Desk
    from latentzoo.app.limits import Limits

    try:
        from latentzoo.app import page
    except ImportError as error:
        if (error.name or "").split(".")[0] != "gradio":
            raise
        raise MissingExtra("gradio", "app", "the page") from None
    if option and not generator:
        raise SpecError("--option is for generators that are named; name one: --generator NAME")
    limits = Limits(
        chains,
        steps,
        megapixels,
        generators=tuple(generator or ()),
        options=options(option),
        judges=_judges(judge or []),
    )
    desk = Desk(folder, limits, shared=host in LOOPBACK, device=device)
    try:
        page.launch(page.build(desk), host=host, port=port, megabytes=megabytes, browser=browser)
    except OSError as error:
        raise SpecError(
            f"the page cannot listen at {host}:{port} ({error}); give another --port"
        ) from None
    _wait(f"http://{host}:{port} (Ctrl-C ends it; runs are kept in {folder})")


def _wait(words: str) -> None:
    """Says where the page is, waits for Ctrl-C, and ends the process."""
    try:
        typer.echo(words)
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        typer.echo("")
        sys.stdout.flush()
        os._exit(
            0
        )  # connections of browsers would keep the process; what runs reached is in their folders


def _judges(given: list[str]) -> dict[str, str]:
    from latentzoo import energies

    pairs = [word.partition("=") for word in given]
    for kind, equals, network in pairs:
        if not equals or not network:
            raise SpecError(f"the judge '{kind}' is no KIND=NETWORK; write e.g. clip=ViT-B-32.pt")
        if kind not in energies.known():
            raise UnknownName("energy", kind, energies.known())
    return {kind: network for kind, _, network in pairs}
