"""A pickle as data: its opcodes are interpreted here, nothing it names is imported, nothing it calls is called.

A pickle is a program for a small stack machine. Most of its instructions push numbers, strings and containers; these
are carried out as they stand. `GLOBAL` names an object of some Python module: that becomes a `Name`, a pair of strings.
`REDUCE`, `NEWOBJ` and `BUILD` call what was named: that becomes a `Built`, a record of the name, the arguments and the
state. The few constructors that a checkpoint's values are made of (ordered dictionaries, tensors, numpy numbers) are
given as `calls`, functions of this package. Whether a name may occur at all is asked of `admit`, before anything else.

References:
    | PEP 3154, Pickle protocol version 4 (Pitrou, 2011), https://peps.python.org/pep-3154/
    | Exploiting Python pickles (Slaviero, "Sour Pickles", Black Hat 2011)
"""

import codecs
import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, no_type_check

from latentzoo.hub.machine import Budget, Machine, Name


@no_type_check  # called for each operation, where a check at run time costs more than the work
class Window:
    """Creates a binary file over a buffer; long reads are views of it, not copies.

    Arguments:
        buffer: The bytes.
        start: Where to begin.
    """

    LONG = 4096

    def __init__(self, buffer: memoryview, start: int = 0) -> None:
        self.buffer, self.place = buffer, start

    def read(self, size: int = -1) -> Any:
        """The next `size` bytes, or all that are left."""
        part = (
            self.buffer[self.place :] if size < 0 else self.buffer[self.place : self.place + size]
        )
        self.place += len(part)
        return part if len(part) >= self.LONG else bytes(part)

    def readline(self) -> bytes:
        """The bytes up to the next newline, which is part of them."""
        line = bytearray()
        while not line.endswith(b"\n") and (part := bytes(self.read(256))):
            head, newline, tail = part.partition(b"\n")
            line += head + newline
            self.place -= len(tail)
        return bytes(line)

    def tell(self) -> int:
        """The place of the next byte."""
        return self.place


@no_type_check
def operations(source: Window) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int]]:
    """The operations of a pickle to its end, each with its argument and its place.

    Strings of Python 2 are bytes that were no text: a character of Latin-1 stands for each.

    Raises:
        ValueError: If an operation is unknown, or its argument not sound.
    """
    known = pickletools.code2op
    while code := source.read(1):
        place = source.tell() - 1
        operation = known.get(code.decode("latin-1"))
        if operation is None:
            raise ValueError(f"the byte {code!r} at {place} is no operation of a pickle")
        if operation.name == "STRING":
            yield operation, python2(source.readline()), place
        else:
            yield operation, operation.arg.reader(source) if operation.arg else None, place
        if operation.name == "STOP":
            return


def python2(line: bytes) -> str:
    """The text of a string of Python 2, in quotation marks and with escapes.

    Raises:
        ValueError: If it has no quotation marks, or an escape is not sound.
    """
    text = line.strip()
    if len(text) < 2 or text[:1] not in (b"'", b'"') or text[-1:] != text[:1]:
        raise ValueError("a string of the pickle is not in quotation marks")
    return codecs.escape_decode(text[1:-1])[0].decode("latin-1")


def parse(
    source: Window,
    *,
    calls: Mapping[str, Callable[..., Any]],
    admit: Callable[[Name], None],
    persistent: Callable[[Any], Any] | None = None,
    budget: Budget | None = None,
) -> Any:
    """Reads one pickle from where the source stands and leaves it just behind.

    Arguments:
        source: The bytes.
        calls: What is computed for a name when the pickle calls it; other names give a `Built`.
        admit: Raises if a name must not occur.
        persistent: Gives the objects that the pickle refers to by a persistent id.
        budget: What it may cost.

    Raises:
        CheckpointError: From `admit`, or if the budget is spent.
        ValueError, TypeError, LookupError: If the bytes are not a sound pickle.
    """
    budget = budget or Budget(len(source.buffer))
    machine = Machine(calls, admit, persistent, budget)
    for operation, argument, place in operations(source):
        budget.spend(operations=1)
        if operation.name == "STOP":
            return machine.pop()
        machine.step(operation.name, argument, place or 0)
    raise ValueError("the pickle has no end")
