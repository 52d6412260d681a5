import pytest
import torch
from repositories import NCSNPP, UNET, diffusers, draw, flatten, load, network, repository

from latentzoo import zoo
from latentzoo.diffusion.generator import Diffusion
from latentzoo.errors import SpecError, UnknownName
from latentzoo.rng import Rng
from latentzoo.zoo import scoresde
from laws import obey

VE = {"_class_name": "ScoreSdeVeScheduler", "sigma_min": 0.01, "sigma_max": 50.0, "snr": 0.15}
VP = {"_class_name": "ScoreSdeVpScheduler", "num_train_timesteps": 1000}


@pytest.fixture(scope="module")
def unet():
    return network(NCSNPP)


@pytest.fixture
def exploding(tmp_path, unet):
    scheduler = diffusers.ScoreSdeVeScheduler(sigma_max=50.0, correct_steps=1)

    def make(**options):
        return load(scoresde, repository(tmp_path / "repo", unet, scheduler), **options)

    return make


@pytest.fixture
def preserving():
    def make(**options):
        ours = scoresde.build(UNET, VP, **options)
        ours.network.model.load_state_dict(network(UNET).state_dict())
        return ours.eval().requires_grad_(False)

    return make


@pytest.mark.parametrize("corrections", [0, 1, 2])
def test_the_exploding_chain_is_that_of_diffusers(exploding, unet, monkeypatch, corrections):
    """Predictor and corrector on the same noises; one sample, for diffusers averages norms over a batch."""
    ours = exploding(sampler="sde", steps=10, corrections=corrections)
    assert ours.space.blocks["noise"] == (10 * (corrections + 1) - 1, 3, 4, 4)
    z = draw(1, ours.space.dim)
    x, noise = ours.space.split(z).values()
    stream = iter([*noise.unbind(1), torch.zeros_like(x)])
    monkeypatch.setattr(
        "diffusers.schedulers.scheduling_sde_ve.randn_tensor", lambda *_, **__: next(stream)
    )
    theirs = diffusers.ScoreSdeVeScheduler(sigma_max=50.0)
    theirs.set_timesteps(10)
    theirs.set_sigmas(10)
    x = x * theirs.init_noise_sigma
    with torch.no_grad():
        for i, t in enumerate(theirs.timesteps):
            sigma = theirs.sigmas[i] * torch.ones(1)
            for _ in range(corrections):
                x = theirs.step_correct(unet(x, sigma).sample, x).prev_sample
            step = theirs.step_pred(unet(x, sigma).sample, t, x)
            x = step.prev_sample
    assert (ours(z) - step.prev_sample_mean).abs().max() < 1e-4 * x.abs().max().clamp_min(1)


def test_the_preserving_chain_is_that_of_diffusers(preserving, monkeypatch):
    from diffusers.schedulers.deprecated.scheduling_sde_vp import ScoreSdeVpScheduler

    ours = preserving(sampler="sde", steps=10)
    z = draw(2, ours.space.dim)
    x, noise = ours.space.split(z).values()
    stream = iter([*noise.unbind(1), torch.zeros_like(x)])
    monkeypatch.setattr(
        "diffusers.schedulers.deprecated.scheduling_sde_vp.randn_tensor",
        lambda *_, **__: next(stream),
    )
    theirs = ScoreSdeVpScheduler()
    theirs.set_timesteps(10)
    with torch.no_grad():
        for t in theirs.timesteps:
            x, mean = theirs.step_pred(network(UNET)(x, t.expand(2) * 999).sample, x, t.expand(2))
    assert (ours(z) - (mean + 1) / 2).abs().max() < 1e-4 * mean.abs().max().clamp_min(1)


def test_the_authors_repositories_are_read(tmp_path, unet):
    """Everything at the root, and the network is called "model"."""
    scheduler = diffusers.ScoreSdeVeScheduler(sigma_max=50.0)
    folder = flatten(repository(tmp_path, unet, scheduler))
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace('"unet"', '"model"'))
    ours = zoo.load(folder, steps=4)
    assert isinstance(ours, Diffusion) and ours.start == 50.0
    assert ours.reading.kind == "score" and ours(draw(1, ours.space.dim)).isfinite().all()


def test_the_start_is_scaled(exploding):
    ours = exploding(steps=10)
    assert ours.start == 50.0 and ours.pairs[0][0].sigma == pytest.approx(50.0)
    assert dict(ours.space) == {"start": (3, 4, 4)}
    assert ours.centred is False


@pytest.mark.parametrize(
    "options", [{}, {"eta": 1.0}, {"sampler": "heun"}, {"sampler": "sde"}], ids=str
)
def test_laws(exploding, preserving, options):
    obey(exploding(steps=4, **options))
    obey(preserving(steps=4, **options))


@pytest.mark.parametrize("options", [{}, {"sampler": "heun"}], ids=str)
def test_inversion_finds_the_picture_again(exploding, options):
    ours = exploding(steps=8, **options).double()
    image = ours(draw(2, ours.space.dim).double())
    again = ours(ours.encode(image, Rng(1, 2)))
    assert (again - image).abs().max() < 1e-3 * image.abs().max()


@pytest.mark.parametrize("options", [{"eta": 1.0}, {"sampler": "sde"}], ids=str)
def test_the_dpm_encoder_finds_the_picture_again(preserving, options):
    ours = preserving(steps=30, **options).double()
    image = draw(2, 3, 4, 4).sigmoid().double()
    torch.testing.assert_close(ours(ours.encode(image, Rng(1, 2))), image, atol=1e-6, rtol=0)


def test_a_corrector_has_no_encoder(exploding):
    with pytest.raises(SpecError, match="has no encoder"):
        exploding(steps=4, sampler="sde").encode(draw(1, 3, 4, 4), Rng(0))


def test_options_that_cannot_be_meant():
    for options, match in [
        ({"steps": 1}, "2 or more"),
        ({"eta": 0.5, "sampler": "heun"}, "does not fit"),
        ({"corrections": 1}, "no corrector"),
    ]:
        with pytest.raises(SpecError, match=match):
            scoresde.build(UNET, VP, **options)
    with pytest.raises(UnknownName, match="heun"):
        scoresde.build(NCSNPP, VE, sampler="hoin")
