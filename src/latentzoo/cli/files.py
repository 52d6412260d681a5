"""Commands on files and finished runs: report, compare, convert."""

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


@command(
    example='latentzoo compare --generators avatar-turbo,avatar-ldm --text "a person with sunglasses"'
)
def compare(
    record: Annotated[
        Path | None,
        typer.Argument(
            metavar="SPEC", help="The record that all share; default the command line's."
        ),
    ] = None,
    generators: Annotated[
        str, typer.Option(help="The generators, with commas.")
    ] = "avatar-turbo,avatar-ldm",
    text: Annotated[
        list[str] | None, typer.Option("--text", "-t", help="What the pictures should show.")
    ] = None,
    weight: Annotated[
        float, typer.Option("--weight", "-w", min=0, help="The weight of the text.")
    ] = 500.0,
    chains: Annotated[int, typer.Option(min=1)] = 64,
    steps: Annotated[
        int, typer.Option(min=1, help="The budget of each chain in gradients.")
    ] = 200,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder of the page and the runs.")
    ] = Path("compared"),
    debug: Debug = False,
) -> None:
    """Guide several avatar generators alike, and judge them against the known truth on one page."""
    from latentzoo import spec
    from latentzoo.compare import Row
    from latentzoo.compare import compare as run

    def tell(row: Row) -> None:
        found = row.finding
        bias = "" if found.bias is None else f", bias {found.bias:.3f}"
        typer.echo(
            f"{row.generator}, '{row.text}': success {found.success:.0%} ({found.low:.0%} to {found.high:.0%}), "
            f"diversity {found.diversity:.2f}, {found.combinations} combinations{bias}, energy {row.energy:.4g}"
        )

    own = spec.Run(
        generator="",
        energies=[spec.Term(target="", weight=weight)],
        chains=chains,
        steps=steps,
        seed=seed,
    )
    template = own if record is None else spec.read(record)
    texts = text or [term.target for term in template.energies if term.target]
    run(
        template,
        [name.strip() for name in generators.split(",") if name.strip()],
        texts,
        out,
        tell=tell,
    )
    typer.echo(f"the page: {out / 'compare.html'}, the figure: {out / 'compare.png'}")


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
