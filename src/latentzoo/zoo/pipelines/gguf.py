"""A denoiser in a GGUF file: weights of few bits, which become numbers at each use.

They stay as they are in the file, in memory too; a gradient with respect to the input goes through the numbers, which
diffusers rounds to 16 bits whatever is computed in.
"""

import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from latentzoo.errors import CheckpointError, MissingExtra, SpecError
from latentzoo.zoo.pipelines.blame import unsound
from latentzoo.zoo.pipelines.quiet import heard

ENDING = ".gguf"
DENOISERS = ("transformer", "unet")
"""The components that such a file may be, the first that a pipeline has."""
PACKAGES = {"gguf": "gguf", "accelerate": "diffusers"}
"""What reads it, and the extra that brings it."""
PLAIN = (0, 1)
"""Kinds of 32 and of 16 bits, which every library reads."""
LAYERS = "diffusers.quantizers.gguf.utils"
"""The module of diffusers' layers of such weights, which imports the package."""


def denoiser(kind: str, names: Iterable[str]) -> str:
    """Which component of a pipeline the file is.

    Raises:
        SpecError: If the pipeline has no denoiser.
    """
    known = set(names)
    found = next((name for name in DENOISERS if name in known), None)
    if found is None:
        raise SpecError(
            f"{kind} has no transformer and no U-Net that a GGUF file could be; give its folder"
        )
    return found


def network(kind: Any, file: Path, folder: Path, dtype: torch.dtype) -> nn.Module:
    """The denoiser of a file.

    Arguments:
        kind: Its class.
        file: The file.
        folder: The folder of its settings.
        dtype: The type of the numbers that the weights become.

    Raises:
        MissingExtra: If a package is not installed.
        SpecError: If diffusers reads no single file of this class.
        CheckpointError: If the file is none, has bits of a kind that diffusers does not read, has tensors that the
            network does not know, or lacks some.
    """
    for package, extra in PACKAGES.items():
        if find_spec(package) is None:
            raise MissingExtra(package, extra, "a GGUF file")
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES
    from diffusers.quantizers.quantization_config import GGUFQuantizationConfig

    if not any(base.__name__ in SINGLE_FILE_LOADABLE_CLASSES for base in kind.__mro__):
        raise SpecError(f"{kind.__name__} is not read from one file by diffusers; give its folder")
    readable(file)
    with heard() as said, unsound(file):
        net = kind.from_single_file(
            str(file),
            config=str(folder),
            quantization_config=GGUFQuantizationConfig(compute_dtype=dtype),
            torch_dtype=dtype,
            local_files_only=True,
        )
    unused = (line for line in said if "were not used" in line)  # "...: \n ['a.bias, b.bias']"
    surplus = [name for line in unused for name in line.partition("[")[2].strip("]'").split(", ")]
    if surplus:
        raise CheckpointError(
            f"{file}: it has the surplus {surplus[0]}; is it the file of another network?"
        )
    return net


def readable(file: Path) -> None:
    """Looks at the kinds of a file's bits.

    Raises:
        CheckpointError: If it is no GGUF file, or diffusers does not read one of them.
    """
    reader = import_module("gguf").GGUFReader
    known = {int(kind) for kind in import_module(LAYERS).SUPPORTED_GGUF_QUANT_TYPES} | {*PLAIN}
    try:
        tensors = reader(str(file)).tensors
    except Exception as error:  # whatever a file makes its reader do
        raise CheckpointError(f"{file}: it is no whole GGUF file; is it complete?") from error
    for tensor in tensors:
        if int(tensor.tensor_type) not in known:
            raise CheckpointError(
                f"{file}: its {tensor.name} has bits of the kind {tensor.tensor_type.name}, which diffusers does not "
                "read; take a file of Q8_0, Q6_K, Q5_K, Q4_K or another kind that it reads"
            )


def follow(networks: Iterable[nn.Module]) -> None:
    """Computes in the type that the other numbers of a network have, where it was moved to another."""
    layers = sys.modules.get(LAYERS)
    if layers is None:  # no file was read
        return
    for net in networks:
        numbers = (x.dtype for x in net.parameters() if x.is_floating_point())
        dtype = next(numbers, None)
        for part in net.modules():
            if dtype is not None and isinstance(part, layers.GGUFLinear):
                vars(part)["compute_dtype"] = dtype
