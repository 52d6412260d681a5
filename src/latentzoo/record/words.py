"""What people write on the command line, read as parts of a record; and names of folders, made of words."""

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import yaml

from latentzoo import markup
from latentzoo.errors import SpecError
from latentzoo.guides import networks
from latentzoo.record.spec import Term

KIND = re.compile(r"(?P<kind>[^=(]*)(\((?P<options>[^()]*)\))?=(?P<target>.*)", re.DOTALL)
KEY = re.compile(r"\w+(\.\w+)*")
PLAIN = re.compile(r"[a-z0-9-]+( [a-z0-9-]+)*")
BETWEEN = re.compile(r",\s*(?=\w+\s*=)")


def term(words: str, *, energy: str = "clip", weight: float | None = None) -> Term:
    """Reads an energy: `TARGET[:WEIGHT]`, or, where `energy` is empty,
    `KIND=TARGET[:WEIGHT]` or `KIND(KEY=VALUE, ...)=TARGET[:WEIGHT]`, whose target may be empty: that is
    the generator's prompt. A target that names a network of the kind is its model, and the prompt is
    the target: `reward=hpsv2:HPS_v2.1_compressed.pt:500`, `reward=pickscore`.

    The keys are `model`, `name` and the options of the kind: `measure(operator=grey, sigma=0.2)=y.png:1`.

    The weight is what follows the last colon if that is a number; a target that ends in a colon
    and a number is written with its weight, "a clock at 10:30:500".

    Raises:
        SpecError: If the kind, the target, or the model of a key is missing, or the weight is negative.
    """
    given: dict[str, Any] = {}
    target, weight = weighed(words, weight)
    if not energy:
        found = KIND.fullmatch(target)
        if found is None:
            raise SpecError(
                f"the energy '{words}' is no KIND=TARGET[:WEIGHT] or KIND(KEY=VALUE)=TARGET[:WEIGHT]; write e.g. "
                "attribute=hat_color=yellow:30"
            )
        energy, target = found["kind"].strip(), found["target"]
        given = _given(found["options"] or "", words)
    elif not target.strip():
        raise SpecError(
            f"the energy '{words}' has no target; write TARGET[:WEIGHT], e.g. \"a yellow hat:500\""
        )
    own = {key: str(given.pop(key) or "") for key in ("model", "name") if key in given}
    if empty := next((key for key, value in own.items() if not value.strip()), None):
        raise SpecError(
            f"the {empty} of the energy '{words}' is empty; write one, or leave it out"
        )
    if "model" not in own and _names_network(energy, target):
        own, target = {**own, "model": target}, ""
    return Term(energy=energy, target=target, weight=weight, options=given, **own)


def weighed(words: str, weight: float | None = None) -> tuple[str, float | None]:
    """A target and its weight: what follows the last colon if that is a number, else `weight`.

    Raises:
        SpecError: If the weight is missing behind its colon, negative or infinite.
    """
    target, colon, tail = words.rpartition(":")
    if colon and not tail.strip():
        raise SpecError(
            f"'{words}' ends in a colon without a weight; write the weight behind it, '{words.rstrip()}500', or "
            "leave the colon out"
        )
    try:
        target, weight = (target, markup.number(tail)) if colon else (words, weight)
    except ValueError:
        target = words
    if weight is not None and not 0 <= weight < float("inf"):
        raise SpecError(
            f"the weight {weight:g} of '{target}' is not allowed; give a finite number that is not negative"
        )
    return target, weight


def nats(text: str) -> float:
    """Reads a strength: `12nats`, or the number alone.

    Raises:
        SpecError: If it is none, or not above 0.
    """
    try:
        value = markup.number(text.strip().removesuffix("nats"))
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise SpecError(
            f"the strength '{text.strip()}' is not an amount of information; write e.g. 12nats"
        )
    return value


def _names_network(energy: str, target: str) -> bool:
    """Whether a target is no text but the name of a network of this kind, or "KIND:PATH" of one."""
    names = networks.of_kind(energy)
    kinds = {name.partition(":")[0] for name in names if ":" in name}
    return target in names or (":" in target and target.partition(":")[0] in kinds)


def _given(options: str, words: str) -> dict[str, Any]:
    """The options in the parentheses of a kind."""
    pairs = [pair for pair in BETWEEN.split(options.strip()) if pair]
    source = f" of the energy '{words}'"
    return table(pairs, source=source, example="measure(sigma=0.2)=y.png:1")


def table(pairs: Iterable[str], *, source: str = "", example: str) -> dict[str, Any]:
    """Reads options `KEY=VALUE`, whose values are YAML.

    Arguments:
        pairs: The options.
        source: Whose they are, for errors, e.g. " of the kernel".
        example: How to write one, for errors.

    Raises:
        SpecError: If one is not of this form, or given twice.
    """
    read = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or KEY.fullmatch(key.strip()) is None:
            raise SpecError(f"the option '{pair}'{source} is no KEY=VALUE; write e.g. {example}")
        if key.strip() in read:
            raise SpecError(f"the option '{key.strip()}'{source} is given twice; leave one out")
        try:
            read[key.strip()] = markup.load(value)
        except (yaml.YAMLError, markup.TwiceError):
            raise SpecError(
                f"the value '{value}' of the option '{key.strip()}'{source} cannot be read; put it in quotes"
            ) from None
    return read


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
