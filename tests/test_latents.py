"""Latents under a reward: white noise is white, a smooth change is seen, and a run with a reward says so."""

import pytest
import torch

import latentzoo as lz
from latentzoo.diagnosis.latents import SURE, described, whiteness
from latentzoo.energies.base import Function
from latentzoo.energies.reward import Reward
from latentzoo.report.hacking import share
from latentzoo.rng import Rng
from latentzoo.space import Space

SPACE = Space(start=(4, 16, 16), noise=(2, 4, 16, 16), style=(64,))


def test_white_noise_is_white_and_a_smooth_change_is_not() -> None:
    z = Rng(*range(32)).normal(SPACE.dim)
    found = {w.block: w for w in whiteness(z, SPACE)}
    assert set(found) == {"start", "noise"}
    assert all(abs(w.share - 1) < SURE * w.error for w in found.values())
    blocks = SPACE.split(z)
    smooth = SPACE.join(**(blocks | {"start": blocks["start"] + 0.3}))
    seen = {w.block: w for w in whiteness(smooth, SPACE)}
    assert seen["start"].share > 1.5 and seen["noise"] == found["noise"]
    assert "standard errors from white noise" in described(smooth, SPACE)
    assert "|z|^2 is 1.0" in described(z, SPACE)


def test_the_error_is_that_of_many_draws() -> None:
    space = Space(start=(1, 8, 8))
    runs = [whiteness(Rng(i).normal(64), space)[0] for i in range(400)]
    spread = torch.tensor([w.share for w in runs]).std().item()
    assert spread == pytest.approx(runs[0].error, rel=0.35)


def test_a_run_with_a_reward_says_how_its_latents_look() -> None:
    generator = lz.load("avatar-turbo")
    bright = lambda image, prompt: 5 * image.mean((1, 2, 3))
    run = lambda energy: lz.sample(
        lz.Posterior(generator, {"e": energy}), chains=2, steps=3, kernel="reno"
    )
    notes = run(Reward("bright", bright)).diagnosis.notes
    assert any(note.startswith("latents under a reward: |z|^2") for note in notes)
    assert not any("reward" in n for n in run(Function(lambda x: bright(x, ""))).diagnosis.notes)


def test_the_share_of_a_gain() -> None:
    start = torch.randn(200, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(200, generator=torch.Generator().manual_seed(1))
    both = share((start, start - 2), (10 * start, 10 * start - 16))
    assert both.value == pytest.approx(0.8, rel=1e-5) and both.low <= both.value <= both.high
    none = share((start, start - 2), (start, start + 0.1 * noise))
    assert none.low < 0 < none.high
