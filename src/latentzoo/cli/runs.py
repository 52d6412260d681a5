"""Commands that make runs: sample, run, resume, schema."""

import json
from pathlib import Path
from typing import Annotated

import typer

from latentzoo.cli import fields
from latentzoo.cli.app import command
from latentzoo.cli.making import Voice, make
from latentzoo.cli.making import resume as go_on
from latentzoo.cli.shared import (
    Change,
    Debug,
    Force,
    Gpus,
    Json,
    Out,
    Quiet,
    Ray,
    Run,
    Shard,
    Strict,
    Track,
    Workers,
    changes,
    crew,
    who_makes,
)
from latentzoo.errors import SpecError
from latentzoo.record import plain, spec, words


@command(
    example='latentzoo sample avatar-turbo --text "a person with sunglasses and a yellow hat"'
)
@fields.asked
def sample(
    record: spec.Run,
    change: Change = None,
    out: Out = None,
    shard: Shard = None,
    workers: Workers = None,
    gpus: Gpus = None,
    ray: Ray = None,
    save_spec: Annotated[
        Path | None,
        typer.Option(
            help="Write the record to this file and do nothing else.", show_default=False
        ),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    strict: Strict = False,
    track: Track = None,
    debug: Debug = False,
) -> None:
    """Sample pictures that show what is asked; with no text and no energy, draw from the prior.

    A weight is what follows the last colon, if it is a number: "a person with a yellow hat:500".
    """
    record = plain.changed(record, changes(change))
    if save_spec is not None:
        from latentzoo.files import write_text

        write_text(save_spec, spec.to_yaml(record))
        return
    voice = Voice(quiet, as_json, strict, track)
    who = who_makes(shard, workers, gpus, ray)
    make(record, out or _place(record), who, force=force, voice=voice)


@command(example="latentzoo run hats.yaml --set chains=4 --out runs/hats")
def run(
    record: Annotated[
        Path | None,
        typer.Argument(
            metavar="SPEC", help="The record, a YAML file (`sample --save-spec` writes one)."
        ),
    ] = None,
    cfg: Annotated[
        Path | None,
        typer.Option(
            help="An experiment file of unified-generative-zoo instead.", show_default=False
        ),
    ] = None,
    change: Change = None,
    out: Out = None,
    shard: Shard = None,
    workers: Workers = None,
    gpus: Gpus = None,
    ray: Ray = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    strict: Strict = False,
    track: Track = None,
    debug: Debug = False,
) -> None:
    """Make the run that a record, or an experiment file of 2022, describes."""
    if record is not None and cfg is None:
        found, name = plain.read(record), record.stem
    elif cfg is not None and record is None:
        from latentzoo.record.paper import read_cfg

        experiment = read_cfg(cfg)
        for note in (*experiment.contradictions, *experiment.notes):
            typer.echo(f"{cfg.name}: {note}", err=True)
        found, name = experiment.run, experiment.name
    else:
        raise SpecError("give a record or --cfg FILE.cfg, one of them")
    found = plain.changed(found, changes(change))
    voice = Voice(quiet, as_json, strict, track)
    who = who_makes(shard, workers, gpus, ray)
    make(found, out or Path("runs") / name, who, force=force, voice=voice)


@command(example="latentzoo resume runs/hats")
def resume(
    folder: Run,
    steps: Annotated[
        int, typer.Option(min=0, help="How many gradients more than recorded each chain gets.")
    ] = 0,
    workers: Workers = None,
    gpus: Gpus = None,
    ray: Ray = None,
    quiet: Quiet = False,
    as_json: Json = False,
    strict: Strict = False,
    track: Track = None,
    debug: Debug = False,
) -> None:
    """Go on with a run that was stopped, or give a finished one more steps.

    The result is that of an undisturbed run, bit for bit. A run of workers goes on with as many as before.
    """
    if not folder.is_dir():
        raise SpecError(
            f"{folder}: there is no such folder; runs are below runs/ unless --out was given"
        )
    who = crew(workers, gpus, ray)
    go_on(folder, who, steps=steps, voice=Voice(quiet, as_json, strict, track))


@command(example="latentzoo schema > run.schema.json")
def schema() -> None:
    """Print the JSON Schema of a run's record."""
    typer.echo(json.dumps(spec.schema(), indent=2))


def _place(record: spec.Run) -> Path:
    prompts = record.options.get("prompt", [])
    asked = [prompts] if isinstance(prompts, str) else [str(p) for p in dict.fromkeys(prompts)]
    asked += [term.target for term in record.energies]
    said = " ".join([Path(record.generator).stem, *asked])[:72]
    stream = f" stream {record.stream}" if record.stream else ""
    return Path("runs") / words.slug(f"{said} seed {record.seed}{stream}")
