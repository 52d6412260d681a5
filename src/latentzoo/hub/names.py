"""Which names a pickle may hold, and what the values of a checkpoint are made of.

Nothing a pickle names is ever imported, so no name can do harm. Yet a file that names `os.system` is no checkpoint, and
should be known for what it is: names are admitted by three lists, and anything else is refused by name.

* Names whose calls are computed by functions of this package (`CALLS`): tensors, dictionaries, numpy numbers.
* Names that are known to lie beside the weights in official files (`BESIDE`): their objects become inert records.
* In NVIDIA's pickles, where the discriminator brings along half of its authors' Python, also the classes of torch.nn
  and of packages that are neither torch nor the standard library.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from latentzoo.errors import CheckpointError
from latentzoo.hub.machine import Built, Name, key, words
from latentzoo.hub.storage import DTYPES, rebuild_parameter
from latentzoo.hub.tensors import NUMERIC, REBUILD, layout_of, rebuild_with_attributes

PYTHON2 = {"__builtin__", "commands", "copy_reg", "cPickle", "imp", "popen2", "urllib2"}
STANDARD = sys.stdlib_module_names | PYTHON2
TYPES = words(
    "set frozenset list dict tuple int float str bytes bytearray bool complex object slice range"
)
NUMBERS = words("float64 float32 float16 int64 int32 int16 int8 uint8 bool")
SCHEMES = words(
    "per_tensor_affine per_tensor_symmetric per_channel_affine per_channel_symmetric "
    "per_channel_affine_float_qparams"
)
NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")


def ordered(items: Any = ()) -> dict[Any, Any]:
    """Stands for `dict` and `collections.OrderedDict`, given nothing, a dictionary, or pairs."""
    return dict(items) if isinstance(items, dict) else {key(name): value for name, value in items}


def encode(text: str, encoding: str = "latin1") -> bytes:
    """Stands for `_codecs.encode`, as protocol 2 spells bytes.

    Raises:
        ValueError: If the encoding is none that bytes are spelt in.
    """
    if encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise ValueError("the pickle encodes bytes in an unusual way")
    return text.encode(encoding)


def array_of_bytes(content: Any = b"", encoding: str = "latin1") -> bytes:
    """Stands for `bytearray`, given bytes, or text as protocol 2 spells them.

    Raises:
        ValueError: If the content is neither bytes nor text.
    """
    if isinstance(content, (bytes, bytearray, memoryview)):
        return bytes(content)
    if not isinstance(content, str):  # a number would be so many zeros
        raise ValueError("the pickle makes bytes of what is neither bytes nor text")
    return encode(content, encoding)


def complex_number(real: Any = 0.0, imaginary: Any = 0.0) -> complex:
    """Stands for `complex`, given two numbers.

    Raises:
        ValueError: If a part is no number.
    """
    if not all(isinstance(part, (int, float)) for part in (real, imaginary)):
        raise ValueError("the pickle makes a complex number of what are not numbers")
    return complex(real, imaginary)


def create_array(function: Any, args: Any, state: Any, attributes: Any = None) -> Built:
    """Stands for `dill._dill._create_array`, dill's way to store numpy arrays."""
    return Built(Name(NUMPY[0], "_reconstruct"), args, state)


CALLS: Mapping[str, Callable[..., Any]] = {
    **REBUILD,
    "collections.OrderedDict": ordered,
    "collections.Counter": ordered,
    "dnnlib.util.EasyDict": ordered,
    "_codecs.encode": encode,
    "torch._utils._rebuild_parameter": rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": rebuild_parameter,
    "torch.nn.parameter.Parameter": rebuild_parameter,
    "torch._tensor._rebuild_from_type_v2": rebuild_with_attributes,
    "torch.serialization._get_layout": layout_of,
    "torch.Size": lambda size=(): tuple(size),
    "dill._dill._create_array": create_array,
    "dill._dill._load_type": lambda name: Name("builtins", str(name)[:80]),
} | {
    f"{module}.{name}": call
    for module in ("builtins", "__builtin__")
    for name, call in {
        "bytes": lambda: b"",  # as protocol 2 spells none at all
        "bytearray": array_of_bytes,
        "complex": complex_number,
        "dict": ordered,
        "list": lambda items=(): list(items),
        "tuple": lambda items=(): tuple(items),
        "set": lambda items=(): set(map(key, items)),
        "frozenset": lambda items=(): frozenset(map(key, items)),
    }.items()
}
SCRIPT: Mapping[str, Callable[..., Any]] = {
    "torch.jit._pickle.restore_type_tag": lambda value, kind: value,
    **{
        f"torch.jit._pickle.build_{kind}list": lambda values: values
        for kind in ("int", "bool", "double", "tensor")
    },
}
"""What only the files of `torch.jit.save` call: typed lists."""
BESIDE = {
    "argparse.Namespace",
    "builtins.set",
    "__builtin__.set",
    "collections.defaultdict",
    "copyreg._reconstructor",
    "copy_reg._reconstructor",
    "datetime.datetime",
    "datetime.timedelta",
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{number}" for number in NUMBERS),
    *(f"{module}.{name}" for module in NUMPY for name in ("scalar", "_reconstruct")),
    *("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"),
    *(
        f"pathlib.{name}"
        for name in words("Path PurePath PosixPath PurePosixPath WindowsPath PureWindowsPath")
    ),
    *(f"{module}.{storage}" for module in ("torch", "torch.storage") for storage in DTYPES),
    *NUMERIC,
    "torch.device",
    "torch.Tensor",  # the kind of a tensor with attributes
    *(f"torch.{scheme}" for scheme in SCHEMES),
}
PACKAGES = ("pytorch_lightning", "lightning", "lightning_fabric", "omegaconf")
INERT_MODULES = set(words("abc collections dataclasses datetime enum logging math typing weakref"))
INERT_NAMES = {
    "functools.partial",
    *(f"{m}.{t}" for m in ("builtins", "__builtin__") for t in TYPES),
}
INERT_TORCH = ("torch.nn.", "torch.optim.", "torch._C._nn.")
LOAD = "torch.storage._load_from_bytes"
MODULES = "__torch__"  # before the names of all classes of a file of `torch.jit.save`


def admit_torch(name: Name) -> None:
    """Admits the names of a torch file: those of its values, and of what is known to lie beside them.

    Raises:
        CheckpointError: For any other name.
    """
    package, whole = name.module.split(".")[0], str(name)
    if not (whole in CALLS or whole in BESIDE or package in PACKAGES or name.module == "typing"):
        refuse(name)


def admit_script(name: Name) -> None:
    """Admits the names of a file of `torch.jit.save`: also the classes of its own modules, all inert.

    Raises:
        CheckpointError: For any other name.
    """
    if name.module.split(".")[0] != MODULES and str(name) not in SCRIPT:
        admit_torch(name)


def admit_nvidia(name: Name) -> None:
    """Admits the names of NVIDIA's pickles: also classes of torch.nn and of other packages, all inert.

    Raises:
        CheckpointError: For the other names of torch, of numpy and of the standard library.
    """
    package, whole = name.module.split(".")[0], str(name)
    if whole == LOAD or whole in CALLS or whole in BESIDE or whole in INERT_NAMES:
        return
    standard = package in STANDARD and package not in INERT_MODULES
    torch = package == "torch" and not whole.startswith(INERT_TORCH)
    if standard or torch or package in ("numpy", "latentzoo"):
        refuse(name)


def refuse(name: Name) -> NoReturn:
    """Refuses a name.

    Raises:
        CheckpointError: Always.
    """
    raise CheckpointError(
        f"the pickle names {str(name)[:120]!r}, which no checkpoint needs; nothing of it was executed and it is not "
        "read any further: get the file from its authors, or as safetensors"
    )
