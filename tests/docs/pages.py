"""Runs the code of a page of the docs, in the order of the page, and compares what it prints."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)(?: title=\"(\w+)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(text: str, extra: str = "") -> list[tuple[str, str]]:
    """The blocks of a page: ("python" or "sh" or "output", text); those titled by an extra if that is asked for."""
    return [
        ("output" if title == "output" else kind, code)
        for kind, title, code in BLOCK.findall(text)
        if title in ("", "output", extra)
    ]


def script(page: str, extra: str = "") -> tuple[str, list[str]]:
    """The page as one program, and what each of its python blocks should print ("" where nothing is said)."""
    lines, said = [], []
    for kind, code in blocks((DOCS / page).read_text("utf-8"), extra):
        if kind == "python":
            lines += [code, f"print('\\x1e{len(said)}')"]
            said.append("")
        elif kind == "sh":
            for line in code.splitlines():
                words = [sys.executable, "-m", *shlex.split(line.partition("#")[0])]
                lines.append(
                    f"import subprocess as _s; _s.run({words!r}, check=True, stdout=_s.DEVNULL)"
                )
        elif kind == "output":
            said[-1] = code
    return "\n".join(lines), said


def run(page: str, folder: Path, extra: str = "") -> str:
    """Runs a page in a folder, and says what is wrong, "" if nothing is."""
    code, said = script(page, extra)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=560,
        check=False,
    )
    if done.returncode:
        return done.stderr[-3000:]
    printed = re.split(r"\x1e\d+\n", done.stdout)
    wrong = []
    for expected, found in zip(said, printed, strict=False):
        pattern = re.escape(expected).replace(r"\.\.\.", ".*")
        if expected and re.fullmatch(pattern, found, re.DOTALL) is None:
            wrong.append(f"the page says\n{expected}and it is\n{found}")
    return "\n".join(wrong)
