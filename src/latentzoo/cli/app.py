"""The application, and what every command shares: errors in one line, and the options for output."""

import errno
import functools
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from latentzoo.errors import LatentzooError

P = ParamSpec("P")
T = TypeVar("T")

app = typer.Typer(
    name="latentzoo",
    help="Every pre-trained image generator as one map from a Gaussian, guided by sampling its latent posterior.",
    epilog='Example: latentzoo sample avatar-turbo --text "a person with sunglasses and a yellow hat" --out runs/hat',
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)

Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def command(
    *, name: str | None = None, example: str
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Registers a command whose mistakes end in one line and a status; its option `debug` shows the traceback."""

    def register(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except (LatentzooError, OSError, MemoryError) as error:
                if kwargs.get("debug"):
                    raise
                typer.echo(f"error: {one_line(error)}", err=True)
                raise typer.Exit(getattr(error, "exit_status", 2)) from None

        app.command(name=name, epilog=f"Example: {example}")(guarded)
        return guarded

    return register


def one_line(error: BaseException) -> str:
    """Says an error in one line, with the cure for those the system raises."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        place = error.filename or "the output folder"
        return f"no space left on the disk of {place}; free some, then `latentzoo resume`"
    if isinstance(error, PermissionError):
        return f"{error.filename}: no permission to write here; give another --out"
    if isinstance(error, MemoryError):
        return "out of memory; give a smaller --micro-batch"
    return " ".join(str(error).split())


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Turns the first Ctrl-C into a KeyboardInterrupt between two steps; a second one stops at
    once.

    Yields:
        A function to call between steps.
    """
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            signal.default_int_handler(number, frame)
        asked = True

    def between_steps() -> None:
        if asked:
            raise KeyboardInterrupt

    old: Any = signal.signal(signal.SIGINT, ask)
    try:
        yield between_steps
    finally:
        signal.signal(signal.SIGINT, old)


def is_terminal() -> bool:
    """Whether somebody watches."""
    return sys.stderr.isatty()
