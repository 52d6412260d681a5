"""Breaks the code one line at a time and sees whether the fast tests notice: `make mutants`, outside of CI.

`mutants.yaml` says what is broken: the file below src/latentzoo, a string that occurs in it exactly once, what stands
there instead, and the test files that should fail. Each mutant lives in a temporary copy of the project; its tests
must pass there before, and fail after. `docs/mutants.md` names those that survive.

    python tests/mutants.py [WORD]      # only the mutants whose file or string contains the word
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
PROJECT = HERE.parent
COPIED = ("src", "tests", "docs", "experiments", "pyproject.toml", "README.md", "CONTRIBUTING.md")
LIMIT = 300
"""The seconds after which tests that were broken into an endless loop count as failed."""
WORDS = {0: "SURVIVED", 1: "killed", 124: "killed"}


def read(path: Path) -> list[dict[str, Any]]:
    """Reads the mutants.

    Raises:
        SystemExit: If a mutant does not say all, or its string does not occur exactly once.
    """
    mutants = yaml.safe_load(path.read_text(encoding="utf-8"))
    for mutant in mutants:
        if set(mutant) != {"file", "find", "replace", "tests"}:
            sys.exit(f"a mutant says file, find, replace and tests, this one: {mutant}")
        text = (PROJECT / "src/latentzoo" / mutant["file"]).read_text(encoding="utf-8")
        count = text.count(mutant["find"])
        if count != 1:
            sys.exit(f"{mutant['file']}: {mutant['find']!r} occurs {count} times, not once")
        missing = [name for name in mutant["tests"] if not (PROJECT / "tests" / name).exists()]
        if missing:
            sys.exit(f"{mutant['file']}: there are no tests {', '.join(missing)}")
    return mutants


def tested(project: Path, tests: tuple[str, ...]) -> int:
    """Runs tests in a copy of the project; returns pytest's status, or 124 if they took too long."""
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
    ]
    environment = {
        **os.environ,
        "PYTHONPATH": str(project / "src"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        return subprocess.run(
            [*words, *(f"tests/{name}" for name in tests)],
            cwd=project,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=LIMIT,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        return 124


def main(word: str = "") -> int:
    """Tries the mutants; returns 1 if tests fail without any, or a mutant cannot be tried."""
    mutants = [m for m in read(HERE / "mutants.yaml") if word in m["file"] + m["find"]]
    count: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        copy.mkdir()
        for name in COPIED:
            source = PROJECT / name
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, copy / name)
        for tests in sorted({tuple(mutant["tests"]) for mutant in mutants}):
            if tested(copy, tests) != 0:
                sys.exit(f"{', '.join(tests)}: fails as it is; nothing can be learned from it")
        for mutant in mutants:
            path = copy / "src/latentzoo" / mutant["file"]
            text, began = path.read_text(encoding="utf-8"), time.monotonic()
            path.write_text(text.replace(mutant["find"], mutant["replace"]), encoding="utf-8")
            verdict = WORDS.get(tested(copy, tuple(mutant["tests"])), "NOT TRIED")
            path.write_text(text, encoding="utf-8")
            count[verdict] += 1
            what = f"{mutant['file']}: {mutant['find']!r} -> {mutant['replace']!r}"
            print(f"{verdict:9} {time.monotonic() - began:4.0f} s  {what}", flush=True)
    print(f"{len(mutants)} mutants: {', '.join(f'{n} {verdict}' for verdict, n in count.items())}")
    return int(bool(count["NOT TRIED"]))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
