"""The command that evaluates finished runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from latentzoo.cli.app import Debug, command
from latentzoo.cli.progress import emit


@command(
    example='latentzoo evaluate runs/* --held-out "clip(model=openai/clip-vit-base-patch16)=a photo of a baby"'
)
def evaluate(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    held_out: Annotated[
        list[str] | None,
        typer.Option(help="An energy of a network that did not guide, KIND(model=NAME)=TARGET."),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="The features of distances: a CLIP or DINOv2 of transformers, or avatar-judge.",
            show_default=False,
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="A folder of pictures to compare with.", show_default=False),
    ] = None,
    lpips: Annotated[
        bool, typer.Option("--lpips", help="The paper's diversity: all pairs at 256 pixels.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON line per run on standard output.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Evaluate finished runs: energies, held-out judges, diversity, distances, cost; with 95 % intervals.

    Each run folder gets an evaluation.json, which `latentzoo report` shows.
    """
    from rich.console import Console
    from rich.table import Table

    from latentzoo.files import write_atomic
    from latentzoo.record import spec
    from latentzoo.record.saved import SavedRun
    from latentzoo.report.evaluation import Evaluator

    judge = Evaluator(
        held_out=[spec.term(words, energy="", weight=1.0) for words in held_out or []],
        features=features,
        pictures=pictures,
        lpips=lpips,
    )
    done = {}
    for folder in folders:
        saved = SavedRun(folder)
        found = done[saved.name] = judge(saved)
        text = json.dumps(found.to_dict(), indent=2) + "\n"
        write_atomic(folder / "evaluation.json", lambda path, text=text: path.write_text(text))
        if as_json:
            emit("evaluation", run=str(folder), **found.to_dict())
    if as_json:
        return
    rows = list(dict.fromkeys(name for found in done.values() for name in found.numbers))
    table = Table("", *done, title="evaluation", title_justify="left")
    table.add_row("kept", *(f"{found.kept} of {found.chains}" for found in done.values()))
    for row in rows:
        table.add_row(row, *(str(found.numbers.get(row, "-")) for found in done.values()))
    table.add_row("gradients", *(f"{found.gradients:.4g}" for found in done.values()))
    table.add_row("seconds", *(f"{found.seconds:.4g}" for found in done.values()))
    Console().print(table)
    for note in dict.fromkeys(note for found in done.values() for note in found.notes):
        typer.echo(note)
