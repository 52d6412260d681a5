"""YAML as people mean it: each key of a table once, and numbers as Python and JSON spell them.

YAML 1.1, which PyYAML reads, takes 1e-3 for a text, 12:30 for 750, 010 for 8 and 2026-01-01 for a day. Here 1e-3 and
010 are numbers, and what has a colon or two hyphens is a text. What is written is read alike by both.
"""

import re
from typing import Any

import yaml

NUMBERS = {
    "int": re.compile(r"([-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+)\Z"),
    "float": re.compile(
        r"([-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"
    ),
}
TAG = "tag:yaml.org,2002:"
OTHERWISE = {TAG + kind for kind in (*NUMBERS, "timestamp")}
"""What YAML 1.1 reads in its own way."""


class TwiceError(ValueError):
    """A key that a table has twice; `args` are the key and the line of the second, from 1."""

    def __str__(self) -> str:
        key, line = self.args
        return f"the key '{key}' is here twice, in line {line} again"


class _Quick(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # pyright: ignore[reportGeneralTypeIssues]
    """Creates a loader that is quick, and takes the last of two keys."""


class _Once(yaml.SafeLoader):
    """Creates a loader that looks at keys where tables are composed, before `<<` brings in those of others."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """One table.

        Raises:
            TwiceError: If it has a key twice.
        """
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise TwiceError(key.value, key.start_mark.line + 1)
                seen.add((key.tag, key.value))
        return node


class _Dumper(yaml.SafeDumper):
    """Creates a writer that puts into quotes what either way of reading would take for a number."""


def _whole(loader: Any, node: yaml.ScalarNode) -> int:
    """A whole number; one with zeros before it is in tens, too."""
    text = node.value.replace("_", "")
    return int(text, 16 if text.startswith("0x") else 10)


for _class in (_Quick, _Once):
    _class.add_constructor(f"{TAG}int", _whole)
    _class.yaml_implicit_resolvers = {
        first: [(tag, known) for tag, known in kinds if tag not in OTHERWISE]
        for first, kinds in _class.yaml_implicit_resolvers.items()
    }
for _class in (_Quick, _Once, _Dumper):
    for _kind, _known in NUMBERS.items():
        _class.add_implicit_resolver(TAG + _kind, _known, list("-+.0123456789"))


def load(text: str, *, quick: bool = False) -> Any:
    """The plain data of a YAML text.

    Arguments:
        text: The text.
        quick: Whether it is ours, and known to have no key twice.

    Raises:
        TwiceError: If a table of it has a key twice.
        yaml.YAMLError: If it is no YAML.
    """
    return yaml.load(text, _Quick if quick else _Once)


def dump(data: Any) -> str:
    """Plain data as YAML, keys in their order."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def number(text: str) -> float:
    """A number as Python spells it, or YAML, which writes infinity and NaN with a dot.

    Raises:
        ValueError: If it is none.
    """
    return float(re.sub(r"(?i)^(\s*[+-]?)\.(?=(inf|nan)\s*$)", r"\1", text))
