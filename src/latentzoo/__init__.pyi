"""The public names, once: lazy_loader reads where each is from this file, and type checkers read it too."""

from .bridges.noise import noise as noise
from .bridges.physics import measured as measured
from .bridges.tables import to_dataset as to_dataset
from .bridges.tables import to_pandas as to_pandas
from .bridges.trackers import tracker as tracker
from .diagnosis.check import check as check
from .energies.attribute import Attribute as Attribute
from .energies.attribute import Label as Label
from .energies.base import Energy as Energy
from .energies.base import Function as Function
from .energies.base import PerChain as PerChain
from .energies.clip import Clip as Clip
from .energies.clip import Directional as Directional
from .energies.identity import Identity as Identity
from .energies.measure import Measure as Measure
from .energies.reward import Reward as Reward
from .errors import LatentzooError as LatentzooError
from .generator import Encodable as Encodable
from .generator import Generator as Generator
from .generator import Restricted as Restricted
from .kernels.adam import Adam as Adam
from .kernels.anneal import Anneal as Anneal
from .kernels.ghmc import GHMC as GHMC
from .kernels.lm import LM as LM
from .kernels.mala import MALA as MALA
from .kernels.malt import MALT as MALT
from .kernels.pcn import PCN as PCN
from .kernels.pcnl import PCNL as PCNL
from .kernels.reno import Reno as Reno
from .kernels.slice import Slice as Slice
from .kernels.smc import SMC as SMC
from .kernels.tempering import Tempering as Tempering
from .kernels.ula import ULA as ULA
from .posterior import Posterior as Posterior
from .record.folder import save as save
from .record.saved import SavedRun as SavedRun
from .record.saved import open as open
from .rng import Rng as Rng
from .run.result import Result as Result
from .run.sampling import sample as sample
from .space import Space as Space
from .views.camera import Camera as Camera
from .zoo import load as load
from .zoo import names as names

__version__: str
