"""The record of a run: everything that decides what comes out, as plain data.

A record is frozen, has a default for all but the generator, and goes to YAML and back without
loss. The command line, `latentzoo run` and the files in a run folder are the same record.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta, Struct
from msgspec.structs import replace

from latentzoo.errors import SpecError, UnknownName

__all__ = [
    "KernelSettings",
    "Run",
    "Term",
    "changed",
    "own_name",
    "parse",
    "read",
    "replace",
    "schema",
    "slug",
    "term",
    "to_yaml",
]

KIND = re.compile(r"(?P<kind>[^=(]*)(\((?P<options>[^()]*)\))?=(?P<target>.*)", re.DOTALL)
PLAIN = re.compile(r"[a-z0-9-]+( [a-z0-9-]+)*")
BETWEEN = re.compile(r",\s*(?=\w+\s*=)")
Count = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]


class Term(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One energy of a run; the JSON schema describes each field."""

    energy: Annotated[
        str,
        Meta(
            description="The kind, a file of `latentzoo/energies`: clip, attribute, identity, ..."
        ),
    ] = "clip"
    target: Annotated[
        str, Meta(description="What the picture should be, in the grammar of the kind.")
    ]
    weight: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(description="The weight lambda; default the one that is usual for the energy."),
    ] = None
    model: Annotated[
        str | None,
        Meta(
            description="The network that judges; default the generator's companion, "
            "or else the kind's own."
        ),
    ] = None
    name: Annotated[
        str | None, Meta(description="The term's name in the trace; default the kind.")
    ] = None
    options: Annotated[dict[str, Any], Meta(description="Further arguments of the kind.")] = {}


class KernelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kernel by its name, with the fields of its record."""

    name: Annotated[str, Meta(description="The kernel (`latentzoo list`).")] = "anneal"
    settings: Annotated[
        dict[str, Any], Meta(description="The kernel's settings (`latentzoo show KERNEL`).")
    ] = {}


class Run(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run: `p(z | C) ∝ N(z; 0, I) exp(-sum_k weight_k E_k(G(z)))`, sampled by a kernel.

    This class is the only place where a field, its range, its default and its help are written. The YAML
    keys, the JSON schema and the options of `latentzoo sample` are made from it.
    """

    generator: Annotated[
        str,
        Meta(
            description="A name (`latentzoo list`), a checkpoint file, a Hugging Face repository, "
            "or an address."
        ),
    ]
    family: Annotated[
        str | None,
        Meta(description="The family of a checkpoint file, where its tensors do not tell."),
    ] = None
    options: Annotated[
        dict[str, Any],
        Meta(description="Arguments of the map: truncation, steps, class_index, camera, ..."),
    ] = {}
    vary: Annotated[
        list[str] | None,
        Meta(description="The latent blocks that vary; default all. The others are held fixed."),
    ] = None
    rest_seed: Annotated[Natural, Meta(description="The seed of the blocks that do not vary.")] = 0
    energies: Annotated[
        list[Term],
        Meta(description="The energies; with none, latents are drawn from the prior."),
    ] = []
    kernel: Annotated[KernelSettings, Meta(description="The kernel and its settings.")] = (
        KernelSettings()
    )
    strength: Annotated[
        Positive | None,
        Meta(
            description="Guidance strength as information in nats, KL(p(z|C) || prior), e.g. "
            "12nats; one factor of all weights is found for it. Default: the weights as they are."
        ),
    ] = None
    scale: Annotated[
        Positive | None,
        Meta(
            description="The factor of all weights that gives the strength; "
            "default found by a ramp if a strength is given, else 1."
        ),
    ] = None
    schedule: Annotated[
        str | None,
        Meta(
            description="A run folder whose temperatures and step sizes are followed "
            "instead of adapted."
        ),
    ] = None
    chains: Annotated[Count, Meta(description="How many chains, one picture each.")] = 16
    steps: Annotated[
        Natural, Meta(description="The budget of each chain in gradients, tries included.")
    ] = 200
    seed: Annotated[int, Meta(ge=0, lt=2**31, description="The run's seed.")] = 0
    plan: Annotated[
        Count | None,
        Meta(
            description="The budget for which the kernel plans its schedule, where a run was "
            "extended beyond it; default steps."
        ),
    ] = None
    tries: Annotated[
        Count | None,
        Meta(
            description="Of how many draws of the prior each chain picks its start; default eight "
            "if the kernel anneals and they cost at most a tenth of the budget, else one."
        ),
    ] = None
    keep: Annotated[
        Count | None,
        Meta(
            description="Every how many steps a chain's state is kept as a draw, once it is at the "
            "posterior's temperature; default the last state alone."
        ),
    ] = None
    best: Annotated[
        str | None,
        Meta(
            description="A term's name: each chain keeps its best state by this energy "
            "instead of its last one."
        ),
    ] = None
    init: Annotated[
        str | None,
        Meta(description="A picture from which every chain starts (generators that encode)."),
    ] = None
    energy_views: Annotated[
        Count,
        Meta(
            description="From how many cameras, over 60 degrees, a generator with a camera is rated."
        ),
    ] = 1
    micro_batch: Annotated[
        Count | None,
        Meta(description="How many chains go through the networks at once; default all."),
    ] = None
    device: Annotated[
        str, Meta(description="Where the networks run: cpu, cuda, mps, or auto.")
    ] = "auto"
    dtype: Annotated[
        str,
        Meta(description="The networks' number type: float32, float16, bfloat16 or float64."),
    ] = "float32"
    record: Annotated[
        dict[str, Any],
        Meta(
            description="What was measured when the run was made (versions, hashes, seeds); "
            "nothing is decided by it."
        ),
    ] = {}


def schema() -> dict[str, Any]:
    """The JSON Schema of a run's record."""
    return msgspec.json.schema(Run)


def parse(data: Any, *, source: str = "the record") -> Run:
    """Makes a record from plain data.

    Arguments:
        data: What a YAML or JSON file held.
        source: What to call it in errors.

    Raises:
        SpecError: If a value has the wrong type or range, or the generator is missing.
        UnknownName: If a key is unknown, with the nearest one.
    """
    if not isinstance(data, dict):
        raise SpecError(
            f"{source}: a run is a table of keys and values; begin with `generator: NAME`"
        )
    _check_keys(data, Run, source)
    for i, term in enumerate(data.get("energies") or []):
        if isinstance(term, dict):
            _check_keys(term, Term, f"{source}: energies[{i}]")
    if isinstance(data.get("kernel"), str):
        data = {**data, "kernel": {"name": data["kernel"]}}
    try:
        run = msgspec.convert(data, Run)
    except msgspec.ValidationError as error:
        raise SpecError(
            f"{source}: {_readable(str(error))}; `latentzoo schema` shows what is allowed"
        ) from None
    for term in run.energies:
        if not (term.weight or 0.0) < float("inf"):
            raise SpecError(
                f"{source}: the weight of '{term.target}' is not finite; give a number"
            )
    return run


def read(path: Path) -> Run:
    """Reads a record from a YAML (or JSON) file.

    Raises:
        SpecError: If the file is missing, is no YAML, or is not a run.
    """
    try:
        return parse(yaml.safe_load(path.read_text(encoding="utf-8")), source=str(path))
    except (FileNotFoundError, IsADirectoryError):
        raise SpecError(
            f"{path}: there is no such file; `latentzoo sample --save-spec FILE` writes one"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = str(error).replace("\n", " ")
        raise SpecError(
            f"{path}: not a YAML file ({line}); compare it with `latentzoo schema`"
        ) from None


def changed(run: Run, values: Mapping[str, Any]) -> Run:
    """The record with some values changed.

    Arguments:
        run: The record.
        values: The new values by their keys; "energies.0.weight" goes into a list and a table.

    Raises:
        SpecError: If a key leads nowhere, or a value is not allowed there.
    """
    data = msgspec.to_builtins(run)
    for key, value in values.items():
        *path, last = key.split(".")
        place: Any = data
        try:
            for step in path:
                place = place[int(step)] if isinstance(place, list) else place[step]
            place[int(last) if isinstance(place, list) else last] = value
        except (KeyError, IndexError, ValueError, TypeError):
            raise SpecError(
                f"--set {key}: the record has no such place; `latentzoo schema` shows it"
            ) from None
    return parse(data, source="the changed record")


def to_yaml(run: Run) -> str:
    """Writes the complete record, every default included."""
    return yaml.safe_dump(msgspec.to_builtins(run), sort_keys=False, allow_unicode=True, width=100)


def term(words: str, *, energy: str = "clip", weight: float | None = None) -> Term:
    """Reads an energy from the command line: `TARGET[:WEIGHT]`, or, where `energy` is empty,
    `KIND=TARGET[:WEIGHT]` or `KIND(KEY=VALUE, ...)=TARGET[:WEIGHT]`.

    The keys are `model`, `name` and the options of the kind: `measure(operator=grey, sigma=0.2)=y.png:1`.

    The weight is what follows the last colon if that is a number; a target that ends in a colon
    and a number is written with its weight, "a clock at 10:30:500".

    Raises:
        SpecError: If the kind or the target is missing, or the weight is negative.
    """
    given: dict[str, Any] = {}
    target, colon, tail = words.rpartition(":")
    try:
        weight = float(tail) if colon else weight
    except ValueError:
        target = words
    if not colon:
        target = words
    if not energy:
        found = KIND.fullmatch(target)
        if found is None:
            raise SpecError(
                f"the energy '{words}' has no kind; write KIND=TARGET[:WEIGHT], e.g. attribute=hat=yellow:30"
            )
        energy, target = found["kind"].strip(), found["target"]
        given = _given(found["options"] or "", words)
    if not target.strip():
        raise SpecError(
            f"the energy '{words}' has no target; write TARGET[:WEIGHT], e.g. \"a yellow hat:500\""
        )
    if weight is not None and not 0 <= weight < float("inf"):
        raise SpecError(
            f"the weight {weight:g} of '{target}' is not allowed; give a finite number that is not negative"
        )
    own = {key: str(given.pop(key)) for key in ("model", "name") if key in given}
    return Term(energy=energy, target=target, weight=weight, options=given, **own)


def _given(options: str, words: str) -> dict[str, Any]:
    """The options in the parentheses of a kind."""
    given = {}
    for pair in filter(None, BETWEEN.split(options.strip())):
        key, equals, value = pair.partition("=")
        if not equals or not key.strip().isidentifier():
            raise SpecError(
                f"the option '{pair}' of the energy '{words}' is no KEY=VALUE; write e.g. measure(sigma=0.2)=y.png:1"
            )
        try:
            given[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise SpecError(
                f"the value '{value}' of the energy '{words}' cannot be read; put it in quotes"
            ) from None
    return given


def slug(words: str) -> str:
    """A legible name for a file or folder, made of words."""
    letters = "".join(c if c.isalnum() else "-" for c in words.lower())
    return "-".join(part for part in letters.split("-") if part)[:80]


def own_name(words: str) -> str:
    """A name for a folder that no other words have.

    Small letters, digits and hyphens stay, a space becomes an underscore. Other words are a slug
    with six digits of their hash, which tell what the slug has lost.
    """
    if len(words) <= 80 and PLAIN.fullmatch(words):
        return words.replace(" ", "_")
    digest = hashlib.sha256(words.encode()).hexdigest()[:6]
    return f"{slug(words)}-{digest}".strip("-")


def _check_keys(data: dict[str, Any], record: type[Struct], source: str) -> None:
    known = [field.name for field in msgspec.structs.fields(record)]
    for key in data:
        if key not in known:
            raise UnknownName(f"key in {source}:", str(key), known)


def _readable(error: str) -> str:
    return error.replace("`$.", "`").replace("`", "'").replace(" - at ", " at ")
