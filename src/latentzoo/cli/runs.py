"""Commands that make runs: sample, run, resume, schema."""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from latentzoo.cli.app import Debug, command, interruptible
from latentzoo.cli.progress import emit, watcher
from latentzoo.errors import SpecError
from latentzoo.record import spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from latentzoo.record.execute import Watch
    from latentzoo.run.result import Result


class ChainFailed(typer.Exit):
    """The exit of a run in which a chain failed; a sweep goes on after it."""


Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="The run folder; default runs/NAME.", show_default=False),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite a run that is in the folder.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress bar and no words, errors only.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON line per event on standard output.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with status 4 if the sample is not trustworthy.")
]


@command(
    example='latentzoo sample avatar-turbo --text "a person with sunglasses and a yellow hat"'
)
def sample(
    generator: Annotated[
        str, typer.Argument(help="A name (`latentzoo list`), a checkpoint file, or an address.")
    ],
    text: Annotated[
        list[str] | None,
        typer.Option("--text", "-t", help="What the picture should show, TEXT[:WEIGHT]."),
    ] = None,
    energy: Annotated[
        list[str] | None,
        typer.Option(
            "--energy",
            "-e",
            help="Any energy, KIND=TARGET[:WEIGHT]; options in parentheses, KIND(model=NAME)=TARGET.",
        ),
    ] = None,
    weight: Annotated[
        float | None,
        typer.Option(
            "--weight",
            "-w",
            min=0,
            help="The weight of energies that give none; default what is usual for each.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="The network that judges the texts; default the generator's companion, or CLIP ViT-B/32.",
            show_default=False,
        ),
    ] = None,
    chains: Annotated[int, typer.Option(min=1, help="How many chains, one picture each.")] = 16,
    steps: Annotated[
        int, typer.Option(min=0, help="The budget of each chain in gradients.")
    ] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The run's seed.")] = 0,
    tries: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of how many draws of the prior a chain picks its start; default 8 in all but short runs of anneal.",
            show_default=False,
        ),
    ] = None,
    kernel: Annotated[
        str | None,
        typer.Option(
            "--kernel",
            "-k",
            help="The kernel (`latentzoo list`); default anneal.",
            show_default=False,
        ),
    ] = None,
    step_size: Annotated[
        float | None,
        typer.Option(
            help="The kernel's step size; default adapted or the kernel's own.", show_default=False
        ),
    ] = None,
    precondition: Annotated[
        str | None,
        typer.Option(
            help="auto: learn the few directions that matter and walk in their scale, if they are few; default none.",
            show_default=False,
        ),
    ] = None,
    strength: Annotated[
        str | None,
        typer.Option(
            help="Guidance strength as information, e.g. 12nats; scales the weights.",
            show_default=False,
        ),
    ] = None,
    schedule: Annotated[
        Path | None,
        typer.Option(
            help="A run whose schedule is followed instead of adapted.", show_default=False
        ),
    ] = None,
    best: Annotated[
        str | None,
        typer.Option(
            help="Keep each chain's best state by this energy, not its last one.",
            show_default=False,
        ),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(help="A picture to start from (generators that encode).", show_default=False),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="An argument of the map, KEY=VALUE, e.g. truncation=0.7."),
    ] = None,
    vary: Annotated[
        list[str] | None, typer.Option(help="A latent block that varies; the others are fixed.")
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            help="The family of a checkpoint file, where its tensors do not tell.",
            show_default=False,
        ),
    ] = None,
    energy_views: Annotated[
        int, typer.Option(min=1, help="Cameras from which a 3D-aware generator is rated.")
    ] = 1,
    micro_batch: Annotated[
        int | None,
        typer.Option(
            min=1, help="Chains through the networks at once; default all.", show_default=False
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")] = "auto",
    dtype: Annotated[str, typer.Option(help="The networks' number type.")] = "float32",
    out: Out = None,
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
    debug: Debug = False,
) -> None:
    """Sample pictures that show what is asked; with no text and no energy, draw from the prior.

    A weight is what follows the last colon, if it is a number: "a person with a yellow hat:500".
    """
    terms = [spec.replace(spec.term(words, weight=weight), model=model) for words in text or []]
    terms += [spec.term(words, energy="", weight=weight) for words in energy or []]
    given = {"step_size": step_size, "precondition": precondition}
    settings = {name: value for name, value in given.items() if value is not None}
    record = spec.Run(
        generator=generator,
        family=family,
        options=options(option or []),
        vary=vary or None,
        energies=terms,
        kernel=spec.KernelSettings(name=kernel or "anneal", settings=settings),
        strength=None if strength is None else _nats(strength),
        schedule=None if schedule is None else str(schedule),
        chains=chains,
        steps=steps,
        tries=tries,
        seed=seed,
        best=best,
        init=None if init is None else str(init),
        energy_views=energy_views,
        micro_batch=micro_batch,
        device=device,
        dtype=dtype,
    )
    if save_spec is not None:
        from latentzoo.files import write_atomic

        write_atomic(
            save_spec, lambda path: path.write_text(spec.to_yaml(record), encoding="utf-8")
        )
        return
    _run(
        record,
        out or Path("runs") / _slug(record),
        force=force,
        quiet=quiet,
        as_json=as_json,
        strict=strict,
    )


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
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change the record, KEY=VALUE; keys may be nested: energies.0.weight=300.",
        ),
    ] = None,
    out: Out = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    strict: Strict = False,
    debug: Debug = False,
) -> None:
    """Make the run that a record, or an experiment file of 2022, describes."""
    if record is not None and cfg is None:
        found, name = spec.read(record), record.stem
    elif cfg is not None and record is None:
        from latentzoo.record.paper import read_cfg

        experiment = read_cfg(cfg)
        for note in (*experiment.contradictions, *experiment.notes):
            typer.echo(f"{cfg.name}: {note}", err=True)
        found, name = experiment.run, experiment.name
    else:
        raise SpecError("give a record or --cfg FILE.cfg, one of them")
    found = spec.changed(found, options(change or []))
    _run(
        found, out or Path("runs") / name, force=force, quiet=quiet, as_json=as_json, strict=strict
    )


@command(
    example="latentzoo sweep experiments/paper.yaml --only 'clip_*_stylegan2*' --out runs/paper"
)
def sweep(
    file: Annotated[Path, typer.Argument(metavar="SWEEP", help="The sweep, a YAML file.")],
    list_only: Annotated[
        bool, typer.Option("--list", help="Print the experiments' names and stop.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(help="Only those whose name matches, * and ? allowed.", show_default=False),
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="Change every record, KEY=VALUE.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder of the run folders.")
    ] = Path("runs"),
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make all runs of a sweep, each in its folder; finished ones are skipped, started ones go on."""
    from latentzoo.record import sweep as sweeps
    from latentzoo.record.folder import is_finished, is_started

    runs = sweeps.only(sweeps.read(file), only)
    if list_only:
        for name in runs:
            typer.echo(name)
        return
    for name, found in runs.items():
        folder = out / name
        if is_finished(folder):
            continue
        if not quiet and not as_json:
            typer.echo(name)
        with contextlib.suppress(ChainFailed):
            if is_started(folder):
                _resume(folder, 0, quiet=quiet, as_json=as_json, strict=False)
                continue
            wanted = spec.changed(found, options(change or []))
            _run(wanted, folder, force=False, quiet=quiet, as_json=as_json, strict=False)


@command(example="latentzoo resume runs/hats")
def resume(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The run folder.")],
    steps: Annotated[
        int, typer.Option(min=0, help="How many gradients more than recorded each chain gets.")
    ] = 0,
    quiet: Quiet = False,
    as_json: Json = False,
    strict: Strict = False,
    debug: Debug = False,
) -> None:
    """Go on with a run that was stopped, or give a finished one more steps.

    The result is that of an undisturbed run, bit for bit.
    """
    if not folder.is_dir():
        raise SpecError(
            f"{folder}: there is no such folder; runs are below runs/ unless --out was given"
        )
    _resume(folder, steps, quiet=quiet, as_json=as_json, strict=strict)


@command(example="latentzoo schema > run.schema.json")
def schema() -> None:
    """Print the JSON Schema of a run's record."""
    typer.echo(json.dumps(spec.schema(), indent=2))


def _run(
    record: spec.Run, out: Path, *, force: bool, quiet: bool, as_json: bool, strict: bool
) -> None:
    from latentzoo.record.execute import make

    _walk(
        out,
        lambda watch: make(record, out, force=force, watch=watch),
        quiet=quiet,
        as_json=as_json,
        strict=strict,
    )


def _resume(path: Path, steps: int, *, quiet: bool, as_json: bool, strict: bool) -> None:
    from latentzoo.record.execute import resume

    _walk(
        path,
        lambda watch: resume(path, steps=steps, watch=watch),
        quiet=quiet,
        as_json=as_json,
        strict=strict,
    )


def _walk(
    path: Path,
    make: "Callable[[Watch], Result | None]",
    *,
    quiet: bool,
    as_json: bool,
    strict: bool,
) -> None:
    """Makes or resumes a run under the eyes of who watches, writes its page, and ends with its status."""
    from latentzoo.record.layout import REPORT
    from latentzoo.report import page

    try:
        with interruptible() as between_steps, watcher(quiet=quiet, as_json=as_json) as watch:
            result = make(lambda frame, walk: (watch(frame, walk), between_steps())[0])
    except KeyboardInterrupt:
        typer.echo(_stopped(path), err=True)
        raise typer.Exit(130) from None
    if result is None:
        typer.echo(f"{path}: this run is finished; `--steps N` gives it N gradients more")
        return
    page.write([path], path / REPORT)
    _report(result, path, quiet=quiet, as_json=as_json)
    if result.failures:
        raise ChainFailed(3)
    if strict and result.kernel is not None and not result.diagnosis.trustworthy:
        raise typer.Exit(4)


def _stopped(path: Path) -> str:
    from latentzoo.record.folder import is_started

    if is_started(path):
        return f"stopped; go on with: latentzoo resume {path}"
    return "stopped before the first step; nothing was written"


def _report(result: "Result", path: Path, *, quiet: bool, as_json: bool) -> None:
    diagnosis = None if result.kernel is None else result.diagnosis
    if as_json:
        told = None if diagnosis is None else diagnosis.to_dict()
        emit(
            "done",
            folder=str(path),
            gradients=result.gradients,
            seconds=result.seconds,
            diagnosis=told,
        )
    elif not quiet:
        if diagnosis is not None:
            typer.echo(str(diagnosis))
        typer.echo(f"{len(result.z)} pictures: {path / 'grid.png'}")
    for failure in result.failures:
        typer.echo(
            f"chain {failure.chain} (seed {failure.seed}) stopped at step {failure.step}: "
            f"'{failure.term}' was not finite; the other chains went on",
            err=True,
        )


def options(words: list[str]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise SpecError(
                f"the option '{word}' is no KEY=VALUE; write e.g. --option truncation=0.7"
            )
        read[key.strip()] = yaml.safe_load(value)
    return read


def _nats(words: str) -> float:
    try:
        value = float(words.strip().removesuffix("nats"))
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise SpecError(
            f"the strength '{words}' is not an amount of information; write e.g. 12nats"
        )
    return value


def _slug(record: spec.Run) -> str:
    words = [Path(record.generator).stem, *(term.target for term in record.energies)]
    return spec.slug(" ".join([*words, f"seed {record.seed}"]))
