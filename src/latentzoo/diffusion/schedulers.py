"""What the `scheduler_config.json` of a repository says, by lists of what is understood.

The sampler that is asked for reads the file as `from_config` of diffusers' class of that name would: a key that is not
there has the default of *that* class (times are "leading" for DDIM and "linspace" for DPM-Solver++), and keys that the
class does not have belong to another sampler. Every key of the class itself is in one of three lists: what is
understood, what must be as expected, and what changes nothing here. A key of another class, which a file has that was
made of one of these, is passed over as diffusers does; any other is refused by name.

References:
    | Diffusers: State-of-the-art diffusion models (von Platen et al., 2022)
    | https://github.com/huggingface/diffusers
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from latentzoo import options
from latentzoo.errors import SpecError
from latentzoo.options import Natural, Portion, Positive, Share, Weight


@dataclass(frozen=True)
class Scheduler:
    """Creates the record of a class of diffusers' schedulers.

    Arguments:
        name: The class.
        understood: The keys whose value is followed, and their defaults.
        expected: The keys that must have this value.
        idle: The keys that change nothing here.
        replaced: The values of other classes that diffusers itself takes for another, by key.
    """

    name: str
    understood: Mapping[str, Any]
    expected: Mapping[str, Any] = field(default_factory=dict)
    idle: frozenset[str] = frozenset()
    replaced: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def keys(self) -> frozenset[str]:
        """The keys that the class has."""
        return frozenset((*self.understood, *self.expected, *self.idle))

    def read(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The value of each key that is understood.

        Arguments:
            config: A `scheduler_config.json`, of this class or another.

        Raises:
            SpecError: If a key has a value that is not expected, or is not known of a class that is.
        """
        unset = config.get("_use_default_values", ())
        given = {k: v for k, v in config.items() if k[:1] != "_" and k not in unset}
        owner = BY_NAME.get(config.get("_class_name", self.name))
        for key, value in given.items():
            if owner is not None and not _known(key, value, owner):
                raise SpecError(f"the scheduler's {key}={value!r} is not known; leave it out")
            value = self.replaced[key].get(value, value) if key in self.replaced else value
            if key in self.understood:
                options.require(f"the scheduler's {key}", value, TYPES.get(key, str))
            if key in self.expected and value != self.expected[key]:
                raise SpecError(
                    f"the scheduler's {key}={value!r} is not supported, {self.expected[key]!r} is; "
                    "set it so, or take another sampler"
                )
        told = {**self.understood, **{k: v for k, v in given.items() if k in self.understood}}
        for low, high in ORDERED:
            if low in told and not told[low] < told[high]:
                raise SpecError(
                    f"the scheduler's {low}={told[low]} is not below its {high}={told[high]}; exchange them"
                )
        return told


TRAINING = {
    "num_train_timesteps": 1000,
    "beta_start": 1e-4,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "prediction_type": "epsilon",
}
"""What a network is trained with."""
CLIPPING = {"clip_sample": True, "clip_sample_range": 1.0}
PLAIN = {"thresholding": False, "rescale_betas_zero_snr": False}
THRESHOLDS = frozenset({"dynamic_thresholding_ratio", "sample_max_value"})
SPACED = {"timestep_spacing": "leading", "steps_offset": 0}
SIGMAS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")

DDIM = Scheduler(
    "DDIMScheduler",
    {**TRAINING, **CLIPPING, **SPACED, "set_alpha_to_one": True},
    PLAIN,
    THRESHOLDS,
)
DDPM = Scheduler(
    "DDPMScheduler",
    {**TRAINING, **CLIPPING, **SPACED, "variance_type": "fixed_small"},
    PLAIN,
    THRESHOLDS,
)
MULTISTEP = Scheduler(
    "DPMSolverMultistepScheduler",
    {**TRAINING, **SPACED, "timestep_spacing": "linspace"},
    {
        **PLAIN,
        **dict.fromkeys(
            (*SIGMAS, "use_lu_lambdas", "use_flow_sigmas", "use_dynamic_shifting"), False
        ),
        "solver_order": 2,
        "algorithm_type": "dpmsolver++",
        "solver_type": "midpoint",
        "final_sigmas_type": "zero",
        "lambda_min_clipped": -math.inf,
    },
    # the last step leads into the picture and is of first order in any case
    THRESHOLDS
    | {"lower_order_final", "euler_at_final", "variance_type", "flow_shift", "time_shift_type"},
    {
        "algorithm_type": {"deis": "dpmsolver++"},
        "solver_type": dict.fromkeys(("logrho", "bh1", "bh2"), "midpoint"),
    },
)
FLOW = {"num_train_timesteps": 1000, "shift": 1.0}
FLOW_EULER = Scheduler(
    "FlowMatchEulerDiscreteScheduler",
    FLOW,
    {
        **dict.fromkeys((*SIGMAS, "use_dynamic_shifting", "invert_sigmas"), False),
        "stochastic_sampling": False,
        "shift_terminal": None,
    },
    frozenset(
        {"base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len", "time_shift_type"}
    ),
)
FLOW_HEUN = Scheduler("FlowMatchHeunDiscreteScheduler", FLOW)
EXPLODING = Scheduler(
    "ScoreSdeVeScheduler",
    {
        "sigma_min": 0.01,
        "sigma_max": 1348.0,
        "sampling_eps": 1e-5,
        "correct_steps": 1,
        "snr": 0.15,
    },
    idle=frozenset({"num_train_timesteps"}),
)
PRESERVING = Scheduler(
    "ScoreSdeVpScheduler",
    {"num_train_timesteps": 2000, "beta_min": 0.1, "beta_max": 20.0, "sampling_eps": 1e-3},
)
CONSISTENCY = Scheduler(
    "CMStochasticIterativeScheduler",
    {
        "num_train_timesteps": 40,
        "sigma_min": 0.002,
        "sigma_max": 80.0,
        "sigma_data": 0.5,
        "rho": 7.0,
        "clip_denoised": True,
    },
    {"s_noise": 1.0},
)
BY_NAME = {
    s.name: s
    for s in (DDIM, DDPM, MULTISTEP, FLOW_EULER, FLOW_HEUN, EXPLODING, PRESERVING, CONSISTENCY)
}

TYPES: Mapping[str, Any] = {
    "num_train_timesteps": Annotated[int, Meta(ge=1, le=1_000_000)],
    **dict.fromkeys(("beta_start", "beta_end"), Share),
    "trained_betas": list[Share] | None,
    "clip_sample_range": Positive,
    **dict.fromkeys(("steps_offset", "correct_steps"), Natural),
    **dict.fromkeys(("clip_sample", "set_alpha_to_one", "clip_denoised"), bool),
    **dict.fromkeys(("shift", "sigma_min", "sigma_max", "sigma_data", "rho", "snr"), Positive),
    **dict.fromkeys(("beta_min", "beta_max"), Weight),
    "sampling_eps": Portion,
}
"""What each key that is understood may be; the others are names, which who reads them knows."""
ORDERED = (("sigma_min", "sigma_max"), ("beta_min", "beta_max"))

RETIRED = {"timestep_values": None, "predict_epsilon": True, "tensor_format": "pt"}
"""Keys of the first versions of diffusers, and the value at which they say nothing."""
FOREIGN = frozenset({"skip_prk_steps"}).union(*(s.keys for s in BY_NAME.values()))
"""Keys of all classes that are known here, and of PNDM, of which many files were made."""


def _known(key: str, value: Any, owner: Scheduler) -> bool:
    """Whether a key of the file of a class may be followed, or passed over."""
    if key in RETIRED:
        return value == RETIRED[key]
    return key in owner.keys or key in FOREIGN


SAMPLERS = {"ddim": DDIM, "ddpm": DDPM, "dpm++": MULTISTEP}
"""Which class a sampler of a chain of betas is."""
OWN = {DDIM.name: "ddim", DDPM.name: "ddim", MULTISTEP.name: "dpm++"}
"""The sampler of a repository, by the class of its scheduler."""
OTHERS = {
    *("DDIMParallelScheduler", "DDPMParallelScheduler", "DEISMultistepScheduler"),
    *("DPMSolverSDEScheduler", "DPMSolverSinglestepScheduler", "EulerAncestralDiscreteScheduler"),
    *("EulerDiscreteScheduler", "HeunDiscreteScheduler", "KDPM2AncestralDiscreteScheduler"),
    *("KDPM2DiscreteScheduler", "LCMScheduler", "LMSDiscreteScheduler", "PNDMScheduler"),
    *("SASolverScheduler", "TCDScheduler", "UniPCMultistepScheduler"),
}
"""Classes over a chain of betas whose own steps are not here; a sampler must be named."""


def own(config: Mapping[str, Any]) -> str:
    """The sampler of a repository where none is named.

    Raises:
        SpecError: If its scheduler's steps are not here.
    """
    name = str(config.get("_class_name", DDPM.name))
    if name not in OWN:
        raise SpecError(
            f"the repository's scheduler is {name}, whose steps are not here; "
            f"name a sampler ({', '.join(SAMPLERS)}), which reads it as diffusers' from_config does"
        )
    return OWN[name]
