"""The interpreter of pickles: what it makes of plain data, of names, and of programs that misuse the machine."""

import collections
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentzoo.errors import CheckpointError
from latentzoo.hub import machine
from latentzoo.hub.machine import Built, Name
from latentzoo.hub.names import CALLS
from latentzoo.hub.pickles import Window, parse

any_name = lambda name: None
read = lambda data: parse(Window(memoryview(data)), calls=CALLS, admit=any_name)

keys = (
    st.none()
    | st.booleans()
    | st.integers(-(2**59), 2**59)
    | st.text(max_size=5)
    | st.binary(max_size=5)
)
leaves = keys | st.integers() | st.floats(allow_nan=False)
plain = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.sets(keys, max_size=3)
        | st.frozensets(keys, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3).map(collections.OrderedDict)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(plain, st.integers(2, pickle.HIGHEST_PROTOCOL))
def test_plain_data_is_read_as_pickle_reads_it(value, protocol):
    assert read(pickle.dumps(value, protocol)) == value


def test_text_protocols_are_read_too():
    value = {"a": [1, 2.5, None, True, (3, "x")], "b": ("long", 2**70)}
    for protocol in (0, 1):
        assert read(pickle.dumps(value, protocol)) == value


def test_shared_objects_stay_shared():
    inner = [1]
    first, second = read(pickle.dumps([inner, inner]))
    assert first is second


def test_long_bytes_are_views_and_streams_continue():
    data = pickle.dumps(b"x" * 10_000) + pickle.dumps("next")
    window = Window(memoryview(data))
    first = parse(window, calls={}, admit=any_name)
    assert isinstance(first, memoryview) and bytes(first) == b"x" * 10_000
    assert parse(window, calls={}, admit=any_name) == "next"


class Loud:
    """An object whose unpickling would be noticed."""

    seen = 0

    def __init__(self, *args):
        self.a = 1

    def __setstate__(self, state):
        Loud.seen += 1
        self.__dict__ = state


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_objects_become_inert_records(protocol):
    made = read(pickle.dumps(Loud(), protocol))
    assert isinstance(made, Built) and made.state == {"a": 1} and Loud.seen == 0
    if protocol >= 2:
        assert made.of == Name(Loud.__module__, "Loud")


def test_every_name_is_asked_for_before_anything_is_built():
    asked = []

    def admit(name):
        asked.append(str(name))
        raise CheckpointError("no")

    with pytest.raises(CheckpointError):
        parse(Window(memoryview(pickle.dumps(print))), calls={}, admit=admit)
    assert asked == ["builtins.print"]


UNSOUND = {
    "empty": b"",
    "no stop": b"\x80\x04K\x01",
    "stack underflow": b"\x80\x04.",
    "below the mark": b"\x80\x04(K\x01(0000.",
    "no mark": b"\x80\x04t.",
    "unknown memo": b"\x80\x04h\x07.",
    "unknown opcode": b"\x80\x04\xff.",
    "cut integer": b"\x80\x04J\x01",
    "length beyond the end": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fab.",
    "negative length": b"\x80\x04T\xff\xff\xff\xffab.",
    "memo index of four billion": b"\x80\x04K\x01r\xff\xff\xff\xffr\xff.",
    "extension registry": b"\x80\x04\x82\x01.",
    "out-of-band buffer": b"\x80\x05\x97.",
    "call of a number": b"\x80\x04K\x01)R.",
    "call without a tuple": b"\x80\x04cos\nsystem\nK\x01R.",
    "state of a list": b"\x80\x04]}b.",
    "append to a number": b"\x80\x04K\x01K\x02a.",
    "odd items": b"\x80\x04}(K\x01u.",
    "list as a key": b"\x80\x04}]K\x01s.",
    "name of a number": b"\x80\x04K\x01K\x02\x93.",
    "keyword arguments": b"\x80\x04ca\nb\n)}X\x01\x00\x00\x00aK\x01s\x92.",
    "persistent id": b"\x80\x04K\x01Q.",
    "deep key": pickle.dumps({(((1,),),): 1}),
    "colliding keys": pickle.dumps({i * (2**61 - 1): 1 for i in range(1, 9)}),
}


@pytest.mark.parametrize("data", UNSOUND.values(), ids=UNSOUND)
def test_unsound_programs_are_refused(data):
    with pytest.raises((ValueError, TypeError, LookupError, AttributeError)):
        read(data)


def test_a_persistent_id_that_is_a_text_has_a_cure():
    with pytest.raises(CheckpointError, match="save the file with another pickle_protocol"):
        read(b"\x80\x04Pabc\n.")


def test_operations_are_bounded(monkeypatch):
    monkeypatch.setattr(machine, "OPERATIONS", 1000)
    with pytest.raises(CheckpointError, match="more work"):
        read(b"\x80\x04" + b"]" * 2000 + b".")


def test_copies_are_bounded():
    """A list of a million numbers, copied again and again, would be a bomb of a few megabytes."""
    program = (
        b"\x80\x04("
        + b"K\x01" * 100_000
        + b"l\x94("
        + b"cbuiltins\nlist\nh\x00\x85R" * 10_000
        + b"t."
    )
    with pytest.raises(CheckpointError, match="more work"):
        read(program)
