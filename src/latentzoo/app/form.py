"""From the fields of the page to a record, and from a record to the command line that makes the same pictures.

Nothing of a field is taken as the name of a file or of a module: generators, kinds of energies and uses of a picture
are chosen from lists, and their judges are the generators' own.
"""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from latentzoo import zoo
from latentzoo.app.limits import Limits
from latentzoo.errors import SpecError, UnknownName
from latentzoo.record import plain, spec

Term = spec.Term
PICTURES = "pictures"
"""The folder of the uploads, beside the runs."""


class Fields(NamedTuple):
    """What a page sends, as it comes over the network.

    Attributes:
        generator: One of the choices.
        texts: What the pictures should show, one text a line.
        attributes: Attributes in the words of the generator's judge, one a line.
        upload: A file that was uploaded; None for none.
        use: What the picture is for, one of `USES`.
        weight: The factor of all usual weights.
        chains: How many chains.
        steps: Gradients per chain.
        seed: The run's seed.
    """

    generator: Any
    texts: Any = ""
    attributes: Any = ""
    upload: Any = None
    use: Any = "the same face"
    weight: Any = 1.0
    chains: Any = 8
    steps: Any = 100
    seed: Any = 0


def _measured(operator: str, part: int = 1) -> Callable[[str, int], Term]:
    def term(path: str, side: int) -> Term:
        options = {"operator": operator, "sigma": 0.05, "size": [side // part] * 2}
        return Term(energy="measure", target=path, weight=1.0, options=options)

    return term


USES: Mapping[str, Callable[[str, int], Term] | None] = {
    "the same face": lambda path, side: Term(energy="identity", target=path),
    "chains start there": None,
    "its middle is missing": _measured("mask:box"),
    "its lower half is missing": _measured("mask:bottom"),
    "enlarge it four times": _measured("downsample:4", part=4),
    "give it colours": _measured("grey"),
}
"""What a picture can be for; None makes it the start."""


def asked(fields: Fields, limits: Limits, folder: Path, *, device: str = "auto") -> spec.Run:
    """Makes the record that a page asks for.

    Arguments:
        fields: What the page sent.
        limits: What the operator allows.
        folder: The folder of the runs.
        device: Where networks run.

    Raises:
        UnknownName: If a choice is not on its list.
        SpecError: If a field is beyond the limits, or the generator has no judge for it.
        ImageError: If the upload is no picture.
    """
    if fields.generator not in limits.choices:
        raise UnknownName("generator on this page", str(fields.generator), limits.choices)
    if fields.use not in USES:
        raise UnknownName("use of a picture", str(fields.use), USES)
    factor = fields.weight
    if not isinstance(factor, int | float) or not 0 < factor <= 100:
        raise SpecError(f"the weight is {factor}; give a factor above 0, and at most 100")
    terms = [Term(target=line) for line in _lines(fields.texts, limits)]
    terms += [Term(energy="attribute", target=line) for line in _lines(fields.attributes, limits)]
    terms, init = _pictured(terms, fields, limits, folder)
    judged = [_judged(term, fields.generator) for term in terms]
    return plain.parse(
        {
            "generator": fields.generator,
            "energies": [_builtin(term) for term in judged],
            "scale": None if factor == 1 or not judged else float(factor),
            "chains": limits.count("chains", fields.chains),
            "steps": limits.count("steps", fields.steps),
            "seed": int(fields.seed) if isinstance(fields.seed, int | float) else fields.seed,
            "init": init,
            "device": device,
        },
        source="this page",
    )


def _lines(given: Any, limits: Limits) -> list[str]:
    return [line.strip() for line in limits.text(given).splitlines() if line.strip()]


def _pictured(
    terms: list[Term], fields: Fields, limits: Limits, folder: Path
) -> tuple[list[Term], str | None]:
    if not fields.upload:
        return terms, None
    path = str(limits.picture(fields.upload, folder / PICTURES).resolve())
    made = USES[fields.use]
    if made is None:
        return terms, path
    return [*terms, made(path, zoo.card(fields.generator).resolution)], None


def _judged(term: Term, generator: str) -> Term:
    """The term with the judge that belongs to the generator; a measurement needs none."""
    judge = zoo.companion(generator, term.energy)
    if judge is None and term.energy != "measure":
        raise SpecError(
            f"'{generator}' has no judge of its own for {term.energy}; choose another generator"
        )
    return spec.replace(term, model=judge)


def _builtin(term: Term) -> dict[str, Any]:
    given = {name: getattr(term, name) for name in term.__struct_fields__}
    return {name: value for name, value in given.items() if value not in (None, {})}


def command_line(run: spec.Run) -> str:
    """The command that makes the pictures of a record again."""
    words = ["latentzoo", "sample", run.generator]
    for term in run.energies:
        words += ["--energy", _words(term)]
    for name in ("chains", "steps", "seed"):
        words += [f"--{name}", str(getattr(run, name))]
    for name in ("scale", "init", "plan"):
        if getattr(run, name) is not None:
            words += [f"--{name}", str(getattr(run, name))]
    return " ".join(shlex.quote(word) for word in words)


def _words(term: Term) -> str:
    options = {"model": term.model, **term.options}
    given = ", ".join(f"{key}={value}" for key, value in options.items() if value is not None)
    weight = "" if term.weight is None else f":{term.weight:g}"
    return f"{term.energy}{f'({given})' if given else ''}={term.target}{weight}"
