"""The command that evaluates finished runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latentzoo.cli.app import command
from latentzoo.cli.progress import emit
from latentzoo.cli.shared import Debug, Json, Runs

if TYPE_CHECKING:
    from latentzoo.report.evaluation import Evaluation


@command(
    example='latentzoo evaluate runs/* --held-out "clip(model=openai/clip-vit-base-patch16)=a photo of a baby"'
)
def evaluate(
    folders: Runs,
    held_out: Annotated[
        list[str] | None,
        typer.Option(
            help="An energy of a network that did not guide, KIND(model=NAME)=TARGET; "
            "default the generator's companion."
        ),
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
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Evaluate finished runs: energies, held-out judges, diversity, distances, cost; with 95 % intervals.

    Each run folder gets an evaluation.json, which `latentzoo report` shows.
    """
    from latentzoo.files import write_json
    from latentzoo.record import words
    from latentzoo.record.layout import EVALUATION
    from latentzoo.record.saved import SavedRun
    from latentzoo.report.evaluation import Evaluator

    judge = Evaluator(
        held_out=[words.term(text, energy="", weight=1.0) for text in held_out or []],
        features=features,
        pictures=pictures,
        lpips=lpips,
    )
    done = {}
    for folder in folders:
        saved = SavedRun(folder)
        found = done[saved.name] = judge(saved)
        write_json(folder / EVALUATION, found.to_dict())
        if as_json:
            emit("evaluation", run=str(folder), **found.to_dict())
    if not as_json:
        _print(done)


def _print(done: "dict[str, Evaluation]") -> None:
    """Prints the runs beside each other, and what limits their numbers."""
    from rich.console import Console
    from rich.table import Table

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
