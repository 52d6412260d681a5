"""The weight files that ship with the package."""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TypeVar

from safetensors.torch import load_file
from torch import Tensor, nn

from latentzoo.errors import CheckpointError
from latentzoo.hub.fit import fit

T = TypeVar("T", bound=nn.Module)
SHELF = resources.files("latentzoo.builtin.weights")


def tensors(name: str) -> dict[str, Tensor]:
    """The tensors of a shipped weight file, in single precision.

    Raises:
        CheckpointError: The package has no such file.
    """
    path = Path(str(SHELF / f"{name}.safetensors"))
    if not path.exists():
        raise CheckpointError(
            f"the weights of '{name}' are not in this package; train them: latentzoo-train {name}"
        )
    read = load_file(path)
    return {key: x.float() if x.is_floating_point() else x for key, x in read.items()}


def fill(network: T, values: Mapping[str, Tensor], prefix: str = "") -> T:
    """The network with the tensors under a prefix, frozen and in evaluation mode."""
    inside = {key.removeprefix(prefix): x for key, x in values.items() if key.startswith(prefix)}
    return fit(network, inside, source="the shipped weights")
