"""The weight files that ship with the package, and the networks they belong to."""

from importlib import resources
from pathlib import Path
from typing import TypeVar

from safetensors.torch import load_file
from torch import Tensor, nn

from latentzoo.builtin.ldm import LatentDiffusion, build
from latentzoo.builtin.networks.autoencoder import Autoencoder
from latentzoo.errors import CheckpointError

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


def fill(network: T, values: dict[str, Tensor], prefix: str = "") -> T:
    """The network with the tensors under a prefix, frozen and in evaluation mode."""
    inside = {key.removeprefix(prefix): x for key, x in values.items() if key.startswith(prefix)}
    network.load_state_dict(inside, strict=True)
    return network.requires_grad_(False).eval()


def autoencoder() -> Autoencoder:
    """The autoencoder of the latent models."""
    return fill(Autoencoder(), tensors("avatar-autoencoder"))


def latent_diffusion(steps: int) -> LatentDiffusion:
    """The latent diffusion as a deterministic map of so many steps."""
    return fill(build(steps=steps), tensors("avatar-ldm"))
