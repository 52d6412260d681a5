"""The same guidance over several generators: runs, numbers by the held-out judge, a page and a figure."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
import yaml
from msgspec import Meta, Struct
from torch import Tensor

from latentzoo import picture
from latentzoo.builtin.study import page
from latentzoo.builtin.study.findings import find, recognise, variations
from latentzoo.builtin.study.rows import Prior, Row
from latentzoo.errors import SpecError
from latentzoo.record import spec
from latentzoo.record.experiment import Experiment
from latentzoo.record.folder import RunFolder, is_finished
from latentzoo.record.saved import SavedRun


class Guidance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a question becomes an energy.

    Arguments:
        energy: The kind of energy.
        weight: Its weight; None takes the one that is usual for the energy.
        model: The network that guides; None takes the generator's companion.
        run: Keys of the run's record that differ from the study's: a kernel, ...
    """

    energy: str = "clip"
    weight: spec.Weight | None = None
    model: str | None = None
    run: dict[str, Any] = {}

    def term(self, target: str) -> spec.Term:
        """The energy of a target."""
        return spec.Term(energy=self.energy, target=target, weight=self.weight, model=self.model)


class Study(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A population study: generators, what is asked of each, and the run they share.

    Arguments:
        generators: The generators, rows of the figure, each with the options of its map.
        texts: What the pictures should show.
        people: Pictures of persons that should be shown; paths from the study's own folder.
        unguided: How many pictures of the prior are compared with the truth; 0 for none.
        text: How a text guides.
        person: How a person guides.
        best: Whether each chain shows its best state by the guide instead of its last one.
        run: Further keys of a run's record: chains, steps, kernel, seed, ...
    """

    generators: dict[str, dict[str, Any]]
    texts: list[str] = []
    people: list[str] = []
    unguided: Annotated[int, Meta(ge=0)] = 0
    text: Guidance = Guidance()
    person: Guidance = Guidance(energy="identity")
    best: bool = False
    run: dict[str, Any] = {}


def read(path: Path) -> Study:
    """Reads a study from a YAML file; the pictures of persons are beside it.

    Raises:
        SpecError: If the file is missing, is no YAML, or is not a study.
    """
    try:
        study = msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), Study)
    except (OSError, yaml.YAMLError, UnicodeDecodeError, msgspec.ValidationError) as error:
        line = str(error).replace("\n", " ")
        raise SpecError(
            f"{path}: not a population study ({line}); compare it with experiments/avatars.yaml"
        ) from None
    return msgspec.structs.replace(
        study, people=[str(path.parent / person) for person in study.people]
    )


def compare(
    study: Study, out: Path, *, tell: Callable[[Row | Prior], Any] = lambda row: None
) -> list[Row]:
    """Makes the runs that are not there yet, judges all, and writes compare.html, compare.png and compare.json.

    Arguments:
        study: What is compared.
        out: The folder of the run folders and of the page.
        tell: Called with each row as soon as it is there.

    Raises:
        SpecError: If nothing is compared, or a generator's pictures are not avatars, so that nobody can judge them.
    """
    if not study.generators or not (study.texts or study.people or study.unguided):
        raise SpecError(
            "a comparison needs generators and texts; give --generators a,b and --text"
        )
    priors: list[Prior] = []
    rows: list[Row] = []
    for row in _rows(study, out):
        tell(row)
        (priors if isinstance(row, Prior) else rows).append(row)  # pyright: ignore[reportArgumentType]
    page.write(rows, priors, out)
    return rows


def _rows(study: Study, out: Path) -> Iterator[Row | Prior]:
    for generator in study.generators if study.unguided else ():
        shared = {"chains": study.unguided, "seed": study.run.get("seed", 0)}
        folder = _run(study, generator, out / "unguided" / generator, [], shared)
        images = pictures(SavedRun(folder))
        _require_avatars(images, generator)
        yield Prior(generator, variations(images), folder)
    for text in study.texts:
        for generator in study.generators:
            place, energies = out / spec.slug(text) / generator, [study.text.term(text)]
            folder = _run(study, generator, place, energies, study.run | study.text.run)
            yield _judged(text, generator, folder, None)
    for path in map(Path, study.people):
        for generator in study.generators:
            place, energies = out / path.stem / generator, [study.person.term(str(path))]
            folder = _run(study, generator, place, energies, study.run | study.person.run)
            yield _judged(path.stem, generator, folder, path)


def _run(
    study: Study, generator: str, folder: Path, energies: list[spec.Term], shared: dict[str, Any]
) -> Path:
    """The folder of a finished run, which is made or resumed if need be."""
    if not is_finished(folder):
        started = (folder / "run.yaml").exists()
        data = {**shared, "generator": generator, "options": study.generators[generator]}
        best = energies[0].energy if energies and study.best else None
        run = spec.parse(data, source="the study's run")
        run = spec.replace(run, energies=energies, best=best)
        with RunFolder(folder, resume=started) as held:
            Experiment(spec.read(folder / "run.yaml") if started else run).execute(held)
    return folder


def _judged(asked: str, generator: str, folder: Path, person: Path | None) -> Row:
    saved = SavedRun(folder)
    images = pictures(saved)
    _require_avatars(images, generator)
    found = find(images, asked) if person is None else recognise(images, picture.read(person))
    cost = saved.diagnosis or {}
    energy = saved.column(saved.terms[0])
    shown = energy[-1] if saved.record.best is None else np.nanmin(energy, axis=0)
    return Row(
        asked,
        generator,
        float(np.nanmean(shown)),
        float(cost.get("gradients", saved.record.steps)),
        float(cost.get("seconds", float("nan"))),
        found,
        folder,
        person,
    )


def _require_avatars(images: Tensor, generator: str) -> None:
    if images.shape[2:] != (64, 64):
        raise SpecError(
            f"the pictures of '{generator}' are no avatars of 64x64, so the judge cannot see them"
        )


def pictures(saved: SavedRun) -> Tensor:
    """The pictures of a run's chains, (B, 3, H, W) in [0, 1]."""
    return torch.cat([picture.read(path) for path in saved.pictures()])
