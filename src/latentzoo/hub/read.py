"""One door to every container: what a file is, is seen from its first bytes, not from its name."""

import mmap
import re
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError
from torch import Tensor

from latentzoo.errors import CheckpointError
from latentzoo.hub import arrays, equinox, folder, layout, nvidia, openvino, safe, tfjs, torch_file
from latentzoo.hub.checkpoint import Checkpoint

Container = Literal[
    "folder", "safetensors", "torch", "nvidia", "openvino", "tfjs", "equinox", "numpy"
]
LEGACY = (b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"L119547037146038801333356L\n.")
"""The magic number of a legacy torch file, pickled by protocol 2 or later, and before."""
TEXT = re.compile(rb"\((dp|lp)0\n|c\w[\w.]*\n\w+\n|[(\]}]q\0|[]}]\(")
"""How a pickle of protocol 0 or 1 begins: with a dictionary, a list, or the name of one."""
UNSOUND = (
    *(
        ValueError,
        TypeError,
        LookupError,
        ArithmeticError,
        AttributeError,
        RecursionError,
        MemoryError,
        EOFError,
    ),
    *(struct.error, zipfile.BadZipFile, SafetensorError, RuntimeError),
)
COPIED = 2**28
"""Bytes of tensors up to which they are copied, and the file may be written over while its network is in use."""
PLAIN = {
    "safetensors": safe.read,
    "openvino": openvino.read,
    "tfjs": tfjs.read,
    "equinox": equinox.read,
    "numpy": arrays.read,
}
"""The readers of files that hold declarations and numbers, and nothing like a program."""
STRANGERS = {
    b"<": "a web page, not weights: the address asks for a login or a confirmation; download the file by hand",
    b"version https://git-lfs": "a Git LFS pointer, not the weights: fetch them with `git lfs pull`",
    b"\x1f\x8b": "compressed with gzip; unpack it first",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
    b"GGUF": "a GGUF file, the denoiser of a pipeline; give the folder of the rest, config=FOLDER, and a prompt",
    b"\x89HDF": "an HDF5 file, of TensorFlow or Keras, which is not read",
}


def read(path: str | Path) -> Checkpoint:
    """Reads a weights file or folder. Nothing of it is executed.

    Tensors of more than `COPIED` bytes together are views of the file where they can be: their pages are read when they
    are needed, shared with other processes, and change with a file that is written over, not with one that is replaced.

    Arguments:
        path: The file; or a folder as `transformers` and `diffusers` write them.

    Returns:
        The tensors by the names of the official state dict, and the plain records beside them.

    Raises:
        CheckpointError: If it is missing, of no known container, damaged, or names what no checkpoint needs.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(
            f"{path}: there is no such file; check the path, or `latentzoo list` for names"
        )
    try:
        container = sniff(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a text's unknown escapes
            tensors, records = open_as(container, path)
    except CheckpointError as error:
        if str(error).startswith(str(path)):
            raise
        raise CheckpointError(f"{path}: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UNSOUND as error:
        fact = " ".join(str(error).split())[:300] or type(error).__name__
        raise CheckpointError(
            f"{path}: not a sound checkpoint ({fact}); is the download complete?"
        ) from error
    if not tensors:
        raise CheckpointError(
            f"{path}: holds no tensors that could be weights; is it a checkpoint of another kind?"
        )
    return Checkpoint(kept(tensors), records, path, container)


def kept(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors apart from their file, if they are small."""
    size = sum(x.numel() * x.element_size() for x in tensors.values())
    return {n: x.clone() for n, x in tensors.items()} if size <= COPIED else tensors


def sniff(path: Path) -> Container:
    """Says which container a path is.

    Raises:
        CheckpointError: If it is none that is known.
    """
    if path.is_dir():
        graphs = any(path.glob("*.xml")) and not any(path.glob("*.safetensors"))
        return "openvino" if graphs else "folder"
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise CheckpointError(f"{path}: the file is empty; download it again")
    if head.startswith(b"PK"):
        return "numpy" if arrays.is_npz(path) else "torch"
    if head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] < path.stat().st_size:
        return "safetensors"
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return "torch" if LEGACY[0] in head[:32] else "nvidia"
    if head.startswith(LEGACY[1]):
        return "torch"
    if TEXT.match(head):
        return "nvidia"
    if head.startswith(equinox.MAGIC):
        return "equinox"
    if path.suffix == ".xml" and head.lstrip().startswith((b"<?xml", b"<net")):
        return "openvino"
    if path.suffix == ".json" and head.lstrip()[:1] in (b"{", b"["):
        return "tfjs"
    for start, what in STRANGERS.items():
        if head.lstrip().startswith(start):
            raise CheckpointError(f"{path}: {what}")
    raise CheckpointError(
        f"{path}: neither safetensors, nor of torch.save, nor a pickle or arrays of numpy; is it complete?"
    )


def open_as(container: Container, path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads a path as what it is."""
    if container == "folder":
        return folder.read(path, lambda part: dict(read(part).tensors))
    if container in PLAIN:
        return PLAIN[container](path)
    with path.open("rb") as file:
        buffer = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    if container == "nvidia":
        views, records = nvidia.read(buffer)
    else:
        zipped = bytes(buffer[:2]) == b"PK"
        views, records = layout.split(
            torch_file.read_zip(path, buffer) if zipped else torch_file.read_legacy(buffer)
        )
    return {name: view.tensor() for name, view in views.items()}, records
