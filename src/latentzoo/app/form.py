"""From the fields of the page to a record, and from a record to the command line that makes the same pictures.

Nothing of a field is taken as the name of a file or of a module: generators, kinds of energies and uses of a picture
are chosen from lists, and their judges are the generators' own.
"""

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from latentzoo import zoo
from latentzoo.app import paint
from latentzoo.app.limits import Limits, kept
from latentzoo.errors import SpecError, UnknownName
from latentzoo.record import plain, spec, words

Term = spec.Term
NEAR = "mala"
"""The kernel by which chains leave a picture: it tests every step, and its steps are of one small size."""
PICTURES = "pictures"
"""The folder of the uploads, beside the runs."""


class Fields(NamedTuple):
    """What a page sends, as it comes over the network.

    Attributes:
        generator: One of the choices.
        prompt: What a text-to-image pipeline should show.
        texts: What the pictures should show, one text a line; a number after a colon is its weight.
        attributes: Attributes in the words of the generator's judge, one a line, with weights as texts.
        rewarded: Whether pictures are wanted that people would choose for the prompt.
        upload: A file that was uploaded; None for none.
        use: What the picture is for, one of `USES`.
        painted: What was painted over the picture; see `paint`.
        weight: The factor of all weights.
        nats: The strength of the guidance in nats, which finds the factor; 0 for none.
        chains: How many chains.
        steps: Gradients per chain.
        seed: The run's seed.
    """

    generator: Any
    prompt: Any = ""
    texts: Any = ""
    attributes: Any = ""
    rewarded: Any = False
    upload: Any = None
    use: Any = "the same face"
    painted: Any = None
    weight: Any = 1.0
    nats: Any = 0
    chains: Any = 8
    steps: Any = 100
    seed: Any = 0


def _measured(operator: str | None, part: int = 1) -> Callable[[str, int], Term]:
    def term(path: str, side: int) -> Term:
        options = {"operator": operator, "sigma": 0.05, "size": [side // part] * 2}
        return Term(energy="measure", target=path, weight=1.0, options=_said(options))

    return term


PAINTED = "what is painted over is missing"
USES: Mapping[str, Callable[[str, int], Term] | None] = {
    "the same face": lambda path, side: Term(energy="identity", target=path),
    "chains start there": None,
    PAINTED: _measured(None),
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
    chosen(fields, limits)
    factor, nats = limits.number("weight", fields.weight), limits.nats(fields.nats)
    prompt = limits.text(fields.prompt)
    terms = [_weighed(line, "clip") for line in _lines(fields.texts, limits)]
    terms += [_weighed(line, "attribute") for line in _lines(fields.attributes, limits)]
    if prompt and fields.rewarded is True:
        terms.append(Term(energy="reward"))  # it rates for the generator's prompt
    terms, init = _pictured(terms, fields, limits, folder)
    judged = [_judged(term, fields.generator, limits) for term in terms]
    scaled = {"strength": nats} if nats else {"scale": None if factor == 1 else factor}
    return plain.parse(
        {
            "generator": fields.generator,
            "options": {**limits.options, **({"prompt": prompt} if prompt else {})},
            "energies": [_told(term) for term in judged],
            **(scaled if judged else {}),
            "chains": limits.count("chains", fields.chains),
            "steps": limits.count("steps", fields.steps),
            "seed": int(fields.seed) if isinstance(fields.seed, int | float) else fields.seed,
            "init": init,
            "device": device,
        },
        source="this page",
    )


def near(run: spec.Run, init: str, *, chains: int, steps: int, seed: int) -> spec.Run:
    """The record of a run whose chains begin at one latent, by a kernel that anneals nothing."""
    return spec.replace(
        run,
        init=init,
        kernel=spec.KernelSettings(name=NEAR),
        **{"chains": chains, "steps": steps, "seed": seed},
        **{"plan": None, "tries": None, "schedule": None, "best": None, "stream": 0, "record": {}},
    )


def chosen(fields: Fields, limits: Limits) -> None:
    """Checks what is chosen from lists.

    Raises:
        UnknownName: If a choice is not on its list.
    """
    if fields.generator not in limits.choices:
        raise UnknownName("generator on this page", str(fields.generator), limits.choices)
    if fields.use not in USES:
        raise UnknownName("use of a picture", str(fields.use), USES)


def canvas(fields: Fields, limits: Limits, folder: Path) -> str:
    """The upload with a canvas to paint over it, as HTML; "" if it is for something else.

    Raises:
        LatentzooError: If it is no picture, or the generator does not tell its size.
    """
    chosen(fields, limits)
    if not fields.upload:
        return ""
    path = limits.picture(fields.upload, folder / PICTURES)
    return paint.canvas(path, side(fields.generator)) if fields.use == PAINTED else ""


def side(generator: str) -> int:
    """How many pixels wide a generator's pictures are, by its card.

    Raises:
        SpecError: If it has none.
    """
    try:
        return zoo.card(generator).resolution
    except UnknownName:
        raise SpecError(
            f"'{generator}' has no card that tells its size, so a picture cannot be measured; take another use of it"
        ) from None


def _lines(given: Any, limits: Limits) -> list[str]:
    return [line.strip() for line in limits.text(given).splitlines() if line.strip()]


def _weighed(line: str, energy: str) -> Term:
    target, weight = words.weighed(line)
    return Term(energy=energy, target=target.strip(), weight=weight)


def _pictured(
    terms: list[Term], fields: Fields, limits: Limits, folder: Path
) -> tuple[list[Term], str | None]:
    if not fields.upload:
        return terms, None
    path, made = limits.picture(fields.upload, folder / PICTURES).resolve(), USES[fields.use]
    if made is None:
        return terms, str(path)
    if fields.use == PAINTED:
        path = kept(paint.holed(path, fields.painted, side(fields.generator), limits), path.parent)
    measures = fields.use != next(iter(USES))
    return [*terms, made(str(path), side(fields.generator) if measures else 0)], None


def _judged(term: Term, generator: str, limits: Limits) -> Term:
    """The term with the judge that belongs to the generator, or that the operator names; a measurement needs none."""
    judge = zoo.companion(generator, term.energy) or limits.judges.get(term.energy)
    if judge is None and term.energy != "measure":
        raise SpecError(
            f"'{generator}' has no judge of its own for {term.energy}; choose another generator, or have the operator "
            f"name one: --judge {term.energy}=NETWORK"
        )
    return spec.replace(term, model=judge)


def _told(term: Term) -> dict[str, Any]:
    return _said({name: getattr(term, name) for name in term.__struct_fields__})


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value not in (None, {})}


def command_line(run: spec.Run) -> str:
    """The command that makes the pictures of a record again."""
    said = ["latentzoo", "sample", run.generator]
    for term in run.energies:
        said += ["--energy", _words(term)]
    for name, value in run.options.items():
        said += ["--prompt", value] if name == "prompt" else ["--option", f"{name}={value}"]
    if run.kernel.name != spec.KernelSettings().name:
        said += ["--kernel", run.kernel.name]
    for name in ("chains", "steps", "seed", "scale", "init", "plan"):
        if getattr(run, name) is not None:
            said += [f"--{name}", str(getattr(run, name))]
    if run.strength is not None:
        said += ["--strength", f"{run.strength:g}nats"]
    return " ".join(shlex.quote(word) for word in said)


def _words(term: Term) -> str:
    options = {"model": term.model, **term.options}
    given = ", ".join(f"{key}={value}" for key, value in options.items() if value is not None)
    weight = "" if term.weight is None else f":{term.weight:g}"
    return f"{term.energy}{f'({given})' if given else ''}={term.target}{weight}"
