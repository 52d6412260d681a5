"""YAML whose tables have each key once: of two, a reader that takes the last drops the other in silence."""

from typing import Any

import yaml


class TwiceError(ValueError):
    """A key that a table has twice; `args` are the key and the line of the second, from 1."""


class _Loader(yaml.SafeLoader):
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


def load(text: str) -> Any:
    """The plain data of a YAML text.

    Raises:
        TwiceError: If a table of it has a key twice.
        yaml.YAMLError: If it is no YAML.
    """
    return yaml.load(text, _Loader)
