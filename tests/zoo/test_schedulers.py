"""Every key of every scheduler that is accepted, changed one at a time: diffusers' result, or a refusal in one line."""

import inspect
import json
import math
import warnings

import pytest
import torch
from repositories import UNET, diffusers, draw
from torch import nn

from latentzoo.diffusion import betas, schedulers
from latentzoo.errors import LatentzooError, SpecError
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.zoo import consistency_diffusers, ddpm, flow, scoresde

BETAS = [*schedulers.OWN, *sorted(schedulers.OTHERS - {"DPMSolverSDEScheduler"})]
"""All but one, which needs a package of its own."""
FIRST = (*schedulers.OWN, "EulerDiscreteScheduler", "UniPCMultistepScheduler")
FLOWS = [schedulers.FLOW_EULER.name, schedulers.FLOW_HEUN.name]
OTHER_VALUES = {
    "beta_schedule": ("scaled_linear", "squaredcos_cap_v2", "sigmoid"),
    "trained_betas": ([1e-3 + 1e-5 * i for i in range(1000)],),
    "prediction_type": ("sample", "v_prediction", "flow_prediction"),
    "timestep_spacing": ("trailing", "linspace", "leading"),
    "variance_type": ("fixed_small", "fixed_small_log", "fixed_large", "learned_range"),
    "algorithm_type": ("sde-dpmsolver++", "dpmsolver", "deis"),
    "solver_type": ("heun", "midpoint", "bh1"),
    "solver_order": (1, 3),
    "final_sigmas_type": ("sigma_min", "zero"),
    "lambda_min_clipped": (-5.1, -1.0),
    "num_train_timesteps": (500,),
    "steps_offset": (1,),
    "interpolation_type": ("log_linear",),
    "timestep_type": ("continuous",),
    "time_shift_type": ("linear",),
    "sigma_min": (0.3,),
    "sigma_max": (20.0,),
    "shift_terminal": (0.1,),
    "disable_corrector": ([1],),
    "predictor_order": (1,),
    "corrector_order": (1,),
    "original_inference_steps": (25,),
    "solver_p": (),  # a scheduler as an object, which no file holds
    "tau_func": (),  # a function, which no file has
}
SEEN = {sampler: getattr(diffusers, s.name) for sampler, s in schedulers.SAMPLERS.items()}


class Network(nn.Module):
    """An analytic network in place of the U-Net: what is compared is the schedule and the steps."""

    size, channels = (4, 4), 3

    def __init__(self, config=None, **_):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x, t):
        t = torch.as_tensor(t).to(x).reshape(-1, *(1,) * (x.ndim - 1))
        return 0.4 * x + torch.cos(x + t / 100)


@pytest.fixture(autouse=True)
def analytic(monkeypatch):
    monkeypatch.setattr("latentzoo.diffusion.unet.UNet2D", Network)
    for name in ("scheduling_ddpm", "scheduling_sde_ve"):
        monkeypatch.setattr(
            f"diffusers.schedulers.{name}.randn_tensor", lambda *_, **__: next(NOISE)
        )


NOISE = iter(())


def cases(names):
    """Each class with each key, and one with none changed; also as a file that has this key alone."""
    for name in names:
        kind = getattr(diffusers, name)
        yield name, None, None
        for key, p in inspect.signature(kind.__init__).parameters.items():
            if key == "self":
                continue
            for value in others(key, p.default):
                yield name, key, value


def others(key, default):
    if key in OTHER_VALUES:
        return [value for value in OTHER_VALUES[key] if value != default]
    if isinstance(default, bool):
        return [not default]
    if isinstance(default, int | float):
        return [2 * default if default else 1]
    raise AssertionError(f"{key}={default!r}: name another value in OTHER_VALUES")


def configuration(name, key, value, *, whole):
    """The file of a scheduler, or None where diffusers itself has no such scheduler."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = getattr(diffusers, name)(**({} if key is None else {key: value}))
            made.set_timesteps(5)
        except (ValueError, NotImplementedError, ImportError, TypeError, KeyError, IndexError):
            return None
    config = json.loads(made.to_json_string())
    if whole:
        return config
    return {"_class_name": name} | ({} if key is None else {key: config[key]})


@torch.no_grad()
def theirs(kind, config, x, steps, noise=()):
    global NOISE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = kind.from_config(config)
        scheduler.set_timesteps(steps)
        NOISE, network = iter([*noise, *[torch.zeros_like(x)] * 9]), Network()
        x = x * getattr(scheduler, "init_noise_sigma", 1.0)
        for t in scheduler.timesteps:
            x = scheduler.step(network(x, t), t, x).prev_sample
    return (x + 1) / 2


def compare(make, kind, config, where, steps=5):
    """Ours against diffusers'; whether there was something to compare."""
    try:
        ours = make(UNET, config, steps=steps).double()
    except LatentzooError as error:
        assert "\n" not in str(error)
        return False
    z = draw(2, ours.space.dim).double()
    x, *noise = ours.space.split(z).values()
    noise = noise[0].unbind(1) if noise else ()
    image = theirs(kind, config, x, steps, noise)
    assert torch.isfinite(image).all()
    difference = float((ours(z) - image).abs().max() / image.abs().max().clamp_min(1))
    assert difference < 1e-4, f"{where}: {difference}"
    return True


@pytest.mark.parametrize("sampler", SEEN)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FIRST else pytest.mark.slow) for n in BETAS]
)
def test_a_chain_of_betas_is_read_as_diffusers_from_config_does(name, sampler):
    """By every sampler, from the files of every class, whole and with missing keys."""
    make = lambda *a, **k: ddpm.build(*a, sampler=sampler, **k)
    compared = 0
    for name_, key, value in cases([name]):
        for whole in (True, False) if name in schedulers.OWN else (True,):
            config = configuration(name_, key, value, whole=whole)
            if config is not None:
                compared += compare(make, SEEN[sampler], config, (name_, key, value, whole))
    assert compared > 4


@pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")
@pytest.mark.parametrize("spacing", betas.SPACINGS)
@pytest.mark.parametrize(
    ("sampler", "name"), [(s, c.name) for s, c in schedulers.SAMPLERS.items()]
)
def test_the_times_are_those_of_the_library_for_every_number_of_steps(sampler, name, spacing):
    config = {"_class_name": name, "timestep_spacing": spacing}
    told = schedulers.SAMPLERS[sampler].read(config)
    path, theirs = betas.path(told), getattr(diffusers, name).from_config(config)
    for steps in (*range(1, 64), 96, 103, 121, 144, 206, 500, 999):
        theirs.set_timesteps(steps)
        pairs = betas.chain(path, told, sampler=sampler, steps=steps, spacing=spacing)
        times = theirs.timesteps.tolist()
        assert [t.time for t, _ in pairs] == times[:steps], steps
        assert len(times) == steps or (spacing == "trailing" and times[steps:] == [-1]), steps


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_is_read_as_diffusers_does(name):
    compared = 0
    for name_, key, value in cases([name]):
        for whole in (True, False):
            config = configuration(name_, key, value, whole=whole)
            if config is not None:
                kind = getattr(diffusers, name)
                compared += compare(flow.build, kind, config, (key, value, whole))
    assert compared >= 4


@pytest.mark.parametrize(("key", "value"), [(k, v) for _, k, v in cases(["ScoreSdeVeScheduler"])])
def test_an_exploding_path_is_read_as_diffusers_does(key, value):
    global NOISE
    name = "ScoreSdeVeScheduler"
    scheduler = diffusers.ScoreSdeVeScheduler(**({} if key is None else {key: value}))
    config = json.loads(scheduler.to_json_string())
    ours = scoresde.build(UNET, config, sampler="sde", steps=5).double()
    z = draw(1, ours.space.dim).double()
    x, noise = ours.space.split(z).values()
    scheduler.set_timesteps(5)
    scheduler.set_sigmas(5)
    NOISE, network = iter([*noise.unbind(1), torch.zeros_like(x)]), Network()
    x = x * scheduler.init_noise_sigma
    for i, t in enumerate(scheduler.timesteps):
        sigma = scheduler.sigmas[i] * torch.ones(1)
        for _ in range(scheduler.config.correct_steps):
            x = scheduler.step_correct(network(x, sigma), x).prev_sample
        step = scheduler.step_pred(network(x, sigma), t, x)
        x = step.prev_sample
    assert config["_class_name"] == name
    mean = step.prev_sample_mean
    assert (ours(z) - mean).abs().max() < 1e-4 * mean.abs().max().clamp_min(1)


@pytest.mark.parametrize(
    ("key", "value"), [(k, v) for _, k, v in cases([schedulers.CONSISTENCY.name])]
)
def test_a_consistency_model_is_read_as_diffusers_does(key, value, monkeypatch):
    global NOISE
    place = "diffusers.schedulers.scheduling_consistency_models.randn_tensor"
    monkeypatch.setattr(place, lambda *_, **__: next(NOISE))
    scheduler = diffusers.CMStochasticIterativeScheduler(**({} if key is None else {key: value}))
    config = json.loads(scheduler.to_json_string())
    try:
        ours = consistency_diffusers.build(UNET, config, steps=3).double()
    except SpecError as error:
        assert key == "s_noise" and "\n" not in str(error)
        return
    z = draw(1, ours.space.dim).double()
    x, noise = ours.space.split(z).values()
    scheduler.set_timesteps(3)
    NOISE, network = iter([*noise.unbind(1), torch.zeros_like(x)]), Network()
    x = x * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.step(network(scheduler.scale_model_input(x, t), t), t, x).prev_sample
    torch.testing.assert_close(ours(z), (x + 1) / 2, rtol=1e-4, atol=1e-4)


def classes():
    from diffusers.schedulers.scheduling_utils import SchedulerMixin

    found = (getattr(diffusers, name) for name in dir(diffusers) if name.endswith("Scheduler"))
    return [k.__name__ for k in found if isinstance(k, type) and issubclass(k, SchedulerMixin)]


def test_schedulers_are_admitted_by_a_list():
    """IPNDM, EDM and whatever diffusers adds next are of no family here."""
    tensors, unet = {"unet.conv_in.weight": torch.zeros(1)}, {"_class_name": "UNet2DModel", **UNET}
    read = {
        name: [
            family
            for family in (ddpm, flow, scoresde, consistency_diffusers)
            if family.infer(
                Checkpoint(tensors, {"unet": unet, "scheduler": {"_class_name": name}})
            )
        ]
        for name in [*classes(), "FutureScheduler"]
    }
    assert {n for n, by in read.items() if by == [ddpm]} >= set(BETAS)
    assert {n for n, by in read.items() if by == [flow]} == set(FLOWS)
    assert all(len(by) <= 1 for by in read.values())
    assert read[schedulers.CONSISTENCY.name] == [consistency_diffusers]
    for name in ("IPNDMScheduler", "EDMEulerScheduler", "KarrasVeScheduler"):
        assert read.get(name, []) == []
    assert read["FutureScheduler"] == read["FlowMatchLCMScheduler"] == []


@pytest.mark.parametrize("name", sorted(schedulers.OTHERS))
def test_steps_that_are_not_here_are_asked_for(name):
    with pytest.raises(SpecError, match=f"{name}, whose steps are not here; name a sampler"):
        ddpm.build(UNET, {"_class_name": name})


@pytest.mark.parametrize("name", [*schedulers.OWN, *FLOWS])
def test_a_key_that_is_not_known_is_refused_by_name(name):
    build = ddpm.build if name in schedulers.OWN else flow.build
    with pytest.raises(SpecError, match="tomorrow='yes' is not known"):
        build(UNET, {"_class_name": name, "tomorrow": "yes"})


ODD = {
    "skip_prk_steps": True,
    "variance_type": "fixed_large",
    "solver_order": 3,
    "use_karras_sigmas": True,
    "shift": 3.0,
    "timestep_values": None,
    "predict_epsilon": True,
    "tensor_format": "pt",
}
"""Keys that files have of other classes, and of the library's first versions."""


@pytest.mark.parametrize(("name", "sampler"), schedulers.OWN.items())
def test_keys_of_other_classes_are_passed_over_as_the_library_does(name, sampler):
    own = inspect.signature(getattr(diffusers, name).__init__).parameters
    make = lambda *a, **k: ddpm.build(*a, sampler=sampler, **k)
    for key, value in ODD.items():
        if key not in own:
            config = {**configuration(name, None, None, whole=True), key: value}
            assert compare(make, SEEN[sampler], config, (name, key)), key
    for key, value in (("timestep_values", [3, 1]), ("predict_epsilon", False)):
        with pytest.raises(SpecError, match=f"{key}=.* is not known"):
            make(UNET, {"_class_name": name, key: value})


def test_the_lists_of_keys_are_those_of_the_library():
    """No key of the installed classes is unknown, and none is listed twice."""
    for known in vars(schedulers).values():
        kind = getattr(diffusers, getattr(known, "name", ""), None)
        if not isinstance(known, schedulers.Scheduler) or kind is None:
            continue
        parts = [set(known.understood), set(known.expected), set(known.idle)]
        every = set().union(*parts)
        assert sum(map(len, parts)) == len(every), known.name
        defaults = {k: p.default for k, p in inspect.signature(kind.__init__).parameters.items()}
        assert every == defaults.keys() - {"self"}, known.name
        for key, value in {**known.understood, **known.expected}.items():
            assert value == defaults[key] or math.isclose(value, defaults[key]), (known.name, key)


def test_as_many_betas_as_times():
    config = {"_class_name": "DDIMScheduler", "trained_betas": [0.01] * 1000}
    with pytest.raises(SpecError, match="1000 trained_betas and num_train_timesteps=500"):
        ddpm.build(UNET, {**config, "num_train_timesteps": 500})


@pytest.mark.parametrize("value", [float("inf"), float("nan"), [0.1, float("inf")]])
@pytest.mark.parametrize("key", ["beta_end", "clip_sample_range", "trained_betas"])
def test_numbers_of_a_scheduler_are_finite(key, value):
    with pytest.raises(SpecError, match=f"the scheduler's {key}=.* finite numbers"):
        ddpm.build(UNET, {"_class_name": "DDIMScheduler", key: value})


TAKEN = {
    **dict.fromkeys(("num_train_timesteps", "steps_offset", "correct_steps"), ()),
    **dict.fromkeys(("beta_start", "beta_end", "sampling_eps"), ()),
    **dict.fromkeys(("clip_sample_range", "shift", "sigma_data", "rho", "snr"), (1.5,)),
    **dict.fromkeys(("sigma_min", "sigma_max", "beta_min", "beta_max"), (1.5,)),
    **dict.fromkeys(("clip_sample", "set_alpha_to_one", "clip_denoised"), (True,)),
    **dict.fromkeys(("beta_schedule", "prediction_type", "timestep_spacing"), ("x",)),
    "variance_type": ("x",),
    "trained_betas": (None, []),
}
"""Which of the values below each key may have: a name is looked at by who reads it."""


@pytest.mark.parametrize("name", sorted(schedulers.BY_NAME))
def test_values_of_a_wrong_type_are_refused_in_one_line(name):
    scheduler = schedulers.BY_NAME[name]
    for key in scheduler.understood:
        taken = []
        for value in ("x", 1.5, -1, True, None, [], {}):
            try:
                told = scheduler.read({"_class_name": name, key: value})
            except SpecError as error:
                assert f"the scheduler's {key}" in str(error) and "\n" not in str(error)
            else:
                assert told[key] is value, (key, value)
                taken.append(value)
        assert repr(tuple(taken)) == repr(TAKEN[key]), key


def test_the_lowest_noise_is_below_the_highest():
    with pytest.raises(SpecError, match=r"sigma_min=90\.0 is not below its sigma_max=80\.0"):
        schedulers.CONSISTENCY.read({"sigma_min": 90.0})
