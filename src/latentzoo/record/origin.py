"""Where chains begin that do not begin at the prior: at a picture, or where a chain of another run ended.

`init: face.png` is a picture, which the generator encodes; `init: runs/beard#3` is the latent of chain 3 of a run, for
any generator with that latent.
"""

import re
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import SpecError
from latentzoo.record import layout
from latentzoo.space import Space

OF_RUN = re.compile(r"(?P<folder>.+)#(?P<chain>-?\d+)", re.DOTALL)


def chain_of(words: str) -> tuple[Path, int] | None:
    """The run folder and the chain that an `init` names; None if it names a picture."""
    found = OF_RUN.fullmatch(words)
    if found is None or not Path(found["folder"]).is_dir():
        return None
    return Path(found["folder"]), int(found["chain"])


def whole(words: str) -> str | None:
    """An `init` that names a chain of a run, with the whole path of its folder; None if it names a picture."""
    run = chain_of(words)
    return None if run is None else f"{run[0].resolve()}#{run[1]}"


def file_of(words: str) -> Path:
    """The file that an `init` is read from."""
    run = chain_of(words)
    return Path(words) if run is None else run[0] / layout.LATENTS


def chain(folder: Path, number: int) -> Float[Tensor, "1 D"]:
    """The latent of a chain of a run.

    Raises:
        StateError: If the run has left no latents.
        SpecError: If it has no such chain.
    """
    z = layout.read_latents(folder)
    if not 0 <= number < len(z):
        raise SpecError(f"{folder}: there is no chain {number}; it has 0 to {len(z) - 1}")
    return z[number : number + 1]


def latent(folder: Path, number: int, space: Space) -> Float[Tensor, "1 D"]:
    """The latent of a chain of a run, for another run that begins there.

    Arguments:
        folder: The run's folder.
        number: The chain's number.
        space: The latent space of the run that begins there.

    Raises:
        StateError: If the run has left no latents.
        SpecError: If it has no such chain, or its latents are of another space.
    """
    z = chain(folder, number)
    if layout.read_space(folder) != space:
        raise SpecError(
            f"{folder}: its latents are {layout.read_space(folder)}, and this run's are {space}; take a run of the "
            "same generator, with the same options"
        )
    return z
