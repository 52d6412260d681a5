"""The stack machine of a pickle: what each operation does, and what takes the place of what it would call.

What a pickle names becomes a `Name`, what it builds a `Built`; nothing is imported and nothing is called but the few
functions of this package that a checkpoint's values are made of. `latentzoo.hub.pickles` feeds it the operations.

References:
    | PEP 3154, Pickle protocol version 4 (Pitrou, 2011), https://peps.python.org/pep-3154/
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, no_type_check

from latentzoo.errors import CheckpointError

OPERATIONS = 2_000_000  # a full-size checkpoint with two optimizers has about a quarter of that


class Name(NamedTuple):
    """An object of a Python module, named and not imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Built:
    """What the pickle would have built by calling a name: inert.

    Arguments:
        of: The name that would have been called.
        args: The arguments.
        state: What `BUILD` would have given to it.
        pairs: What would have been set as its items.
        items: What would have been appended to it.
    """

    of: Name
    args: tuple[Any, ...] = ()
    state: Any = None
    pairs: dict[Any, Any] = field(default_factory=dict)
    items: list[Any] = field(default_factory=list)


@no_type_check
class Budget:
    """Creates what reading a file may cost, shared by the pickles inside of its pickles.

    Few bytes can ask for endless work: by copying a long list a million times, say.

    Arguments:
        size: The file's size in bytes.
    """

    def __init__(self, size: int) -> None:
        self.operations, self.copies = OPERATIONS, 4 * size + 2**20

    def spend(self, *, operations: int = 0, copies: int = 0) -> None:
        """Takes from it.

        Raises:
            CheckpointError: If there is not so much left.
        """
        self.operations -= operations
        self.copies -= copies
        if self.operations < 0 or self.copies < 0:
            raise CheckpointError(
                "the pickle asks for more work than any checkpoint does; do not trust this file"
            )


words = str.split
LITERALS = frozenset(
    words(
        "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE "
        "BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8"
    )
)
SIZED = (str, bytes, bytearray, memoryview, list, tuple, dict, set, frozenset)
EMPTY: Mapping[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}


@no_type_check
class Machine:
    """Creates the stack machine of one pickle; `step` carries out one operation."""

    def __init__(
        self,
        calls: Mapping[str, Callable[..., Any]],
        admit: Callable[[Name], None],
        persistent: Callable[[Any], Any] | None,
        budget: Budget,
    ) -> None:
        self.calls, self.admit, self.persistent, self.budget = calls, admit, persistent, budget
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, operation: str, argument: Any, place: int) -> None:
        """Carries out one operation.

        Arguments:
            operation: The opcode's name, as in `pickletools`.
            argument: Its argument, decoded.
            place: Where it stands, for errors.

        Raises:
            ValueError: If a checkpoint has no use for the operation.
        """
        if operation in LITERALS:
            self.stack.append(argument)
        elif operation in EMPTY:
            self.stack.append(EMPTY[operation]())
        elif operation in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.top()
        elif operation == "MEMOIZE":
            self.memo[len(self.memo)] = self.top()
        elif operation in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif operation in ("PROTO", "FRAME"):
            pass
        elif (carry_out := getattr(self, f"_{operation.lower()}", None)) is not None:
            carry_out(argument)
        else:
            raise ValueError(
                f"the operation {operation} at byte {place} has no place in a checkpoint"
            )

    def pop(self) -> Any:
        """Takes the top of the stack, which a mark protects.

        Raises:
            ValueError: If there is nothing above the last mark.
        """
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("the pickle takes more from its stack than there is")
        return self.stack.pop()

    def top(self) -> Any:
        """Looks at the top of the stack."""
        self.stack.append(value := self.pop())
        return value

    def above(self) -> list[Any]:
        """Takes everything above the last mark."""
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def call(self, function: Any, args: Any) -> Any:
        """Computes a call that is known, and records any other.

        Raises:
            TypeError: If what is called is no name, or its arguments are no tuple.
            CheckpointError: If the budget is spent.
        """
        if not isinstance(function, Name) or not isinstance(args, tuple):
            raise TypeError("the pickle calls what is not a name")
        self.budget.spend(copies=sum(len(a) for a in args if isinstance(a, SIZED)))
        known = self.calls.get(str(function))
        return Built(function, args) if known is None else known(*args)

    def name(self, module: Any, name: Any) -> Name:
        """Admits a name.

        Raises:
            TypeError: If a part of the name is no string.
            CheckpointError: From `admit`.
        """
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("the pickle names an object by other than strings")
        self.admit(found := Name(module, name))
        return found

    def _mark(self, _: None) -> None:
        self.marks.append(len(self.stack))

    def _pop(self, _: None) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()

    def _pop_mark(self, _: None) -> None:
        self.above()

    def _dup(self, _: None) -> None:
        self.stack.append(self.top())

    def _list(self, _: None) -> None:
        self.stack.append(self.above())

    def _tuple(self, _: None) -> None:
        self.stack.append(tuple(self.above()))

    def _tuple1(self, _: None) -> None:
        self.stack.append((self.pop(),))

    def _tuple2(self, _: None) -> None:
        b, a = self.pop(), self.pop()
        self.stack.append((a, b))

    def _tuple3(self, _: None) -> None:
        c, b, a = self.pop(), self.pop(), self.pop()
        self.stack.append((a, b, c))

    def _dict(self, _: None) -> None:
        self.stack.append(fill({}, self.above()))

    def _frozenset(self, _: None) -> None:
        self.stack.append(frozenset(map(key, self.above())))

    def _append(self, _: None) -> None:
        value = self.pop()
        extend(self.top(), [value])

    def _appends(self, _: None) -> None:
        values = self.above()
        extend(self.top(), values)

    def _setitem(self, _: None) -> None:
        value, name = self.pop(), self.pop()
        fill(self.top(), [name, value])

    def _setitems(self, _: None) -> None:
        values = self.above()
        fill(self.top(), values)

    def _additems(self, _: None) -> None:
        values = self.above()
        self.top().update(map(key, values))

    def _global(self, argument: str) -> None:
        self.stack.append(self.name(*argument.split(" ", 1)))

    def _stack_global(self, _: None) -> None:
        name, module = self.pop(), self.pop()
        self.stack.append(self.name(module, name))

    def _reduce(self, _: None) -> None:
        args, function = self.pop(), self.pop()
        self.stack.append(self.call(function, args))

    _newobj = _reduce

    def _newobj_ex(self, _: None) -> None:
        kwargs, args, function = self.pop(), self.pop(), self.pop()
        if kwargs:
            raise ValueError("the pickle builds an object with keyword arguments")
        self.stack.append(self.call(function, args))

    def _inst(self, argument: str) -> None:
        args = tuple(self.above())
        self.stack.append(self.call(self.name(*argument.split(" ", 1)), args))

    def _obj(self, _: None) -> None:
        function, *args = self.above()
        self.stack.append(self.call(function, tuple(args)))

    def _build(self, _: None) -> None:
        state, target = self.pop(), self.top()
        if isinstance(target, Built):
            target.state = state
        elif not isinstance(
            target, dict
        ):  # a dictionary's attributes, e.g. the versions in a state dict
            raise TypeError("the pickle sets the state of a plain value")

    def _persid(self, _: str) -> None:
        raise CheckpointError(
            "of protocol 0, in which torch.save cannot say where tensors are, so that no program reads them again; "
            "save the file with another pickle_protocol, the default best"
        )

    def _binpersid(self, _: None) -> None:
        if self.persistent is None:
            raise ValueError("the pickle refers to objects outside of it")
        self.stack.append(self.persistent(self.pop()))


@no_type_check
def key(value: Any, nested: bool = True) -> Hashable:
    """Lets a value be a dictionary's key: nothing deep, nothing whose hash can be chosen to collide.

    Raises:
        TypeError: If the value is none of these.
    """
    if value is None or isinstance(value, (str, bytes, Name, Built)):
        return value
    if isinstance(value, (int, float)) and abs(value) < 2**60:
        return value
    if nested and isinstance(value, (tuple, frozenset)) and len(value) <= 16:
        return tuple(key(v, nested=False) for v in value)
    raise TypeError("the pickle uses a nested value as a key")


def fill(target: Any, values: list[Any]) -> Any:
    """Sets items, given as key, value, key, value.

    Raises:
        TypeError: If the target is no dictionary, or a value is missing.
    """
    pairs = target.pairs if isinstance(target, Built) else target
    if not isinstance(pairs, dict) or len(values) % 2:
        raise TypeError("the pickle sets items of what is not a dictionary")
    pairs.update(zip(map(key, values[::2]), values[1::2], strict=True))
    return target


def extend(target: Any, values: list[Any]) -> None:
    """Appends values.

    Raises:
        TypeError: If the target is no list.
    """
    items = target.items if isinstance(target, Built) else target
    if not isinstance(items, list):
        raise TypeError("the pickle appends to what is not a list")
    items.extend(values)
