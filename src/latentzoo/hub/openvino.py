"""OpenVINO's intermediate representation: a graph in NAME.xml, the numbers of its constants in NAME.bin beside it.

    <net version="10"><layers>
      <layer name="m.conv1.bias" type="Const"><data element_type="f32" shape="1, 512" offset="28" size="2048"/></layer>

The constants are the tensors, by the names of their layers. The graph is not run: a family writes its network out, and
its key rules say which constant is which weight. Numbers that are not floating (axes and shapes of the graph) are left
out. The XML may define no entities, which is how a small file becomes a large one, or another file is read.

References:
    | OpenVINO IR format, version 10 (Intel, 2020)
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

import torch
from torch import Tensor

from latentzoo.errors import CheckpointError
from latentzoo.hub.storage import View, dense

LARGEST = 2**25  # bytes of a graph
VERSIONS = ("10", "11")
DTYPES = {"f32": torch.float32, "f16": torch.float16, "f64": torch.float64}
WHOLE = ("i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8", "boolean", "u1", "i4", "u4")


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads a graph's constants; of a folder, those of each graph in it, as "NAME.CONSTANT".

    Arguments:
        path: NAME.xml, or a folder that has one or more.

    Returns:
        The floating tensors, as views of the file, and the version and operations of each graph.

    Raises:
        CheckpointError: If a graph has no numbers beside it, or its XML defines entities.
        ValueError: If it is damaged, or declares more than it holds.
    """
    if not path.is_dir():
        return graph(path)
    tensors: dict[str, Tensor] = {}
    records: dict[str, Any] = {}
    for xml in sorted(path.glob("*.xml")):
        own, records[xml.stem] = graph(xml)
        tensors |= {f"{xml.stem}.{name}": tensor for name, tensor in own.items()}
    return tensors, records


def graph(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads one graph's constants.

    Raises:
        CheckpointError: If its numbers are not beside it.
        ValueError: If it is too large, of another version, or not sound.
    """
    numbers = path.with_suffix(".bin")
    if not numbers.is_file():
        raise CheckpointError(
            f"{path}: its numbers, {numbers.name}, are not beside it; put both into one folder"
        )
    if path.stat().st_size > LARGEST:
        raise ValueError(f"a graph of more than {LARGEST} bytes")
    root, layers = parse(path.read_bytes())
    if root.get("version") not in VERSIONS:
        raise ValueError(
            f"a graph of version {root.get('version', 'none')[:20]}, and {' and '.join(VERSIONS)} are read"
        )
    if numbers.stat().st_size == 0:
        raise ValueError(f"{numbers.name} is empty")
    with numbers.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    tensors: dict[str, Tensor] = {}
    for name, attributes in constants(layers):
        if name in tensors:
            raise ValueError(f"it has two constants of the name '{name[:80]}'")
        tensors[name] = constant(attributes, data).tensor()
    kinds = sorted({layer["type"] for layer, _ in layers if "type" in layer})
    return tensors, {"version": root["version"], "operations": kinds}


def constants(
    layers: list[tuple[dict[str, str], dict[str, str]]],
) -> Iterator[tuple[str, dict[str, str]]]:
    """The names and declarations of the floating constants."""
    for layer, attributes in layers:
        if layer.get("type") == "Const" and attributes.get("element_type") not in WHOLE:
            yield layer["name"], attributes


def constant(attributes: dict[str, str], data: memoryview) -> View:
    """One constant as a view of the file's numbers.

    Raises:
        ValueError: If its type is unknown, or it leaves the file.
    """
    if attributes["element_type"] not in DTYPES:
        raise ValueError(f"it has constants of the type '{attributes['element_type'][:20]}'")
    dtype = DTYPES[attributes["element_type"]]
    shape = tuple(natural(n) for n in attributes["shape"].split(",") if n.strip())
    start, size = natural(attributes["offset"]), natural(attributes["size"])
    if start + size > len(data):
        raise ValueError(f"a constant of {size} bytes at {start} is declared on {len(data)}")
    return dense(dtype, shape, data[start : start + size])


def natural(text: str) -> int:
    """A number of at most fifteen digits.

    Raises:
        ValueError: If it is none.
    """
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise ValueError(f"'{text[:20]}' is declared where a number belongs")
    return int(text)


def parse(xml: bytes) -> tuple[dict[str, str], list[tuple[dict[str, str], dict[str, str]]]]:
    """The attributes of the root, and of each layer and its data.

    Raises:
        CheckpointError: If the XML declares a document type or entities.
        ValueError: If it is not sound, or not a graph.
    """
    root: dict[str, str] = {}
    layers: list[tuple[dict[str, str], dict[str, str]]] = []
    trail: list[str] = []

    def refuse(*_: Any) -> int:
        raise CheckpointError(
            "its XML declares a document type or entities, as no graph does; do not trust it"
        )

    def begin(tag: str, attributes: dict[str, str]) -> None:
        trail.append(tag)
        if trail == ["net"]:
            root.update(attributes)
        elif trail == ["net", "layers", "layer"]:
            layers.append((attributes, {}))
        elif trail == ["net", "layers", "layer", "data"]:
            layers[-1][1].update(attributes)

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    parser.StartElementHandler = begin
    parser.EndElementHandler = lambda tag: trail.pop()
    try:
        parser.Parse(xml, True)
    except expat.ExpatError as error:
        raise ValueError(f"its XML is not sound: {error}") from error
    return root, layers
