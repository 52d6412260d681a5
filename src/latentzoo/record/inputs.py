"""What went into a run, by hash: the networks, and the files that its record names.

A record says which generator, guides, reference pictures and masks it was made with. Who runs or
resumes it with other ones is told, and nothing is computed.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from latentzoo.errors import SpecError
from latentzoo.files import apart
from latentzoo.record import layout, origin, places, spec
from latentzoo.record.experiment import Experiment


def digests(experiment: Experiment) -> dict[str, str]:
    """The sha256 of each network and each file of an experiment."""
    networks = {f"energy {name}": energy for name, (_, energy) in experiment.weighted.items()}
    found = of_generator(experiment)
    found |= {name: of_network(network) for name, network in networks.items()}
    return found | {name: of_file(path) for name, path in named_files(experiment.run)}


def of_generator(experiment: Experiment) -> dict[str, str]:
    """The sha256 of the generator's file, or of its weights, and of what is said beside the weights."""
    file = Path(experiment.run.generator)
    own = of_file(file) if file.is_file() else of_network(experiment.generator)
    found = {"generator": own}
    if settings := experiment.bare.configuration:
        found["settings of the generator"] = of_settings(settings)
    return found


def of_network(network: nn.Module) -> str:
    """The sha256 over the weights of a network, names included.

    What a network computes when it is built is left out: it differs by rounding between machines.
    """
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        plain = value.detach().cpu().contiguous().flatten()
        digest.update(plain.view(torch.uint8).numpy())
    return digest.hexdigest()


def of_settings(settings: Mapping[str, Any]) -> str:
    """The sha256 of what a file and its card say of a network beside its weights."""
    plain = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(plain.encode()).hexdigest()


def of_file(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def named_files(run: spec.Run) -> Iterator[tuple[str, Path]]:
    """The files that a record names, by their place in it, but that of the generator (see `of_generator`)."""
    for place, words in places.named(run):
        if place == "generator":
            continue
        path = FILE_OF.get(place, _plain_file)(words)
        if path.is_file():
            yield place, path


def _plain_file(words: str) -> Path:
    return Path(apart(words)[0])


def _of_schedule(words: str) -> Path:
    """The file from which a run is followed."""
    path = Path(words)
    return path / layout.STATE if path.is_dir() else path


FILE_OF = {"init": origin.file_of, "schedule": _of_schedule}
"""The file that stands for the words of a place which may name a folder."""


def compare_generator(recorded: Mapping[str, str], experiment: Experiment, *, source: str) -> None:
    """Compares the generator that is here with the one that a record was made with, and nothing else.

    Raises:
        SpecError: If it was exchanged.
    """
    found = of_generator(experiment)
    compare({name: recorded[name] for name in found if name in recorded}, found, source=source)


def compare(recorded: Mapping[str, str], found: Mapping[str, str], *, source: str) -> None:
    """Compares what is here with what the record was made with.

    Raises:
        SpecError: If something was exchanged.
    """
    for name, digest in recorded.items():
        here = found.get(name)
        if here is None:
            raise SpecError(
                f"{source}: the {name} it was made with is not here; put the file back, or leave "
                "`record:` out of the record to make a new run"
            )
        if here != digest:
            raise SpecError(
                f"{source}: the {name} is another than the record was made with (sha256 {here[:8]} "
                f"instead of {digest[:8]}); put the old one back, or leave `record:` out of the "
                "record to make a new run"
            )
