import json
import shutil
import sys

import pytest
import torch
from repositories import UNET, diffusers, draw, flatten, load, network, repository

from latentzoo import zoo
from latentzoo.errors import MissingExtra, SpecError, UnknownName
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.folder import files
from latentzoo.rng import Rng
from latentzoo.zoo import ddpm, flow, scoresde
from laws import obey

PLAIN = {"clip_sample": False, "timestep_spacing": "leading"}


@pytest.fixture(scope="module")
def unet():
    return network()


@pytest.fixture
def generator(tmp_path, unet):
    def make(scheduler=None, **options):
        folder = repository(tmp_path / "repo", unet, scheduler or diffusers.DDPMScheduler(**PLAIN))
        return load(ddpm, folder, **options)

    return make


@torch.no_grad()
def render(unet, scheduler, x, *, steps, noise=None, **options):
    """The loop of diffusers' own pipelines, noises given."""
    scheduler.set_timesteps(steps)
    x = x * scheduler.init_noise_sigma
    for i, t in enumerate(scheduler.timesteps):
        if noise is not None:
            options["variance_noise"] = noise[:, i] if i < noise.shape[1] else torch.zeros_like(x)
        x = scheduler.step(unet(x, t).sample, t, x, **options).prev_sample
    return (x + 1) / 2


@pytest.mark.parametrize(
    ("spacing", "schedule"),
    [
        ("leading", "linear"),
        ("trailing", "scaled_linear"),
        ("linspace", "linear"),
        ("leading", "squaredcos_cap_v2"),
    ],
)
def test_ddim_is_that_of_diffusers(generator, unet, spacing, schedule):
    config = {"clip_sample": False, "beta_schedule": schedule, "timestep_spacing": spacing}
    x = draw(2, 3, 4, 4)
    for steps in (1, 7):
        ours = generator(diffusers.DDIMScheduler(**config), steps=steps)
        theirs = render(unet, diffusers.DDIMScheduler(**config), x, steps=steps)
        assert (ours(x.flatten(1)) - theirs).abs().max() < 1e-4 * theirs.abs().max().clamp_min(1)


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_every_prediction_is_read_as_diffusers_does(generator, unet, kind):
    scheduler = diffusers.DDIMScheduler(prediction_type=kind, steps_offset=1, clip_sample=True)
    x = draw(2, 3, 4, 4)
    ours = generator(scheduler, steps=10)(x.flatten(1))
    torch.testing.assert_close(ours, render(unet, scheduler, x, steps=10), atol=1e-4, rtol=0)


@pytest.mark.parametrize("to_one", [True, False])
@pytest.mark.parametrize("eta", [0.1, 1.0])
def test_stochastic_ddim_is_that_of_diffusers_on_the_same_noises(generator, unet, eta, to_one):
    """Ten steps read nine noises where the chain ends in the picture, else ten."""
    scheduler = diffusers.DDIMScheduler(set_alpha_to_one=to_one, clip_sample=False, steps_offset=1)
    ours = generator(scheduler, steps=10, eta=eta)
    assert ours.space.blocks["noise"] == (9 if to_one else 10, 3, 4, 4)
    x, noise = ours.space.split(draw(2, ours.space.dim)).values()
    theirs = render(unet, scheduler, x, steps=10, noise=noise, eta=eta)
    images = ours(ours.space.join(start=x, noise=noise))
    assert (images - theirs).abs().max() < 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
@pytest.mark.parametrize("steps", [7])
def test_ddpm_is_that_of_diffusers_on_the_same_noises(
    generator, unet, monkeypatch, variance, steps
):
    scheduler = diffusers.DDPMScheduler(variance_type=variance)
    ours = generator(scheduler, sampler="ddpm", steps=steps)
    z = draw(2, ours.space.dim)
    x, noise = ours.space.split(z).values()
    stream = iter(noise.unbind(1))
    monkeypatch.setattr(
        "diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, **__: next(stream)
    )
    theirs = render(unet, scheduler, x, steps=steps)
    torch.testing.assert_close(ours(z), theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "classes",
    [{"num_class_embeds": 5}, {"class_embed_type": "timestep"}],
    ids=["table", "as time"],
)
def test_a_class_is_told_as_diffusers_tells_it(tmp_path, classes):
    unet = network({**UNET, **classes})
    scheduler = diffusers.DDIMScheduler(**PLAIN)
    folder = repository(tmp_path / "repo", unet, scheduler)
    x, images = draw(2, 3, 4, 4), []
    for index in (0, 3):
        ours = load(ddpm, folder, steps=7, class_index=index)
        told = lambda x, t, index=index: unet(x, t, torch.tensor([index, index]))
        images.append(ours(x.flatten(1)))
        torch.testing.assert_close(
            images[-1], render(told, scheduler, x, steps=7), atol=1e-4, rtol=0
        )
    assert (images[0] - images[1]).abs().max() > 1e-3
    obey(load(ddpm, folder, steps=3, class_index=4))
    with pytest.raises(SpecError, match="class"):
        load(ddpm, folder, class_index=5 if "num_class_embeds" in classes else -1)


@pytest.mark.parametrize("recompute", [False, True, "lean"])
def test_the_gradient_of_a_network_that_attends_has_a_gradient(tmp_path, unet, recompute):
    """Which torch's kernel of attention for processors has not."""
    folder = repository(tmp_path / "repo", unet, diffusers.DDPMScheduler(**PLAIN))
    G = load(ddpm, folder, steps=2, recompute=recompute).double()
    z, way = torch.randn(2, 1, G.space.dim, dtype=torch.float64).unbind()

    def slope(z, **how):
        z = z.detach().requires_grad_()
        return z, torch.autograd.grad(G(z).square().sum(), z, **how)[0]

    at, gradient = slope(z, create_graph=True)
    curved = torch.autograd.grad((gradient * way).sum(), at)[0]
    near = [slope(z + h * way)[1] for h in (1e-5, -1e-5)]
    torch.testing.assert_close(curved, (near[0] - near[1]) / 2e-5, rtol=1e-5, atol=1e-7)


def test_a_network_without_classes_has_none(generator):
    with pytest.raises(SpecError, match=r"class 1 does not exist.*it has none"):
        generator(class_index=1)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_the_multistep_solver_is_that_of_diffusers(generator, unet, spacing):
    theirs = diffusers.DPMSolverMultistepScheduler(timestep_spacing=spacing)
    x = draw(2, 3, 4, 4)
    for steps in (7, 15):
        ours = generator(theirs, sampler="dpm++", steps=steps)(x.flatten(1))
        image = render(unet, theirs, x, steps=steps)
        assert (ours - image).abs().max() < 1e-4 * image.abs().max().clamp_min(1)


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 4},
        {"steps": 4, "eta": 0.5},
        {"steps": 4, "eta": 1.0, "white_box_steps": 2},
        {"steps": 4, "sampler": "ddpm", "clip": False},
        {"steps": 4, "sampler": "dpm++"},
        {"steps": 4, "recompute": "sqrt"},
    ],
    ids=str,
)
def test_laws(generator, options):
    obey(generator(**options))


def test_white_box_steps_are_the_first_and_the_others_come_from_the_seed(generator):
    few = generator(steps=5, eta=1.0, white_box_steps=2)
    assert dict(few.space) == {"start": (3, 4, 4), "noise": (2, 3, 4, 4)}
    z = draw(2, few.space.dim)
    assert not torch.equal(few(z), generator(steps=5, eta=1.0, white_box_steps=2, seed=1)(z))
    none = generator(steps=5, eta=1.0, white_box_steps=0)
    assert dict(none.space) == {"start": (3, 4, 4)}
    with pytest.raises(SpecError, match="has 4 noises"):
        generator(steps=5, eta=1.0, white_box_steps=5)


def test_the_dpm_encoder_finds_the_picture_again(generator):
    """Exactly so; one picture has many codes, and one code per seed."""
    image = draw(2, 3, 4, 4).sigmoid().double()
    ends = [
        diffusers.DDIMScheduler(set_alpha_to_one=False, clip_sample=False, steps_offset=offset)
        for offset in (0, 1)
    ]
    for scheduler, options in [
        *((end, {"eta": 0.3}) for end in ends),
        (None, {"eta": 1.0}),
        (None, {"sampler": "ddpm"}),
    ]:
        ours = generator(scheduler, steps=8, **options).double()
        z = ours.encode(image, Rng(1, 2))
        torch.testing.assert_close(ours(z), image, atol=1e-6, rtol=0)
        assert not torch.allclose(z, ours.encode(image, Rng(3, 4)))
        torch.testing.assert_close(z[1:], ours.encode(image[1:], Rng(2)), atol=1e-6, rtol=1e-6)


def test_inversion_finds_the_picture_again(generator):
    """Images of the map itself, which have a code; the solver then needs no luck."""
    ours = generator(steps=10).double()
    z = draw(2, ours.space.dim).double()
    image = ours(z)
    again = ours(ours.encode(image, Rng(1, 2)))
    torch.testing.assert_close(again, image, atol=1e-4, rtol=1e-4)


def test_no_code_while_noises_are_fixed(generator):
    with pytest.raises(SpecError, match="leave out white_box_steps"):
        generator(steps=5, eta=1.0, white_box_steps=2).encode(draw(1, 3, 4, 4), Rng(0))


def test_old_repositories_are_read(tmp_path, unet):
    """Everything at the root, and attention under its names of 2022."""
    folder = flatten(repository(tmp_path, unet, diffusers.DDPMScheduler(**PLAIN)))
    weights = folder / "diffusion_pytorch_model.safetensors"
    from safetensors.torch import load_file, save_file

    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = load_file(weights)
    for new, name in old.items():
        state = {k.replace(f".{new}.", f".{name}."): v for k, v in state.items()}
    assert any(".query." in k for k in state)
    save_file(state, weights)
    x = draw(2, 3, 4, 4)
    theirs = render(unet, diffusers.DDIMScheduler(**PLAIN), x, steps=5)
    torch.testing.assert_close(
        load(ddpm, folder, steps=5)(x.flatten(1)), theirs, atol=1e-4, rtol=0
    )


def test_a_folder_with_the_network_alone_takes_a_schedule_for_granted_and_says_so(tmp_path, unet):
    unet.save_pretrained(tmp_path)
    alone = zoo.load(tmp_path, steps=5)
    assert "scheduler" in alone.assumed and alone.space.dim == 48
    told = zoo.load(tmp_path, steps=5, scheduler={"beta_schedule": "squaredcos_cap_v2"})
    assert not told.assumed and told.pairs != alone.pairs


@pytest.mark.parametrize("place", ["unet", "checkpoint-500/unet"])
def test_the_folder_of_a_network_takes_the_schedule_of_its_pipeline(tmp_path, unet, place):
    scheduler = diffusers.DDIMScheduler(beta_schedule="squaredcos_cap_v2", clip_sample=False)
    folder = repository(tmp_path / "repo", unet, scheduler)
    if place != "unet":
        (folder / "checkpoint-500").mkdir()
        shutil.move(folder / "unet", folder / place)
    ours = zoo.load(folder / place, steps=5)
    x = draw(2, 3, 4, 4)
    assert not ours.assumed
    theirs = render(unet, scheduler, x, steps=5)
    torch.testing.assert_close(ours(x.flatten(1)), theirs, atol=1e-4, rtol=0)
    assert folder / "scheduler" / "scheduler_config.json" in files(folder / place)


def test_only_unconditional_pipelines_are_recognised(tmp_path, unet):
    tensors = {"unet.conv_in.weight": torch.zeros(1)}
    records = {"unet": {"_class_name": "UNet2DModel", **UNET}}
    assert ddpm.infer(Checkpoint(tensors, records))["keys"] == "unet"
    assert ddpm.infer(Checkpoint({**tensors, "vqvae.x": torch.zeros(1)}, records)) is None
    for name in ("ScoreSdeVeScheduler", "FlowMatchEulerDiscreteScheduler"):
        checkpoint = Checkpoint(tensors, {**records, "scheduler": {"_class_name": name}})
        found = [f for f in (ddpm, flow, scoresde) if f.infer(checkpoint) is not None]
        assert found == [scoresde if "Sde" in name else flow]
    text = {"unet": {"_class_name": "UNet2DConditionModel"}}
    assert ddpm.infer(Checkpoint(tensors, text)) is None
    assert ddpm.infer(Checkpoint(tensors, {})) is None


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"steps": 0}, SpecError, "1 to 1000"),
        ({"steps": 1001}, SpecError, "1 to 1000"),
        ({"eta": 1.5}, SpecError, "eta=1.5"),
        ({"eta": 0.5, "sampler": "dpm++"}, SpecError, "does not fit"),
        ({"sampler": "ddmi"}, UnknownName, "or 'ddim'"),
        ({"spacing": "trail"}, UnknownName, "trailing"),
    ],
)
def test_options_that_cannot_be_meant(options, error, match):
    with pytest.raises(error, match=match):
        ddpm.build(UNET, {}, **options)


@pytest.mark.parametrize(
    ("unet", "scheduler", "match"),
    [
        ({"in_channels": 4}, {}, "have 4 channels"),
        ({"class_embed_type": "identity"}, {}, "features of a class from outside"),
        ({"sample_size": None}, {}, "no sample_size"),
        ({"_class_name": "UNet2DConditionModel"}, {}, "knows more than classes"),
        ({"colour": 1}, {}, "colour"),
        ({}, {"thresholding": True}, "thresholding"),
        ({}, {"beta_schedule": "sigmoid"}, "beta schedule"),
        ({}, {"prediction_type": "flow"}, "prediction type"),
    ],
)
def test_repositories_that_are_not_meant(unet, scheduler, match):
    with pytest.raises((SpecError, UnknownName), match=match):
        ddpm.build(UNET | unet, scheduler)


def test_without_diffusers_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers.models.unets.unet_2d", None)
    with pytest.raises(MissingExtra, match=r"latentzoo\[diffusers\]"):
        ddpm.build(UNET, {})


def test_the_configuration_of_a_card_is_that_of_a_repository(tmp_path, unet):
    """What `infer` finds survives a card's YAML."""
    folder = repository(tmp_path, unet, diffusers.DDPMScheduler(**PLAIN))
    from latentzoo.hub.read import read

    config = ddpm.infer(read(folder))["config"]
    assert ddpm.build(**json.loads(json.dumps(config)), steps=2).space.dim == 48
