"""Commands on files and finished runs: report, export, compare, convert."""

from pathlib import Path
from typing import Annotated

import typer

from latentzoo.cli import fields
from latentzoo.cli.app import command
from latentzoo.cli.progress import workers_watched
from latentzoo.cli.shared import (
    Card,
    Chains,
    Debug,
    Family,
    Gpus,
    Ray,
    Runs,
    Seed,
    Steps,
    Text,
    Workers,
    crew,
)
from latentzoo.record import spec


@command(example="latentzoo report runs/ldm runs/turbo --out compared.html")
def report(
    folders: Runs,
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


@command(example="latentzoo export runs/beard runs/hat --out faces")
def export(
    folders: Runs,
    out: Annotated[Path, typer.Option("--out", "-o", help="The new folder.")] = Path("dataset"),
    debug: Debug = False,
) -> None:
    """Copy the pictures of runs, with what is known of each, into a folder that `datasets` reads."""
    from latentzoo.bridges.tables import to_dataset

    place = to_dataset(folders, out)
    typer.echo(f'{place}: datasets.load_dataset("imagefolder", data_dir="{place}") reads it')


@command(
    example='latentzoo compare --generators avatar-turbo,avatar-ldm --text "a person with sunglasses"'
)
def compare(
    study: Annotated[
        Path | None,
        typer.Argument(
            metavar="STUDY", help="A study's file; default what the command line says."
        ),
    ] = None,
    generators: Annotated[
        str, typer.Option(help="The generators, with commas.")
    ] = "avatar-turbo,avatar-ldm",
    text: Text = None,
    person: Annotated[
        list[Path] | None, typer.Option("--person", "-p", help="Who the pictures should show.")
    ] = None,
    weight: Annotated[float | None, fields.option("weight", spec.Term, "--weight", "-w")] = None,
    unguided: Annotated[
        int, typer.Option(min=0, help="How many pictures of the prior are judged too.")
    ] = 0,
    chains: Chains = 64,
    steps: Steps = 200,
    seed: Seed = 0,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder of the page and the runs.")
    ] = Path("compared"),
    workers: Workers = None,
    gpus: Gpus = None,
    ray: Ray = None,
    debug: Debug = False,
) -> None:
    """Guide several avatar generators alike, and judge them against the known truth on one page."""
    from latentzoo.builtin.study import compare as population
    from latentzoo.builtin.study.rows import Prior, Row

    def tell(row: Row | Prior) -> None:
        if isinstance(row, Prior):
            worst = max(row.variations, key=lambda name: row.variations[name])
            typer.echo(f"{row.generator}, unguided: worst is {worst}, {row.variations[worst]:.3f}")
            return
        found = row.finding
        bias = "" if found.bias is None else f", bias {found.bias:.3f}"
        likeness = "" if found.likeness is None else f", likeness {found.likeness:.2f}"
        typer.echo(
            f"{row.generator}, '{row.asked}': success {found.success:.0%} ({found.low:.0%} to {found.high:.0%})"
            f"{bias}{likeness}, diversity {found.diversity:.2f}, {found.combinations} combinations, "
            f"energy {row.energy:.4g}"
        )

    own = population.Study(
        generators={name.strip(): {} for name in generators.split(",") if name.strip()},
        texts=text or [],
        people=[str(path) for path in person or []],
        unguided=unguided,
        text=population.Guidance(weight=weight),
        run={"chains": chains, "steps": steps, "seed": seed},
    )
    asked, who = own if study is None else population.read(study), crew(workers, gpus, ray)
    with workers_watched(quiet=who is None, as_json=False) as watch:
        population.compare(asked, out, crew=who, watch=watch, tell=tell)
    typer.echo(f"the page: {out / 'compare.html'}, the figure: {out / 'compare.png'}")


@command(example="latentzoo convert network.pkl network.safetensors")
def convert(
    file: Annotated[str, typer.Argument(help="A checkpoint file of a known container.")],
    out: Annotated[Path, typer.Argument(help="The safetensors file to write.")],
    family: Family = None,
    card: Card = None,
    debug: Debug = False,
) -> None:
    """Write a checkpoint as safetensors, with its card inside; nothing of the file is executed."""
    from latentzoo import zoo

    made = zoo.convert(file, out, family=family, card=card)
    typer.echo(f"{out}: {made.family}, {made.resolution} pixels")
    for names, said in made.assumed.items():
        typer.echo(f"taken for granted, since the file does not say {names}: {said}")
