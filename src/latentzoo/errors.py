"""Every error a user can cause, each one line: the fact, the reason and the cure; and one kind of warning."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
"""Where an object lies in memory, as Python shows one: another place at each run, and no word to anybody."""


def without_addresses(said: str) -> str:
    """What is said, without where in memory the objects are that it shows."""
    return ADDRESS.sub("", said)


class LatentzooError(Exception):
    """A mistake or a breach that latentzoo can name; the command line shows it without a traceback."""

    exit_status = 2

    def __init__(self, *said: Any) -> None:
        super().__init__(*(without_addresses(x) if isinstance(x, str) else x for x in said))


class Assumption(UserWarning):
    """Something that a file of weights does not say, and that was taken for granted."""


class UnknownName(LatentzooError):
    """Creates the error for a name that is not among the known ones.

    Arguments:
        kind: What was looked for, e.g. "generator".
        name: The name as it was given.
        known: The names that exist; the nearest is suggested, or all are listed where they are
            few.
        shown: Where they are to be found where they are many.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        known: Iterable[str],
        *,
        shown: str = "`latentzoo list` shows them",
    ) -> None:
        known = sorted(known)
        near = get_close_matches(name, known, n=3, cutoff=0.5)
        if near:
            cure = f"did you mean {' or '.join(repr(n) for n in near)}?"
        elif len(known) <= 12:
            cure = f"known: {', '.join(known)}"
        else:
            cure = f"{len(known)} are known, {shown}"
        super().__init__(f"unknown {kind} '{name}'; {cure}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args, self.__dict__)


class SpecError(LatentzooError):
    """A run record, a command line option or an argument with a value that cannot be meant."""


class CheckpointError(LatentzooError):
    """A file that cannot be read safely, or whose tensors are not those of the network."""


class StateError(LatentzooError):
    """A state file from which no run can go on: missing, broken, or of another run."""


class ImageError(LatentzooError):
    """A picture that cannot be read, or has a size or mode that cannot be used."""


class EnergyError(LatentzooError):
    """An energy that is not finite, not differentiable, or of the wrong shape."""


class MissingExtra(LatentzooError):
    """Creates the error for an optional dependency that is not installed.

    Arguments:
        package: The import name that failed.
        extra: The extra of latentzoo that brings it.
        purpose: What it is needed for.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package '{package}', which is not installed; "
            f"pip install 'latentzoo[{extra}]'"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args, self.__dict__)


def _again(
    kind: type[LatentzooError], args: tuple[Any, ...], more: dict[str, Any]
) -> LatentzooError:
    """An error that came from another process, by its words: what they were made of stays there."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(more)
    return error
