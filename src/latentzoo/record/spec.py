"""The record of a run: everything that decides what comes out, as plain data.

A record is frozen, has a default for all but the generator, and goes to YAML and back without
loss. The command line, `latentzoo run` and the files in a run folder are the same record.
"""

from typing import Annotated, Any, TypedDict

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from latentzoo import kernels, markup, place
from latentzoo.options import Count, Natural, Positive, Weight

__all__ = ["KernelSettings", "Run", "Term", "replace", "schema", "to_yaml"]


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

    name: Annotated[str, Meta(description="The kernel (`latentzoo list`).")] = kernels.DEFAULT
    settings: Annotated[
        dict[str, Any], Meta(description="The kernel's settings (`latentzoo show KERNEL`).")
    ] = {}


class Measured(TypedDict, total=False):
    """What of a record's measurements is read again, where it is there."""

    finished: bool
    python: bool
    seeds: list[int]
    inputs: dict[str, str]
    versions: dict[str, str]
    assumed: dict[str, str]
    shard: str
    shards: int
    workers: int
    gradients: float
    seconds: float


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
    stream: Annotated[
        int,
        Meta(
            ge=0,
            lt=2**32,
            description="The number of the first chain's stream: with one chain, that picture of the seed alone.",
        ),
    ] = 0
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
        Meta(
            description="From where every chain starts: a picture (generators that encode), or RUN#CHAIN, a chain of "
            "another run."
        ),
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
        str, Meta(description=f"Where the networks run: {', '.join(place.DEVICES)}.")
    ] = "auto"
    dtype: Annotated[
        str,
        Meta(description=f"The networks' number type: {', '.join(place.NUMBERS)}."),
    ] = "float32"
    compile: Annotated[
        bool,
        Meta(
            description="Whether generator and guides are translated by torch.compile: minutes once, then faster steps."
        ),
    ] = False
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


def to_yaml(run: Run) -> str:
    """Writes the complete record, every default included."""
    return markup.dump(msgspec.to_builtins(run))
