"""The application, and what every command shares: mistakes and warnings in one line, Ctrl-C, the version."""

import errno
import functools
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from typer.core import TyperGroup

import latentzoo
from latentzoo.errors import LatentzooError, without_addresses

P = ParamSpec("P")
T = TypeVar("T")
FULL = ("out of memory", "not enough memory", "DefaultCPUAllocator", "Cannot allocate memory")
"""What torch's errors say when memory is not enough; on a processor they are plain RuntimeErrors."""

PANELS = {
    "Make pictures": ("sample", "run", "resume", "status", "merge", "sweep", "compare", "app"),
    "See what there is": ("list", "show", "check", "fetch"),
    "Look at runs": ("evaluate", "report", "export"),
    "From pictures to latents and back": ("encode", "decode", "translate", "orbit"),
    "Files": ("convert", "schema"),
}
"""The commands as the help shows them, in its order."""
ORDER = [name for names in PANELS.values() for name in names]


@contextmanager
def usage_in_one_line() -> Iterator[None]:
    """Ends a command line that cannot be read with one line, as any other mistake.

    Raises:
        typer.Exit: If it cannot be read.
    """
    try:
        yield
    except Exception as error:
        words = getattr(error, "format_message", None)  # typer's own classes have moved once
        if words is None or type(error).__name__ == "NoArgsIsHelpError":
            raise
        said = " ".join(words().split()).rstrip(".")
        context = getattr(error, "ctx", None)
        place = "latentzoo" if context is None else context.command_path
        typer.echo(f"error: {said[:1].lower()}{said[1:]}; `{place} --help` shows how", err=True)
        raise typer.Exit(2) from None


class Panels(TyperGroup):
    """The commands in the order of their panels, whatever file registers them first."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Reads the words before the command."""
        with usage_in_one_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Reads the words of the command and runs it."""
        with usage_in_one_line():
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands."""
        return sorted(super().list_commands(ctx), key=ORDER.index)


app = typer.Typer(
    name="latentzoo",
    cls=Panels,
    epilog='Example: latentzoo sample avatar-turbo --text "a person with sunglasses and a yellow hat" --out runs/hat',
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"latentzoo {latentzoo.__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Every pre-trained image generator as one map from a Gaussian, guided by sampling its latent posterior."""


def command(
    *, name: str | None = None, example: str
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Registers a command whose mistakes end in one line and a status; its option `debug` shows the traceback."""

    def register(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            shown, debug = not kwargs.get("quiet"), bool(kwargs.get("debug"))
            with mistakes_in_one_line(debug=debug), warnings_in_one_line(shown=shown):
                return function(*args, **kwargs)

        called = name or function.__name__
        panel = next(title for title, names in PANELS.items() if called in names)
        app.command(name=called, epilog=f"Example: {example}", rich_help_panel=panel)(guarded)
        return guarded

    return register


def is_named(error: Exception) -> bool:
    """Whether an error is a mistake, or the machine's, and one line says all of it."""
    if isinstance(error, BrokenPipeError):  # who read our output has read enough
        return False
    return isinstance(error, LatentzooError | OSError) or is_out_of_memory(error)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory, the machine's or the accelerator's, was not enough."""
    if isinstance(error, RuntimeError):
        return any(words in str(error) for words in FULL)
    return isinstance(error, MemoryError)


def one_line(error: Exception) -> str:
    """Says an error in one line, with the cure for those the system raises."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        place = error.filename or "the output folder"
        return f"no space left on the disk of {place}; free some, then `latentzoo resume`"
    if isinstance(error, PermissionError):
        return f"{error.filename}: no permission to write here; give another --out"
    if is_out_of_memory(error):
        return "out of memory; give a smaller --micro-batch (chains through the networks at once)"
    return " ".join(without_addresses(str(error)).split())


@contextmanager
def mistakes_in_one_line(*, debug: bool = False) -> Iterator[None]:
    """Ends the command with one line on standard error and a status if a mistake is made.

    Arguments:
        debug: Whether the traceback is shown instead.

    Raises:
        typer.Exit: If a mistake was made; other errors pass.
    """
    try:
        yield
    except Exception as error:
        if debug or not is_named(error):
            raise
        typer.echo(f"error: {one_line(error)}", err=True)
        raise typer.Exit(getattr(error, "exit_status", 2)) from None


@contextmanager
def warnings_in_one_line(*, shown: bool) -> Iterator[None]:
    """Shows each warning as one line on standard error, or none of them."""

    def tell(message: Warning | str, *_: Any, **__: Any) -> None:
        if shown:
            typer.echo(f"warning: {' '.join(str(message).split())}", err=True)

    with warnings.catch_warnings():
        warnings.showwarning = tell
        yield


class Interrupt:
    """Ctrl-C in a run: at once before the first step, then between two steps; a second one always at once."""

    def __init__(self) -> None:
        self.asked = self.walking = False

    def between_steps(self) -> None:
        """Stops the run here if that was asked for.

        Raises:
            KeyboardInterrupt: If it was.
        """
        self.walking = True
        if self.asked:
            raise KeyboardInterrupt

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Handles the signal."""
        if self.asked or not self.walking:
            signal.default_int_handler(number, frame)
        self.asked = True
        # not through sys.stderr, which may be in the middle of a write itself
        os.write(2, b"\nstopping after this step; again to stop now\n")


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Handles Ctrl-C as `Interrupt` says while a run is made."""
    interrupt = Interrupt()
    old: Any = signal.signal(signal.SIGINT, interrupt.ask)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, old)


def is_terminal() -> bool:
    """Whether somebody watches."""
    return sys.stderr.isatty()
