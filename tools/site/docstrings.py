"""Docstrings as the site shows them: their formulas, written for readers of the source, become Markdown."""

import re
import textwrap
from typing import Any

import griffe

BLOCK = re.compile(
    r"^\.\. math::[ ]*(?P<line>[^\n]*)\n(?P<more>(?:[ ]+[^\n]*\n|[ ]*\n)*)", re.MULTILINE
)
INLINE = re.compile(r":math:`(?P<formula>[^`]*)`")
LINES = re.compile(r"^([ ]*)\| ?", re.MULTILINE)


class Formulas(griffe.Extension):
    """Rewrites every docstring when it is collected."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called with every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = shown(obj.docstring.value)


def shown(text: str) -> str:
    """A docstring in Markdown.

    >>> shown(".. math:: x = G(z)\\n\\nwith :math:`z`.")
    '$$x = G(z)$$\\n\\nwith $z$.'
    """
    text = BLOCK.sub(_block, text + "\n")
    text = INLINE.sub(r"$\g<formula>$", text)
    return LINES.sub(r"\1", text).rstrip()


def _block(found: re.Match[str]) -> str:
    more = textwrap.dedent(found["more"]).strip()
    formula = " ".join(part for part in (found["line"].strip(), more) if part)
    return f"$${' '.join(formula.split())}$$\n\n"
