r"""Avatars: cartoon faces whose truth is known.

An avatar is thirteen discrete attributes :math:`a = (a_1, \dots, a_{13})`. They are drawn independently from the
tables in :data:`FREQUENCIES` and then made *visible*: what cannot be seen is not an attribute.

    | a hat, turban or hijab     hides the hair        hair = "hidden"
    | sunglasses                 hide the eyes         eyes = "hidden"
    | no hair in sight           has no colour         hair_color = "none"
    | no hat                     has no colour         hat_color = "none"
    | a hijab                    rules out a beard     facial_hair = "none"

Five attributes interact through these rules, two more through the second, and the other six are independent, so that
:math:`p(a)`, :math:`p(\text{text})` and :math:`p(a_i \mid \text{text})` are sums over small tables, exact and fast.

The values of the tables are what `latentzoo.builtin.drawing` draws them with: names of its parts, and colours.

References:
    | python-avatars (Ibrahim Berkay Ceylan, 2021), https://github.com/ibonn/python_avatars
    | Avataaars, artwork by Pablo Stanley (2017), https://avataaars.com
"""

import itertools
import random
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from functools import cache

import numpy as np

from latentzoo.errors import LatentzooError

SKIN = {
    "pale": "#FFDBB4",
    "light": "#EDB98A",
    "golden": "#F8D25C",
    "tanned": "#FD9841",
    "brown": "#D08B5B",
    "dark": "#AE5D29",
    "black": "#614335",
}
HAIR = {
    "bald": "NONE",
    "big": "BIG_HAIR",
    "bob": "BOB",
    "bun": "BUN",
    "caesar": "CAESAR",
    "curly": "CURLY",
    "dreads": "DREADS",
    "frizzle": "FRIZZLE",
    "afro": "FRO",
    "shoulder": "LONG_NOT_TOO_LONG",
    "fringe": "MIA_WALLACE",
    "mullet": "SHAGGY_MULLET",
    "shaggy": "SHAGGY",
    "short curly": "SHORT_CURLY",
    "short": "SHORT_FLAT",
    "waved": "SHORT_WAVED",
    "sides": "SIDES",
    "long": "STRAIGHT_1",
    "straight": "STRAIGHT_STRAND",
    "mohawk": "MOHAWK",
}
HAIR_COLOR = {
    "black": "#2C1B18",
    "brown": "#724133",
    "auburn": "#A55728",
    "red": "#D93A12",
    "blond": "#DDAF50",
    "platinum": "#ECDCBF",
    "gray": "#94959C",
    "pink": "#F27FA5",
}
FABRIC = {
    "red": "#E23B3B",
    "orange": "#F58A2B",
    "yellow": "#FFD530",
    "green": "#3FA65A",
    "blue": "#3B7DD8",
    "purple": "#8B5CC7",
    "pink": "#FF7FB0",
    "white": "#FFFFFF",
    "gray": "#929598",
    "black": "#262E33",
}
HAT = {
    "none": "",
    "brimmed": "HAT",
    "beanie": "WINTER_HAT_3",
    "trapper": "WINTER_HAT_1",
    "cat": "WINTER_HAT_4",
    "turban": "TURBAN",
    "hijab": "HIJAB",
}
GLASSES = {
    "none": "NONE",
    "round": "ROUND",
    "square": "PRESCRIPTION_2",
    "sunglasses": "SUNGLASSES",
    "wayfarers": "WAYFARERS",
    "white": "KURT",
}
FACIAL_HAIR = {
    "none": "NONE",
    "stubble": "BEARD_LIGHT",
    "beard": "BEARD_MEDIUM",
    "long beard": "BEARD_MAGESTIC",
    "fancy moustache": "MOUSTACHE_FANCY",
    "moustache": "MOUSTACHE_MAGNUM",
}
EYEBROWS = {
    "natural": "DEFAULT_NATURAL",
    "angry": "ANGRY_NATURAL",
    "raised": "RAISED_EXCITED_NATURAL",
    "sad": "SAD_CONCERNED_NATURAL",
    "unibrow": "UNIBROW_NATURAL",
}
EYES = {
    "open": "DEFAULT",
    "happy": "HAPPY",
    "squinting": "SQUINT",
    "surprised": "SURPRISED",
    "winking": "WINK",
    "sideways": "SIDE",
    "closed": "CLOSED",
    "hearts": "HEART",
}
MOUTH = {
    "smile": "TWINKLE",
    "laugh": "SMILE",
    "grin": "BIG_SMILE",
    "serious": "SERIOUS",
    "sad": "SAD",
    "shouting": "SCREAM_OPEN",
    "tongue": "TONGUE",
    "grimace": "GRIMACE",
}
CLOTHING = {
    "shirt": "SHIRT_CREW_NECK",
    "v-neck": "SHIRT_V_NECK",
    "hoodie": "HOODIE",
    "blazer": "BLAZER_SHIRT",
    "sweater": "COLLAR_SWEATER",
}
BACKGROUND = {
    "blue": "#D6E6F7",
    "green": "#D9F0DC",
    "yellow": "#FBF3CF",
    "pink": "#FADDE6",
    "purple": "#E6DDF5",
    "white": "#F7F7F7",
}

SUNGLASSES = frozenset({"sunglasses", "wayfarers", "white"})


def _frequencies(table: Mapping[str, str], **given: float) -> dict[str, float]:
    """The given probabilities; what is left is shared evenly by the other values of the table."""
    rest = (1 - sum(given.values())) / max(1, len(table) - len(given))
    return {value: given.get(value.replace(" ", "_"), rest) for value in table}


FREQUENCIES: dict[str, dict[str, float]] = {
    "skin": _frequencies(SKIN),
    "hair": _frequencies(HAIR),
    "hair_color": _frequencies(HAIR_COLOR, black=0.2, brown=0.2),
    "hat": _frequencies(HAT, none=0.56, brimmed=0.14, beanie=0.08, trapper=0.07, cat=0.07),
    "hat_color": _frequencies(FABRIC, yellow=0.14),
    "glasses": _frequencies(GLASSES, none=0.5, round=0.14, square=0.12, white=0.06),
    "facial_hair": _frequencies(FACIAL_HAIR, none=0.6),
    "eyebrows": _frequencies(EYEBROWS, natural=0.4),
    "eyes": _frequencies(EYES, open=0.3),
    "mouth": _frequencies(MOUTH, smile=0.2, laugh=0.15, grin=0.15),
    "clothing": _frequencies(CLOTHING),
    "clothing_color": _frequencies(FABRIC),
    "background": _frequencies(BACKGROUND),
}
"""How often each value is drawn, before the rules of visibility."""

GROUPS: tuple[tuple[str, ...], ...] = (
    ("hair", "hair_color", "hat", "hat_color", "facial_hair"),
    ("glasses", "eyes"),
    ("skin",),
    ("eyebrows",),
    ("mouth",),
    ("clothing",),
    ("clothing_color",),
    ("background",),
)
"""The attributes that depend on each other through visibility; the groups are independent."""

IDENTITY: tuple[str, ...] = ("skin", "hair", "hair_color", "facial_hair", "eyebrows")
"""The attributes that make a person the same one in every picture."""

Predicate = Mapping[str, frozenset[str]]
"""A conjunction: each named attribute is one of the given values."""


@dataclass(frozen=True, kw_only=True)
class Avatar:
    """The visible attributes of one face; each field is a key of the table of its name."""

    skin: str
    hair: str
    hair_color: str
    hat: str
    hat_color: str
    glasses: str
    facial_hair: str
    eyebrows: str
    eyes: str
    mouth: str
    clothing: str
    clothing_color: str
    background: str

    def satisfies(self, predicate: Predicate) -> bool:
        """Whether every attribute that the predicate names has one of the values it allows."""
        return all(getattr(self, name) in values for name, values in predicate.items())

    def indices(self) -> list[int]:
        """The index of each attribute in :data:`VALUES`, in the order of the fields."""
        return [
            VALUES[name].index(value) for name, value in zip(NAMES, astuple(self), strict=True)
        ]


def visible(values: Mapping[str, str]) -> dict[str, str]:
    """The attributes that can be seen; one group of :data:`GROUPS` may be given alone."""
    seen = dict(values)
    if "hat" in seen:
        if seen["hat"] == "hijab":
            seen["facial_hair"] = "none"
        if seen["hat"] == "none":
            seen["hat_color"] = "none"
        else:
            seen["hair"] = "hidden"
        if seen["hair"] in ("hidden", "bald") and seen["facial_hair"] == "none":
            seen["hair_color"] = "none"
    if seen.get("glasses") in SUNGLASSES:
        seen["eyes"] = "hidden"
    return seen


NAMES: tuple[str, ...] = tuple(field.name for field in fields(Avatar))
HIDDEN = {"hair": "hidden", "hair_color": "none", "hat_color": "none", "eyes": "hidden"}
VALUES: dict[str, tuple[str, ...]] = {
    name: (*FREQUENCIES[name], *((HIDDEN[name],) if name in HIDDEN else ())) for name in NAMES
}
"""The values that each attribute of a visible avatar can have."""


def _values(stream: str) -> dict[str, str]:
    choices = random.Random(stream).choices
    return {n: choices(list(table), list(table.values()))[0] for n, table in FREQUENCIES.items()}


def drawn(seed: int, index: int) -> dict[str, str]:
    """What is drawn for the avatar number `index` of the stream `seed`, before some of it is hidden."""
    return _values(f"avatar {seed} {index}")


def draw(seed: int, index: int) -> Avatar:
    """The avatar number `index` of the stream `seed`: the same one on every machine."""
    return Avatar(**visible(drawn(seed, index)))


def portrait(seed: int, person: int, index: int) -> Avatar:
    """The picture number `index` of a person: the attributes in :data:`IDENTITY` stay, the others vary; no hat."""
    always, now = _values(f"person {seed} {person}"), _values(f"portrait {seed} {person} {index}")
    return Avatar(**visible({**now, **{name: always[name] for name in IDENTITY}, "hat": "none"}))


@cache
def _joint(group: tuple[str, ...]) -> dict[tuple[str, ...], float]:
    """The exact probability of each combination of visible values in a group."""
    joint: dict[tuple[str, ...], float] = {}
    for items in itertools.product(*(FREQUENCIES[name].items() for name in group)):
        weight = float(np.prod([probability for _, probability in items]))
        seen = visible(dict(zip(group, (value for value, _ in items), strict=True)))
        key = tuple(seen[name] for name in group)
        joint[key] = joint.get(key, 0.0) + weight
    return joint


@cache
def _table(group: tuple[str, ...], names: tuple[str, ...]) -> dict[tuple[str, ...], float]:
    """The exact probability of each combination of values of some attributes of a group."""
    table: dict[tuple[str, ...], float] = {}
    places = [group.index(name) for name in names]
    for key, weight in _joint(group).items():
        part = tuple(key[place] for place in places)
        table[part] = table.get(part, 0.0) + weight
    return table


def probability(predicate: Predicate) -> float:
    """The exact probability that a drawn avatar satisfies the predicate."""
    result = 1.0
    for group in GROUPS:
        names = tuple(name for name in group if name in predicate)
        result *= sum(
            weight
            for key, weight in _table(group, names).items()
            if all(value in predicate[name] for name, value in zip(names, key, strict=True))
        )
    return result


def marginals(predicate: Predicate | None = None) -> dict[str, dict[str, float]]:
    """The exact frequencies of each attribute's values, given the predicate.

    Raises:
        LatentzooError: The predicate has probability zero, so that nothing can be said given it.
    """
    predicate = predicate or {}
    result: dict[str, dict[str, float]] = {
        name: dict.fromkeys(VALUES[name], 0.0) for name in NAMES
    }
    for group in GROUPS:
        allowed = [
            (key, weight)
            for key, weight in _joint(group).items()
            if all(v in predicate.get(n, VALUES[n]) for n, v in zip(group, key, strict=True))
        ]
        total = sum(weight for _, weight in allowed)
        if total == 0:
            raise LatentzooError(
                "no avatar has these attributes, so there are no frequencies given them; "
                "relax the text"
            )
        for key, weight in allowed:
            for name, value in zip(group, key, strict=True):
                result[name][value] += weight / total
    return {name: result[name] for name in NAMES}
