"""The command line: the same records as Python, one file per group of commands.

Exit status: 0 done, 1 a check failed, 2 a mistake that is named in one line, 3 a chain failed, 4
not trustworthy (with --strict), 130 stopped by Ctrl-C.
"""

# the import registers the commands
from latentzoo.cli import (
    catalogue,
    fetch,
    files,
    judge,
    latents,
    play,
    runs,
    shards,
    showing,
    sweeps,
)
from latentzoo.cli.app import app

__all__ = [
    "app",
    "catalogue",
    "fetch",
    "files",
    "judge",
    "latents",
    "main",
    "play",
    "runs",
    "shards",
    "showing",
    "sweeps",
]


def main() -> None:
    """Runs the command line."""
    app()
