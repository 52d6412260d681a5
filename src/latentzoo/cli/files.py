"""Commands on files: report, convert."""

from pathlib import Path
from typing import Annotated

import typer

from latentzoo.cli.app import Debug, command


@command(example="latentzoo report runs/ldm runs/turbo --out compared.html")
def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Run folders; several are compared.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The page; default report.html in the run.", show_default=False
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Write one self-contained HTML page on one run or several."""
    from latentzoo.report import page

    out = out or (folders[0] / "report.html" if len(folders) == 1 else Path("report.html"))
    typer.echo(str(page.write(folders, out)))


@command(example="latentzoo convert network.pkl network.safetensors")
def convert(
    file: Annotated[str, typer.Argument(help="A checkpoint file of a known container.")],
    out: Annotated[Path, typer.Argument(help="The safetensors file to write.")],
    family: Annotated[
        str | None,
        typer.Option(help="The family, where the tensors do not tell.", show_default=False),
    ] = None,
    debug: Debug = False,
) -> None:
    """Write a checkpoint as safetensors, with its card inside; nothing of the file is executed."""
    from latentzoo import zoo

    card = zoo.convert(file, out, family=family)
    typer.echo(f"{out}: {card.family}, {card.resolution} pixels")
