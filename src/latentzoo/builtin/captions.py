r"""Captions: what can be said about an avatar, and when it is true.

A caption is a subject, perhaps with words before it, and things it has or lacks:

    caption  = [manner] subject {("with" | "wearing") things} {"without" thing} [setting]
    subject  = "a person" | "someone" | "a face" | ...
    thing    = "round glasses" | "a yellow hat" | "red hair" | "a beard" | ...

Every thing and manner is a *notion*: phrases, and the predicate over attributes that they assert. A caption is the
conjunction of its notions, a negated notion asserts that its predicate is false. :func:`describe` says something true,
:func:`parse` reads a text back, so that what a text means can be counted exactly.
"""

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from latentzoo.builtin.avatars import (
    FABRIC,
    HAIR,
    HAIR_COLOR,
    SUNGLASSES,
    VALUES,
    Avatar,
    Predicate,
)


@dataclass(frozen=True, kw_only=True)
class Notion:
    """A thing that can be said of an avatar.

    Arguments:
        where: The predicate it asserts.
        have: Phrases after "with" or "without", articles left out of the parser's sight: "a hat".
        be: Phrases before the subject: "smiling".
        absent: The predicate of its negation; None if the negation is never said.
    """

    where: Predicate
    have: tuple[str, ...] = ()
    be: tuple[str, ...] = ()
    absent: Predicate | None = None


def _is(**values: str | Iterable[str]) -> dict[str, frozenset[str]]:
    return {k: frozenset([v] if isinstance(v, str) else v) for k, v in values.items()}


def _not(**values: str | Iterable[str]) -> dict[str, frozenset[str]]:
    return {k: frozenset(VALUES[k]) - v for k, v in _is(**values).items()}


HATS = {
    ("brimmed", "beanie", "trapper", "cat"): ("hat", "cap"),
    ("brimmed",): ("brimmed hat", "wide hat", "sun hat"),
    ("beanie", "cat"): ("beanie", "woolly hat"),
    ("trapper",): ("winter hat", "trapper hat"),
    ("cat",): ("cat hat", "hat with ears"),
    ("turban",): ("turban",),
    ("hijab",): ("hijab", "headscarf"),
}
HAIRS = {
    tuple(h for h in HAIR if h != "bald"): ("hair",),
    ("big", "dreads", "shoulder", "long", "straight"): ("long hair",),
    ("caesar", "short", "short curly", "waved", "sides", "frizzle"): ("short hair",),
    ("afro", "curly", "short curly"): ("curly hair",),
    ("straight", "long", "shoulder"): ("straight hair",),
    ("afro", "curly"): ("an afro", "big curly hair"),
    ("bob", "fringe"): ("a bob", "a bob haircut"),
    ("bun",): ("a bun", "hair in a bun"),
    ("mohawk",): ("a mohawk",),
    ("dreads",): ("dreadlocks", "dreads"),
    ("mullet",): ("a mullet",),
    ("shaggy", "mullet"): ("shaggy hair", "messy hair"),
    ("frizzle", "waved"): ("a quiff",),
}
COLOR_WORDS = {
    "blond": ("blond", "platinum"),
    "blonde": ("blond", "platinum"),
    "platinum": ("platinum",),
    "dark": ("black", "brown"),
    "grey": ("gray",),
    "ginger": ("red", "auburn"),
    **{c: (c,) for c in HAIR_COLOR if c not in ("blond", "platinum")},
}
BEARDS = ("stubble", "beard", "long beard")
MOUSTACHES = ("fancy moustache", "moustache")


def _article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def _hats() -> Iterator[Notion]:
    for kinds, words in HATS.items():
        absent = _not(hat=kinds)
        yield Notion(where=_is(hat=kinds), have=tuple(map(_article, words)), absent=absent)
        for color in FABRIC:
            phrases = tuple(_article(f"{color} {word}") for word in words)
            yield Notion(where=_is(hat=kinds, hat_color=color), have=phrases)


def _hair() -> Iterator[Notion]:
    for styles, words in HAIRS.items():
        absent = None if words == ("hair",) else _not(hair=styles)
        yield Notion(where=_is(hair=styles), have=words, absent=absent)
    for word, colors in COLOR_WORDS.items():
        for styles, nouns in HAIRS.items():
            if nouns[0] in ("hair", "long hair", "short hair", "curly hair"):
                phrase = nouns[0].replace("hair", f"{word} hair")
                yield Notion(where=_is(hair=styles, hair_color=colors), have=(phrase,))
        for kinds, nouns in ((BEARDS, ("beard",)), (MOUSTACHES, ("moustache", "mustache"))):
            phrases = tuple(f"a {word} {noun}" for noun in nouns)
            yield Notion(where=_is(facial_hair=kinds, hair_color=colors), have=phrases)
    bald = _is(hair="bald")
    yield Notion(where=bald, have=("a bald head",), be=("bald",), absent=_not(hair="bald"))


def _beard() -> Iterator[Notion]:
    for kinds, words in {
        BEARDS: ("a beard",),
        ("stubble",): ("a light beard", "a short beard"),
        ("long beard",): ("a long beard", "a big beard"),
        MOUSTACHES: ("a moustache", "a mustache"),
        ("fancy moustache",): ("a fancy moustache", "a curled moustache"),
        (*BEARDS, *MOUSTACHES): ("facial hair",),
    }.items():
        yield Notion(where=_is(facial_hair=kinds), have=words, absent=_not(facial_hair=kinds))
    yield Notion(
        where=_is(facial_hair="none"), have=("a clean-shaven face",), be=("clean-shaven",)
    )


def _glasses() -> Iterator[Notion]:
    kinds_of_glasses = {
        tuple(v for v in VALUES["glasses"] if v != "none"): ("glasses", "eyeglasses"),
        tuple(sorted(SUNGLASSES)): ("sunglasses", "dark glasses", "shades"),
        ("round",): ("round glasses",),
        ("square",): ("square glasses", "black glasses"),
        ("white",): ("white sunglasses", "white glasses"),
        ("sunglasses", "wayfarers"): ("black sunglasses",),
    }
    for kinds, words in kinds_of_glasses.items():
        yield Notion(where=_is(glasses=kinds), have=words, absent=_not(glasses=kinds))


def _skin() -> Iterator[Notion]:
    for word, skins in {
        "pale": ("pale",),
        "light": ("pale", "light"),
        "dark": ("dark", "black"),
        "black": ("black",),
        "brown": ("brown", "dark"),
        "tanned": ("tanned",),
        "orange": ("tanned",),
        "golden": ("golden",),
        "yellow": ("golden",),
    }.items():
        be = (f"{word}-skinned",) if word in ("pale", "dark", "tanned", "golden") else ()
        yield Notion(where=_is(skin=skins), have=(f"{word} skin",), be=be, absent=_not(skin=skins))


def _expression() -> Iterator[Notion]:
    for mouths, have, be in (
        (("smile", "laugh", "grin"), ("a smile",), ("smiling", "happy")),
        (("laugh", "grin"), ("a big smile", "a laughing mouth"), ("laughing", "grinning")),
        (("serious",), ("a serious mouth",), ("serious",)),
        (("sad",), ("a sad mouth",), ("frowning",)),
        (("shouting",), ("an open mouth",), ("shouting", "screaming")),
        (("tongue",), ("the tongue out", "a tongue sticking out"), ()),
        (("grimace",), ("bared teeth", "a grimace"), ("grimacing",)),
    ):
        yield Notion(where=_is(mouth=mouths), have=have, be=be, absent=_not(mouth=mouths))
    for eyes, have, be in (
        ("happy", ("happy eyes",), ()),
        ("squinting", ("squinting eyes",), ("squinting",)),
        ("surprised", ("wide eyes", "surprised eyes"), ("surprised",)),
        ("winking", ("a winking eye",), ("winking",)),
        ("closed", ("closed eyes",), ()),
        ("hearts", ("heart eyes", "hearts for eyes"), ("loving",)),
        ("sideways", ("eyes looking aside",), ()),
    ):
        yield Notion(where=_is(eyes=eyes), have=have, be=be)
    yield Notion(where=_is(eyebrows="angry"), have=("angry eyebrows",), be=("angry",))
    yield Notion(where=_is(eyebrows="sad"), have=("sad eyebrows",), be=("worried",))
    yield Notion(where=_is(eyebrows="raised"), have=("raised eyebrows",))
    yield Notion(
        where=_is(eyebrows="unibrow"), have=("a unibrow",), absent=_not(eyebrows="unibrow")
    )


def _clothes() -> Iterator[Notion]:
    for kinds, word in {
        ("shirt", "v-neck"): "shirt",
        ("hoodie",): "hoodie",
        ("blazer",): "blazer",
        ("sweater",): "sweater",
    }.items():
        yield Notion(where=_is(clothing=kinds), have=(f"a {word}",), absent=_not(clothing=kinds))
        for color in FABRIC:
            where = _is(clothing=kinds, clothing_color=color)
            yield Notion(where=where, have=(_article(f"{color} {word}"),))
    for color in VALUES["background"]:
        phrases = (f"a {color} background", f"a pale {color} background")
        yield Notion(where=_is(background=color), have=phrases)


FAMILIES: dict[str, tuple[Notion, ...]] = {
    "hat": tuple(_hats()),
    "hair": tuple(_hair()),
    "beard": tuple(_beard()),
    "glasses": tuple(_glasses()),
    "skin": tuple(_skin()),
    "expression": tuple(_expression()),
    "clothes": tuple(_clothes()),
}
NOTIONS: tuple[Notion, ...] = tuple(n for family in FAMILIES.values() for n in family)

SUBJECTS = (
    "a person",
    "someone",
    "a face",
    "an avatar",
    "a cartoon face",
    "a human",
    "a character",
)
OPENINGS = ("", "", "", "", "a picture of ", "a portrait of ", "a drawing of ", "a photo of ")
HAVING = ("with", "with", "wearing", "having", "who has")
LACKING = ("without", "with no", "who has no")
NEGATIONS = frozenset({"without", "no", "not"})
ASSERTIONS = frozenset({"with", "wearing", "having", "has", "who", "but"})
"""Words that end a negation: "without glasses and with a hat" has a hat."""


def words(text: str) -> list[str]:
    """The words of a text: lower case, letters and hyphens."""
    return re.findall(r"[a-z]+(?:-[a-z]+)*", text.lower())


def _bare(phrase: str) -> tuple[str, ...]:
    return tuple(w for w in words(phrase) if w not in ("a", "an", "the"))


@cache
def phrases() -> dict[tuple[str, ...], Notion]:
    """Every phrase, articles left out, with its notion."""
    return {_bare(p): notion for notion in NOTIONS for p in (*notion.have, *notion.be)}


@cache
def vocabulary() -> tuple[str, ...]:
    """Every word that the grammar can say, in alphabetical order."""
    said = [p for notion in NOTIONS for p in (*notion.have, *notion.be)]
    said += [*SUBJECTS, *OPENINGS, *HAVING, *LACKING, "and or but also not in front of on the"]
    return tuple(sorted({word for phrase in said for word in words(phrase)}))


def parse(text: str) -> dict[str, frozenset[str]]:
    """The predicate that a text asserts: what each attribute it speaks about may be.

    A negation reaches up to the next "with", "wearing", "has" or "but". Words that are no phrase are passed over.
    """
    table, longest = phrases(), max(map(len, phrases()))
    left = [w for w in words(text) if w not in ("a", "an", "the")]
    result: dict[str, frozenset[str]] = {}
    negated, at = False, 0
    while at < len(left):
        spans = (tuple(left[at : at + n]) for n in range(longest, 0, -1))
        found = next((span for span in spans if span in table), None)
        if found is None:
            negated = left[at] in NEGATIONS or (negated and left[at] not in ASSERTIONS)
            at += 1
            continue
        notion = table[found]
        where = notion.where if not negated else _complement(notion)
        for name, values in where.items():
            result[name] = result.get(name, frozenset(VALUES[name])) & values
        at += len(found)
    return result


def _complement(notion: Notion) -> Predicate:
    if notion.absent is not None:
        return notion.absent
    name = list(notion.where)[-1]
    return {name: frozenset(VALUES[name]) - notion.where[name]}


def describe(
    avatar: Avatar,
    stream: random.Random,
    *,
    counts: tuple[int, ...] = (4, 5, 2, 1),
    positive: float = 0.78,
    colors: int = 1,
) -> str:
    """A true caption of an avatar in one of many phrasings, chosen by a stream.

    Arguments:
        counts: How often it has 1, 2, ... notions, at most seven.
        positive: The probability that a notion is asserted, not negated.
        colors: How many times as often a notion that names a colour is chosen as another true one.
    """
    have, lack, be = [], [], []
    order = stream.sample([*FAMILIES], k=stream.choices(range(1, len(counts) + 1), counts)[0])
    for family in order:
        asserted = stream.random() < positive
        true = _true(FAMILIES[family], avatar, asserted, colors)
        if not true:
            continue
        notion = stream.choice(true)
        if not asserted:
            lack.append(stream.choice(notion.have))
        elif notion.be and not be and stream.random() < 0.6:
            be.append(stream.choice(notion.be))
        elif notion.have:
            have.append(stream.choice(notion.have))
    subject = stream.choice(SUBJECTS)
    if be:
        noun = subject.split(" ", 1)[-1] if " " in subject else "person"
        subject = _article(f"{be[0]} {noun}")
    text = stream.choice(OPENINGS) + subject
    if have:
        text += f" {stream.choice(HAVING)} {_list(have, stream)}"
    if lack:
        plain = [phrase.removeprefix("a ").removeprefix("an ") for phrase in lack]
        lacking = stream.choice(LACKING)
        shown = lack if lacking == "without" and stream.random() < 0.5 else plain
        text += (
            f"{stream.choice([' ', ' and ', ' but ']) if have else ' '}{lacking} "
            + " or ".join(shown)
        )
    return text


def _true(notions: Iterable[Notion], avatar: Avatar, asserted: bool, colors: int) -> list[Notion]:
    """The notions that can be asserted, or negated, of an avatar; those that name a colour so many times."""
    where = lambda n: n.where if asserted else n.absent or {"skin": frozenset()}
    times = lambda n: colors if any(name.endswith("_color") for name in n.where) else 1
    return [n for n in notions if avatar.satisfies(where(n)) for _ in range(times(n))]


def _list(things: list[str], stream: random.Random) -> str:
    if len(things) < 3 or stream.random() < 0.3:
        return " and ".join(things)
    return ", ".join(things[:-1]) + " and " + things[-1]
