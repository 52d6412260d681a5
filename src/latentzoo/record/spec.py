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
Weight = Annotated[
    float, Meta(ge=0, description="lambda, the energy's weight; finite and not negative")
]
Count = Annotated[int, Meta(ge=1)]


class Term(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One energy: its kind, what the picture should be, its weight, and the network that judges.

    Arguments:
        energy: The kind, a file of `latentzoo/energies`: clip, attribute, identity, ...
        target: What the picture should be, in the grammar of the kind; empty takes the prompt of a
            text-to-image generator.
        weight: The weight lambda; None takes the one that is usual for the energy.
        model: The network that judges; None takes the generator's companion, or else the kind's
            default.
        name: How the term is called in the trace; None takes the kind.
        options: Further arguments of the kind.
    """

    energy: str = "clip"
    target: str = ""
    weight: Weight | None = None
    model: str | None = None
    name: str | None = None
    options: dict[str, Any] = {}


class KernelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kernel by name, with the fields of its record."""

    name: str = "anneal"
    settings: dict[str, Any] = {}


class Run(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run: `p(z | C) ∝ N(z; 0, I) exp(-sum_k weight_k E_k(G(z)))`, sampled by a kernel.

    Arguments:
        generator: A card's name, a checkpoint file, a Hugging Face repository, or an address.
        family: The family of a checkpoint file, where its tensors do not tell.
        options: Arguments of the map: truncation, steps, class_index, camera, ...
        vary: The latent blocks that vary; None varies all. The others hold the values of
            `rest_seed`.
        rest_seed: The seed of the blocks that do not vary.
        energies: The energies; with none, latents are drawn from the prior.
        kernel: The kernel and its settings.
        strength: Guidance strength in nats, KL(p(z|C) || prior); finds one factor for all weights.
            None keeps them.
        schedule: A run folder whose temperatures and step sizes are followed instead of adapted.
        chains: How many chains.
        steps: The budget of each chain in gradients.
        seed: The run's seed.
        tries: Of how many draws of the prior each chain picks its start; None takes eight
            if the kernel anneals and they cost at most a tenth of the budget.
        best: A term's name, to keep each chain's best state by that energy instead of its last
            one.
        init: A picture whose latent every chain starts from; the generator must be able to encode.
        energy_views: From how many cameras, over 60 degrees, a generator with a camera is rated.
        micro_batch: How many chains go through the networks at once; None takes all.
        device: cpu, cuda, mps, or auto.
        dtype: The networks' number type: float32, float16, bfloat16 or float64.
        record: What was measured when the run was made (versions, hashes, seeds); for the reader,
            not used.
    """

    generator: str
    family: str | None = None
    options: dict[str, Any] = {}
    vary: list[str] | None = None
    rest_seed: Annotated[int, Meta(ge=0)] = 0
    energies: list[Term] = []
    kernel: KernelSettings = KernelSettings()
    strength: Annotated[float, Meta(gt=0)] | None = None
    scale: Annotated[float, Meta(gt=0)] | None = None
    schedule: str | None = None
    chains: Count = 16
    steps: Annotated[int, Meta(ge=0)] = 200
    seed: Annotated[int, Meta(ge=0, lt=2**31)] = 0
    plan: Count | None = None
    tries: Count | None = None
    keep: Count | None = None
    best: str | None = None
    init: str | None = None
    energy_views: Count = 1
    micro_batch: Count | None = None
    device: str = "auto"
    dtype: str = "float32"
    record: dict[str, Any] = {}


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
    `KIND=TARGET[:WEIGHT]` or `KIND(KEY=VALUE, ...)=TARGET[:WEIGHT]`, whose target may be empty: that
    is the generator's prompt.

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
    elif not target.strip():
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
