"""Key maps: the names of a checkpoint, declared as data.

A rule `theirs -> ours [: pattern]` renames every tensor whose name matches the left template. `{x}` stands for one
dotted segment or a part of it, `{x*}` for any number of segments; the pattern is an einops rearrangement
("1 o i h w -> o i h w"). The first rule that matches wins.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import torch
from einops import rearrange
from torch import Tensor

from latentzoo.errors import CheckpointError

Value = TypeVar("Value", bound=Tensor)
LARGEST = 2**28
"""How many numbers a sparse tensor may stand for that is looked at before its shape is known to be right."""


@dataclass(frozen=True)
class Rule:
    """Creates a rule for the tensors whose name matches a template.

    Arguments:
        theirs: The template of the file's names, e.g. "convs.{i}.conv.weight".
        ours: The template of our names, or `None` for a tensor that the code rebuilds and does not load.
        pattern: An einops pattern for the layout, if it differs.
        known: Whether a tensor is the one that the code rebuilds; None for one that is not compared.
    """

    theirs: str
    ours: str | None
    pattern: str | None = None
    known: Callable[[Tensor], bool] | None = None

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The pattern of the other names, with a group for each placeholder."""
        parts = re.split(r"(\{\w+\*?\})", self.theirs)
        fill = lambda name: f"(?P<{name.rstrip('*')}>{'.+' if name.endswith('*') else '[^.]+'})"
        return re.compile("".join(fill(p[1:-1]) if p[:1] == "{" else re.escape(p) for p in parts))

    def rename(self, key: str) -> tuple[bool, str | None]:
        """Says whether the rule takes the key and, if so, our name for it (`None` where it is dropped)."""
        found = self.regex.fullmatch(key)
        if found is None or self.ours is None:
            return found is not None, None
        return True, re.sub(r"\{(\w+)\*?\}", lambda m: found[m[1]], self.ours)


def prefixed(theirs: str, rules: Iterable[Rule], ours: str = "") -> list[Rule]:
    """The same rules below a prefix on either side, e.g. `prefixed("module.", rules)`."""
    return [
        replace(r, theirs=theirs + r.theirs, ours=None if r.ours is None else ours + r.ours)
        for r in rules
    ]


def first(rules: Iterable[Rule], key: str) -> tuple[Rule, str | None] | None:
    """The rule that takes a name, and our name for it (`None` where it is dropped); None if there is no such rule."""
    renamed = ((rule, *rule.rename(key)) for rule in rules)
    return next(((rule, name) for rule, taken, name in renamed if taken), None)


def translate(
    state: Mapping[str, Value], rules: Iterable[Rule], *, source: str = "checkpoint"
) -> dict[str, Value]:
    """Renames and rearranges the tensors of a checkpoint.

    Arguments:
        state: The tensors by the file's names.
        rules: The rules, tried in order.
        source: What to call the file in errors.

    Raises:
        CheckpointError: If a tensor has no rule, is another constant than the known one, or two map to one name.
    """
    rules, out, unknown = tuple(rules), {}, []
    origin: dict[str, str] = {}
    for key, value in state.items():
        found = first(rules, key)
        if found is None:
            unknown.append(key)
            continue
        rule, name = found
        if rule.known is not None or rule.pattern is not None:
            value = _dense(value, key, source)
        if rule.known is not None and not value.is_meta and not rule.known(value):
            raise CheckpointError(
                f"{source}: '{key}' is not the constant of this family's networks, and no other is followed"
            )
        if name is not None:
            if name in out:
                raise CheckpointError(
                    f"{source}: '{key}' and '{origin[name]}' both map to '{name}'; the file mixes two layouts"
                )
            origin[name] = key
            out[name] = value if rule.pattern is None else rearrange(value, rule.pattern)
    if unknown:
        some = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        raise CheckpointError(
            f"{source}: no rule for {len(unknown)} tensors ({some}); is it of another family?"
        )
    return out


def _dense(value: Value, key: str, source: str) -> Value:
    if value.layout == torch.strided:
        return value
    if value.numel() > LARGEST:
        raise CheckpointError(
            f"{source}: '{key}' is sparse and stands for {value.numel()} numbers; is it of this family and size?"
        )
    return value.to_dense()  # pyright: ignore[reportReturnType]
