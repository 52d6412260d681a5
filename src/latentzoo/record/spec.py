"""The record of a run: everything that decides what comes out, as plain data.

A record is frozen, has a default for all but the generator, and goes to YAML and back without
loss. The command line, `latentzoo run` and the files in a run folder are the same record.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

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
    "check_keys",
    "converted",
    "parse",
    "read",
    "read_yaml",
    "replace",
    "schema",
    "to_yaml",
]

MISSING = re.compile(r"Object missing required field '(\w+)'")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
SCALED = ("generator", "card", "options", "vary", "rest_seed", "energies", "strength")
T = TypeVar("T")
Count = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]
Weight = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]


class Term(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One energy of a run; the JSON schema describes each field."""

    energy: Annotated[
        str,
        Meta(description="The kind (`latentzoo list`): clip, attribute, identity, ..."),
    ] = "clip"
    target: Annotated[
        str,
        Meta(
            description="What the picture should be, in the grammar of the kind; empty takes the "
            "prompt of a text-to-image generator."
        ),
    ] = ""
    weight: Annotated[
        Weight | None,
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

    A field, its range, its default and its help are written here alone. The YAML keys, the JSON
    schema and the options of `latentzoo sample` are made from them.
    """

    generator: Annotated[
        str,
        Meta(
            description="A name (`latentzoo list`), a checkpoint file, a Hugging Face repository, "
            "or an address."
        ),
    ]
    energies: Annotated[
        list[Term],
        Meta(description="The energies; with none, latents are drawn from the prior."),
    ] = []
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
    kernel: Annotated[KernelSettings, Meta(description="The kernel and its settings.")] = (
        KernelSettings()
    )
    schedule: Annotated[
        str | None,
        Meta(description="A run folder whose schedule is followed instead of adapted."),
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
        Meta(description="The energy by which each chain keeps its best state, not its last."),
    ] = None
    init: Annotated[
        str | None,
        Meta(description="A picture from which every chain starts (generators that encode)."),
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
    family: Annotated[
        str | None,
        Meta(description="The family of a checkpoint file, where its tensors do not tell."),
    ] = None
    card: Annotated[
        str | None,
        Meta(
            description="The card whose settings a checkpoint file takes that is given by its path "
            "(`latentzoo list`)."
        ),
    ] = None
    energy_views: Annotated[
        Count,
        Meta(description="From how many cameras, over 60 degrees, a 3D-aware generator is rated."),
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


def parse(data: Any, *, source: str = "the record", record: type[Run] = Run) -> Run:
    """Makes a record from plain data.

    Arguments:
        data: What a YAML or JSON file held.
        source: What to call it in errors.
        record: The class of the record, `Run` or one that has more fields.

    Raises:
        SpecError: If a value has the wrong type or range, or the generator is missing.
        UnknownName: If a key is unknown, with the nearest one.
    """
    if not isinstance(data, dict):
        raise SpecError(
            f"{source}: a run is a table of keys and values; begin with `generator: NAME`"
        )
    check_keys(data, record, source)
    terms = data.get("energies")
    for i, term in enumerate(terms if isinstance(terms, list) else []):
        if isinstance(term, dict):
            check_keys(term, Term, f"{source}: energies[{i}]")
    if isinstance(data.get("kernel"), str):
        data = {**data, "kernel": {"name": data["kernel"]}}
    run = converted(data, record, source)
    if not run.record.get("python"):  # a run of Python calls its terms as it likes
        _check_terms(run.energies, source)
    return run


def converted(
    data: Any,
    record: type[T],
    source: str,
    *,
    cure: str = "`latentzoo schema` shows what is allowed",
) -> T:
    """Makes a record of plain data.

    Arguments:
        data: What a YAML or JSON file held.
        record: The class of the record.
        source: What to call the data in errors.
        cure: The end of the error.

    Raises:
        SpecError: If a value has the wrong type or range.
    """
    try:
        return msgspec.convert(data, record)
    except msgspec.ValidationError as error:
        said = str(error).replace("`$.", "`").replace("`", "'").replace(" - at ", " at ")
        said = MISSING.sub(r"\1 is missing", said)
        raise SpecError(f"{source}: {said}; {cure}") from None


def check_keys(data: Mapping[Any, Any], record: type[Struct], source: str) -> None:
    """Checks that a table has no keys that a record does not have.

    Raises:
        UnknownName: If a key is unknown, with the nearest one.
    """
    known = [field.name for field in msgspec.structs.fields(record)]
    for key in data:
        if key not in known:
            raise UnknownName(f"key in {source}:", str(key), known)


def _check_terms(terms: list[Term], source: str) -> None:
    for term in terms:
        if not (term.weight or 0.0) < float("inf"):
            raise SpecError(
                f"{source}: the weight of '{term.target}' is not finite; give a number"
            )
        if term.name is not None and NAME.fullmatch(term.name) is None:
            raise SpecError(
                f"{source}: an energy cannot be called '{term.name}'; a name has letters, digits, _ and -"
            )
    names = [term.name for term in terms if term.name is not None]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SpecError(
            f"{source}: two energies are called '{twice}'; give each a name of its own"
        )


def read(path: Path) -> Run:
    """Reads a record from a YAML (or JSON) file.

    Raises:
        SpecError: If the file is missing, is no YAML, or is not a run.
    """
    cure = "`latentzoo sample --save-spec FILE` writes one"
    return parse(read_yaml(path, cure), source=str(path))


def read_yaml(path: Path, cure: str) -> Any:
    """Reads the plain data of a YAML file.

    Arguments:
        path: The file.
        cure: What to do where there is none, the end of the error.

    Raises:
        SpecError: If the file is missing or is no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise SpecError(f"{path}: there is no such file; {cure}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = " ".join(str(error).split())
        raise SpecError(
            f"{path}: not a YAML file ({line}); compare it with `latentzoo schema`"
        ) from None


def changed(run: Run, values: Mapping[str, Any]) -> Run:
    """The record with some values changed.

    A factor `scale` that was found for a strength goes where the strength, the energies or the map
    change, and so do the hashes of what the run was made with where something else is named.

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
    if data["scale"] == run.scale and any(key.split(".")[0] in SCALED for key in values):
        data["scale"] = None
    new = parse(data, source="the changed record")
    if _made_with(new) != _made_with(run):
        new.record.pop("inputs", None)
    return new


def _made_with(run: Run) -> tuple[Any, ...]:
    """What says which networks and files a run is made with."""
    guides = [replace(term, weight=None, name=None) for term in run.energies]
    return run.generator, run.family, run.card, run.dtype, run.init, run.schedule, guides


def to_yaml(run: Run) -> str:
    """Writes the complete record, every default included."""
    return yaml.safe_dump(msgspec.to_builtins(run), sort_keys=False, allow_unicode=True, width=100)
