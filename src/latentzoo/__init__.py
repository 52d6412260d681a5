"""latentzoo: every pre-trained image generator as one map from a Gaussian, guided by sampling its
latent posterior.

The public names are imported when they are first used, so that `import latentzoo` stays quick and
torch is loaded only when something needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentzoo.energies.base import Energy, Function
    from latentzoo.energies.clip import Clip
    from latentzoo.errors import LatentzooError
    from latentzoo.generator import Encodable, Generator, Restricted
    from latentzoo.kernels.mala import MALA
    from latentzoo.kernels.ula import ULA
    from latentzoo.posterior import Posterior
    from latentzoo.rng import Rng
    from latentzoo.sample import Result, sample
    from latentzoo.space import Space
    from latentzoo.zoo import load, names

__version__ = "0.1.0"

_HOME = {
    "Clip": "energies.clip",
    "Encodable": "generator",
    "Energy": "energies.base",
    "Function": "energies.base",
    "Generator": "generator",
    "LatentzooError": "errors",
    "MALA": "kernels.mala",
    "Posterior": "posterior",
    "Restricted": "generator",
    "Result": "sample",
    "Rng": "rng",
    "Space": "space",
    "ULA": "kernels.ula",
    "load": "zoo",
    "names": "zoo",
    "sample": "sample",
}

__all__ = [
    "MALA",
    "ULA",
    "Clip",
    "Encodable",
    "Energy",
    "Function",
    "Generator",
    "LatentzooError",
    "Posterior",
    "Restricted",
    "Result",
    "Rng",
    "Space",
    "load",
    "names",
    "sample",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(f"latentzoo.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'latentzoo' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
