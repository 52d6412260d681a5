"""latentzoo: every pre-trained image generator as one map from a Gaussian, guided by sampling its
latent posterior.

The public names are imported when they are first used, so that `import latentzoo` stays quick and
torch is loaded only when something needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentzoo.energies.attribute import Attribute, Label
    from latentzoo.energies.base import Energy, Function, PerChain
    from latentzoo.energies.clip import Clip, Directional
    from latentzoo.energies.identity import Identity
    from latentzoo.energies.measure import Measure
    from latentzoo.energies.reward import Reward
    from latentzoo.errors import LatentzooError
    from latentzoo.generator import Encodable, Generator, Restricted
    from latentzoo.kernels.adam import Adam
    from latentzoo.kernels.anneal import Anneal
    from latentzoo.kernels.ghmc import GHMC
    from latentzoo.kernels.lm import LM
    from latentzoo.kernels.mala import MALA
    from latentzoo.kernels.malt import MALT
    from latentzoo.kernels.pcn import PCN
    from latentzoo.kernels.pcnl import PCNL
    from latentzoo.kernels.reno import Reno
    from latentzoo.kernels.slice import Slice
    from latentzoo.kernels.smc import SMC
    from latentzoo.kernels.tempering import Tempering
    from latentzoo.kernels.ula import ULA
    from latentzoo.posterior import Posterior
    from latentzoo.record.folder import save
    from latentzoo.record.saved import SavedRun, open
    from latentzoo.rng import Rng
    from latentzoo.run.result import Result
    from latentzoo.run.sampling import sample
    from latentzoo.space import Space
    from latentzoo.views.camera import Camera
    from latentzoo.zoo import load, names

__version__ = "0.1.0"

_HOME = {
    "Adam": "kernels.adam",
    "Anneal": "kernels.anneal",
    "Attribute": "energies.attribute",
    "Camera": "views.camera",
    "Clip": "energies.clip",
    "Directional": "energies.clip",
    "Encodable": "generator",
    "Energy": "energies.base",
    "Function": "energies.base",
    "GHMC": "kernels.ghmc",
    "Generator": "generator",
    "Identity": "energies.identity",
    "LM": "kernels.lm",
    "Label": "energies.attribute",
    "LatentzooError": "errors",
    "MALA": "kernels.mala",
    "MALT": "kernels.malt",
    "Measure": "energies.measure",
    "PCN": "kernels.pcn",
    "PCNL": "kernels.pcnl",
    "PerChain": "energies.base",
    "Posterior": "posterior",
    "Reno": "kernels.reno",
    "Restricted": "generator",
    "Result": "run.result",
    "Reward": "energies.reward",
    "Rng": "rng",
    "SMC": "kernels.smc",
    "SavedRun": "record.saved",
    "Slice": "kernels.slice",
    "Space": "space",
    "Tempering": "kernels.tempering",
    "ULA": "kernels.ula",
    "load": "zoo",
    "names": "zoo",
    "open": "record.saved",
    "sample": "run.sampling",
    "save": "record.folder",
}

__all__ = [
    "GHMC",
    "LM",
    "MALA",
    "MALT",
    "PCN",
    "PCNL",
    "SMC",
    "ULA",
    "Adam",
    "Anneal",
    "Attribute",
    "Camera",
    "Clip",
    "Directional",
    "Encodable",
    "Energy",
    "Function",
    "Generator",
    "Identity",
    "Label",
    "LatentzooError",
    "Measure",
    "PerChain",
    "Posterior",
    "Reno",
    "Restricted",
    "Result",
    "Reward",
    "Rng",
    "SavedRun",
    "Slice",
    "Space",
    "Tempering",
    "load",
    "names",
    "open",
    "sample",
    "save",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(f"latentzoo.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'latentzoo' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
