"""What the libraries say against a folder or a call, in one line."""

import ast
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from latentzoo.errors import CheckpointError, LatentzooError, SpecError


@contextmanager
def unsound(path: Path) -> Iterator[None]:
    """What is wrong with a folder or a file.

    Raises:
        CheckpointError: If it cannot be read.
        SpecError: If a package is missing.
    """
    try:
        yield
    except LatentzooError:
        raise
    except ImportError as error:
        raise SpecError(
            f"{path}: needs a package that is not installed ({_short(error)})"
        ) from error
    except Exception as error:  # whatever a file makes its readers do
        raise CheckpointError(
            f"{path}: cannot be loaded ({type(error).__name__}: {_short(error)}); is it complete?"
        ) from error


@contextmanager
def refused(
    name: str, what: str = "the call", cure: str = "check its options and its scheduler"
) -> Iterator[None]:
    """What a class of the libraries says against what it is given.

    Arguments:
        name: The class.
        what: What it is given.
        cure: What helps.

    Raises:
        SpecError: If it refuses, or a package is missing.
    """
    try:
        yield
    except LatentzooError:
        raise
    except NameError as error:  # of a package that its module would have imported
        raise SpecError(
            f"{name} needs the package {_package(error)}, which is not installed; install it by pip"
        ) from error
    except ImportError as error:
        raise SpecError(
            f"{name} needs a package that is not installed ({_short(error)})"
        ) from error
    except Exception as error:  # whatever foreign code does
        raise SpecError(
            f"{name} refuses {what} ({type(error).__name__}: {_short(error)}); {cure}"
        ) from error


def _package(error: NameError) -> str:
    """The package that a module would have imported a missing name from, as its source says."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    try:
        source = "" if trace is None else inspect.getsource(inspect.getmodule(trace) or inspect)
    except OSError:
        source = ""
    asked = (one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.ImportFrom))
    for one in asked:
        if (
            not one.level
            and one.module
            and any((a.asname or a.name) == error.name for a in one.names)
        ):
            return one.module.partition(".")[0]
    return str(error.name)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
