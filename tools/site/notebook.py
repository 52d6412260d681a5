"""Makes the notebook of the first run out of its tutorial: the same words, the same code, no outputs.

python tools/site/notebook.py          # writes docs/first-run.ipynb
"""

import json
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
FENCE = re.compile(
    r"^```(?:python|sh|text title=\"output\")\n.*?^```$\n?", re.DOTALL | re.MULTILINE
)


def notebook(text: str) -> str:
    """The notebook of a page: its python blocks as cells, its shell lines with an exclamation mark."""
    cells, at = [], 0
    for block in FENCE.finditer(text):
        cells.append(("markdown", text[at : block.start()].strip()))
        kind, code = block[0].split("\n", 1)
        code, at = code.rsplit("```", 1)[0].strip(), block.end()
        if kind == "```python":
            cells.append(("code", code))
        elif kind == "```sh":
            cells.append(("code", "\n".join(f"!{line}" for line in code.splitlines())))
    cells.append(("markdown", text[at:].strip()))
    kept = [cell(i, kind, words) for i, (kind, words) in enumerate(cells) if words]
    told = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return (
        json.dumps({"cells": kept, "metadata": told, "nbformat": 4, "nbformat_minor": 5}, indent=1)
        + "\n"
    )


def cell(number: int, kind: str, words: str) -> dict:
    """One cell, without outputs."""
    plain = {
        "cell_type": kind,
        "id": f"cell-{number}",
        "metadata": {},
        "source": words.splitlines(True),
    }
    return plain | ({"execution_count": None, "outputs": []} if kind == "code" else {})


if __name__ == "__main__":
    page = (DOCS / "tutorials" / "first-run.md").read_text("utf-8")
    (DOCS / "first-run.ipynb").write_text(notebook(page), "utf-8")
