"""The files of `torch.save`: a zip archive of a pickle and its storages, or the older stream of five pickles.

And those of `torch.jit.save`, as OpenAI's CLIP comes: the same archive with the source text of its modules beside it,
which is never looked at. Its pickle names each module's class, and the state of a module are its tensors and modules.

Both are read as data, with the names of `admit_torch` only: those that `torch.load(weights_only=True)` lets pass, but
for tensors packed in less than a byte, and those that lie beside the weights in official files (`argparse.Namespace`,
Lightning's callbacks). Storages are windows on the file: what is declared must be there before anything is made of it.

    zip:     NAME/data.pkl, NAME/data/KEY per storage, NAME/byteorder
    script:  as zip, and NAME/constants.pkl, NAME/code/...
    legacy:  magic number, 1001, system, object, [keys], then for each key its length (int64) and its bytes
"""

import struct
from pathlib import Path, PurePosixPath
from typing import Any

from latentzoo.errors import CheckpointError
from latentzoo.hub import archive
from latentzoo.hub.machine import Budget
from latentzoo.hub.names import CALLS, SCRIPT, admit_script, admit_torch
from latentzoo.hub.pickles import Window, parse
from latentzoo.hub.storage import Storage, dtype_of

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def read_zip(path: Path, buffer: memoryview) -> Any:
    """Reads the object of a zip file, its tensors as views of the file.

    Arguments:
        path: The file.
        buffer: Its bytes.

    Raises:
        CheckpointError: If it names what it should not.
        ValueError, TypeError, LookupError: If it is damaged, or declares more than it holds.
    """
    with archive.open_zip(path) as file:
        members = archive.members(file)
    pickles = [name for name in members if PurePosixPath(name).name == "data.pkl"]
    if len(pickles) != 1:
        some = ", ".join(list(members)[:6])
        raise CheckpointError(
            f"an archive that torch did not write; name what is meant of it, FILE#MEMBER ({some})"
        )
    prefix = pickles[0].removesuffix("data.pkl")
    summed = archive.summed(members.values())
    content = lambda name: archive.stored(members[prefix + name], buffer, summed=summed)
    order = bytes(content("byteorder")) if prefix + "byteorder" in members else b"little"
    if order not in (b"little", b"big"):
        raise ValueError("the order of its numbers' bytes is neither little nor big")
    storages: dict[str, Storage] = {}

    def persistent(reference: Any) -> Storage:
        kind, dtype, key, _, numel = reference
        if kind != "storage" or not isinstance(key, str):
            raise ValueError("it refers to what is not a storage")
        if key not in storages:
            storages[key] = Storage(dtype_of(dtype), numel, big_endian=order == b"big")
            storages[key].place(content(f"data/{key}"))
        return storages[key]

    script = prefix + "constants.pkl" in members
    return parse(
        Window(content("data.pkl")),
        calls={**CALLS, **SCRIPT} if script else CALLS,
        admit=admit_script if script else admit_torch,
        persistent=persistent,
    )


def read_legacy(buffer: memoryview, budget: Budget | None = None) -> Any:
    """Reads the object of a legacy stream, its tensors as views of the stream.

    Arguments:
        buffer: The stream.
        budget: What it may cost.

    Raises:
        CheckpointError: If it names what it should not.
        ValueError, TypeError, LookupError: If it is damaged, or declares more than it holds.
    """
    storages: dict[str, Storage] = {}

    def persistent(reference: Any) -> Storage:
        kind, dtype, key, _, numel, part = reference
        if kind != "storage":
            raise ValueError("it refers to what is not a storage")
        if key not in storages:
            storages[key] = Storage(dtype_of(dtype), numel)
        return storages[key] if part is None else storages[key].part(*part[1:])

    window, budget = Window(buffer), budget or Budget(len(buffer))
    plain = lambda: parse(window, calls={}, admit=admit_torch, budget=budget)
    if plain() != MAGIC or plain() != PROTOCOL:
        raise ValueError("it does not begin as a torch file does")
    plain()  # the machine it was written on, whose numbers are little-endian in the file, whatever they were there
    value = parse(window, calls=CALLS, admit=admit_torch, persistent=persistent, budget=budget)
    for key in plain():
        (count,) = struct.unpack("<q", bytes(window.read(8)))
        storage = storages.pop(key)
        if count != storage.numel:
            raise ValueError(
                f"a storage of {storage.numel} elements is declared and {count} are there"
            )
        storage.place(memoryview(window.read(storage.nbytes)))
    if storages:
        raise ValueError(f"{len(storages)} storages are declared and not there")
    return value
