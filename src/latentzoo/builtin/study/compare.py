"""The same guidance over several generators: runs, numbers by the held-out judge, a page and a figure."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct
from torch import Tensor

from latentzoo import picture
from latentzoo.builtin.study import page
from latentzoo.builtin.study.findings import find, recognise, variations
from latentzoo.builtin.study.rows import Prior, Row
from latentzoo.errors import SpecError
from latentzoo.record import execute, plain, spec, words
from latentzoo.record.folder import is_finished, is_started
from latentzoo.record.saved import SavedRun
from latentzoo.record.workers import Crew, Whole, many
from latentzoo.report.evaluation import reached
from latentzoo.run.progress import Progress


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
        study = msgspec.convert(plain.read_yaml(path, "experiments/avatars.yaml is one"), Study)
    except msgspec.ValidationError as error:
        line = str(error).replace("\n", " ")
        raise SpecError(
            f"{path}: not a population study ({line}); compare it with experiments/avatars.yaml"
        ) from None
    return msgspec.structs.replace(
        study, people=[str(path.parent / person) for person in study.people]
    )


class _Question(NamedTuple):
    """What is asked of a generator: the words, its run and where, and the person's picture."""

    asked: str
    generator: str
    run: spec.Run
    place: Path
    person: Path | None = None


def compare(
    study: Study,
    out: Path,
    *,
    crew: Crew | None = None,
    watch: Callable[[Progress], Any] = lambda progress: None,
    tell: Callable[[Row | Prior], Any] = lambda row: None,
) -> list[Row]:
    """Makes the runs that are not there yet, judges all, and writes compare.html, compare.png and compare.json.

    Arguments:
        study: What is compared.
        out: The folder of the run folders and of the page.
        crew: Who makes the runs; None makes them here.
        watch: Called with how far the crew is.
        tell: Called with each row as soon as it is there.

    Raises:
        SpecError: If nothing is compared, or a generator's pictures are not avatars, so that nobody can judge them.
    """
    if not study.generators or not (study.texts or study.people or study.unguided):
        raise SpecError(
            "a comparison needs generators and texts; give --generators a,b and --text"
        )
    questions = list(_questions(study, out))
    if crew is not None:
        _made(questions, crew, watch)
    priors: list[Prior] = []
    rows: list[Row] = []
    for question in questions:
        saved = _run(question)
        if not question.run.energies:
            row = Prior(question.generator, variations(_avatars(saved)), saved.path)
            priors.append(row)
        else:
            row = _judged(question.asked, question.generator, saved, question.person)
            rows.append(row)
        tell(row)
    page.write(rows, priors, out)
    return rows


def _questions(study: Study, out: Path) -> Iterator[_Question]:
    for generator in study.generators if study.unguided else ():
        shared = {"chains": study.unguided, "seed": study.run.get("seed", 0)}
        place = out / "unguided" / words.own_name(generator)
        yield _Question("", generator, _record(study, generator, [], shared), place)
    for text in study.texts:
        for generator in study.generators:
            place = out / words.own_name(text) / words.own_name(generator)
            shared = study.run | study.text.run
            run = _record(study, generator, [study.text.term(text)], shared)
            yield _Question(text, generator, run, place)
    for path in map(Path, study.people):
        for generator in study.generators:
            place = out / words.own_name(path.stem) / words.own_name(generator)
            shared = study.run | study.person.run
            run = _record(study, generator, [study.person.term(str(path))], shared)
            yield _Question(path.stem, generator, run, place, path)


def _record(
    study: Study, generator: str, energies: list[spec.Term], shared: dict[str, Any]
) -> spec.Run:
    """The run of one question."""
    data = {**shared, "generator": generator, "options": study.generators[generator]}
    best = energies[0].energy if energies and study.best else None
    run = plain.parse(data, source="the study's run")
    return spec.replace(run, energies=energies, best=best)


def _made(questions: list[_Question], crew: Crew, watch: Callable[[Progress], Any]) -> None:
    """Has workers make the runs that are not there yet.

    Raises:
        Exception: The first that a run ended with, after all others are made.
    """
    errors = []
    whole = [Whole(q.run, q.place.resolve()) for q in questions if not is_started(q.place)]
    for outcome in many(whole, crew, watch=watch) if whole else ():
        errors += [] if outcome.error is None else [outcome.error]
    if errors:
        raise errors[0]


def _run(question: _Question) -> SavedRun:
    """The run of a question in its folder; it is made, or resumed, unless it is there already."""
    folder, run = question.place, question.run
    if not execute.holds(folder, run):
        execute.make(run, folder, force=True)
    elif not is_finished(folder):
        execute.resume(folder)
    return SavedRun(folder)


def _judged(asked: str, generator: str, saved: SavedRun, person: Path | None) -> Row:
    """What the judge finds in the chains that did not fail; the others are counted."""
    images = _avatars(saved)
    found = find(images, asked) if person is None else recognise(images, picture.read(person))
    energy = reached(saved, saved.kept)[saved.terms[0]]
    measured = saved.record.record
    return Row(
        asked=asked,
        generator=generator,
        energy=float(energy.mean()),
        gradients=float(measured["gradients"]),
        seconds=float(measured["seconds"]),
        finding=found,
        path=saved.path,
        failed=saved.record.chains - len(saved.kept),
        person=person,
    )


def _avatars(saved: SavedRun) -> Tensor:
    """The pictures of the chains that did not fail.

    Raises:
        SpecError: If there are none, or they are no avatars.
    """
    if not saved.kept:
        raise SpecError(f"{saved.path}: every chain of this run failed; there is nothing to judge")
    images = saved.images[list(saved.kept)]
    if images.shape[2:] != (64, 64):
        raise SpecError(
            f"the pictures of '{saved.record.generator}' are no avatars of 64x64, so the judge cannot see them"
        )
    return images
