from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import firwin
from torch.nn import functional as F

from latentzoo.errors import SpecError
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import translate
from latentzoo.nn.alias_free import plan
from latentzoo.nn.fir import decimate, interpolate, lowpass
from latentzoo.rng import Rng
from latentzoo.zoo import stylegan_xl
from laws import obey, official, randomise

WIDTHS: dict[str, Any] = {"channel_base": 40, "channel_max": 6}
SMALL = {"z_dim": 5, "w_dim": 7, "embedding": (4, 3)}
CARDS = ["stem16_t_uncond", "stem32_r_uncond", "superres16_32_64_cond"]


def tiny(layers=None, **options):
    torch.manual_seed(0)
    layers = layers or plan(16, 4, **WIDTHS)
    generator = stylegan_xl.build(plan=layers, **SMALL, **options)
    randomise(generator)
    generator.w_avg += 0.3
    return generator


@pytest.mark.parametrize(
    "options",
    [
        {"layers": plan(32, 3, before=plan(16, 4, **WIDTHS), **WIDTHS)},
        {"kernel": 1, "radial": True, "truncation": 0.6},
        {"classes": 4, "class_index": 2, "truncation": 0.5, "cutoff": 3},
    ],
)
def test_laws(options):
    generator = tiny(**options)
    assert generator.size in [(16, 16), (32, 32)]
    obey(generator)


def test_the_published_stem_has_the_published_layers():
    layers = plan(16, 10, channel_base=65536, channel_max=1024)
    names = [*(f"L{i}_36_1024" for i in range(9)), "L9_16_1024", "L10_16_3"]
    assert [layer.name for layer in layers] == names
    cutoffs = [2, 2.378, 2.828, 3.364, 4, 4.757, 5.657, 6.727, 8, 8, 8]
    np.testing.assert_allclose([layer.cutoff for layer in layers], cutoffs, atol=1e-3)


def test_a_stage_keeps_what_is_not_critical():
    before = plan(16, 10, **WIDTHS)
    layers = plan(32, 7, before=before, **WIDTHS)
    assert layers[:8] == before[:8] and len(layers) == 16
    sizes = [(int(layer.name[1:].split("_")[0]), layer.size) for layer in layers[8:]]
    assert sizes == [(9, 36), (10, 52), (11, 52), (12, 52), (13, 52), (14, 52), (15, 32), (16, 32)]


@pytest.mark.parametrize(("taps", "cutoff", "half", "rate"), [(12, 2, 6, 32), (24, 9.5, 1.3, 64)])
def test_filters_are_kaisers(taps, cutoff, half, rate):
    expected = firwin(taps, cutoff, width=2 * half, fs=rate)
    np.testing.assert_allclose(lowpass(taps, cutoff, half, rate), expected, rtol=1e-5, atol=1e-7)


def test_radial_filters_are_round_and_pass_constants():
    taps = lowpass(12, 4, 3, 32, radial=True)
    torch.testing.assert_close(taps, taps.T)
    torch.testing.assert_close(taps, taps.flip(0))
    assert float(taps.sum()) == pytest.approx(1)
    separable = torch.outer(lowpass(12, 4, 3, 32), lowpass(12, 4, 3, 32))
    uneven = []
    for filters in (taps, separable):
        spectrum = torch.fft.fft2(filters, s=(64, 64)).abs()
        uneven.append(abs(float(spectrum[6, 8] - spectrum[0, 10])))  # 5 cycles in two directions
    assert 5 * uneven[0] < uneven[1]


@pytest.mark.parametrize("pad", [(9, 8), (-6, -9), (30, 25)])
def test_interpolation_by_its_definition(pad):
    x, taps = torch.randn(2, 3, 7, 7), torch.randn(12)
    zeros = torch.zeros(2, 3, 28, 28)
    zeros[..., ::4, ::4] = 16 * x
    square = torch.outer(taps, taps).flip(0, 1).expand(3, 1, 12, 12)
    expected = F.conv2d(F.pad(zeros, (*pad, *pad)), square, groups=3)
    torch.testing.assert_close(interpolate(x, taps, 4, pad), expected, rtol=1e-4, atol=1e-4)


def test_decimation_by_its_definition():
    x, taps = torch.randn(2, 3, 20, 20), torch.randn(12)
    square = torch.outer(taps, taps)
    expected = F.conv2d(x, square.expand(3, 1, 12, 12), groups=3)[..., ::2, ::2]
    torch.testing.assert_close(decimate(x, taps, 2), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(decimate(x, square, 2), expected, rtol=1e-4, atol=1e-4)


def test_moving_the_waves_moves_the_features():
    waves: Any = tiny().synthesis["input"]
    w = torch.randn(2, 7)
    before = waves(w)
    side = waves.side
    waves.transform[0, 2] = 1 / side.rate
    torch.testing.assert_close(waves(w)[..., :-1], before[..., 1:], rtol=1e-4, atol=1e-4)


def test_classes_differ_and_have_their_own_mean():
    z = Rng(0).normal(5)
    images = [tiny(classes=3, class_index=i, truncation=0.5)(z) for i in range(3)]
    assert (images[0] - images[1]).abs().max() > 1e-3 < (images[1] - images[2]).abs().max()
    generator = tiny(classes=3, class_index=1, truncation=0.5)
    image = generator(z)
    generator.w_avg[0] += 1
    assert torch.equal(generator(z), image)
    generator.w_avg[1] += 1
    assert not torch.equal(generator(z), image)


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"class_index": 1}, "class 1 does not exist"),
        ({"truncation": float("inf")}, "truncation inf"),
        ({"cutoff": 99}, "cutoff=99 is out of range"),
        ({"plan": None}, "in its file only"),
    ],
)
def test_options_out_of_range(options, fact):
    with pytest.raises(SpecError, match=fact):
        stylegan_xl.build(**{"plan": plan(16, 4, **WIDTHS), **SMALL, **options})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    z = Rng(0, 1).normal(5)
    exact, generator = tiny()(z), tiny().to(dtype)
    torch.testing.assert_close(
        generator(z.to(dtype)).float(), exact, rtol=0, atol=50 * torch.finfo(dtype).eps
    )


@pytest.mark.parametrize("card", CARDS)
def test_a_file_tells_its_configuration(card):
    config, checkpoint = official("stylegan_xl", card)
    found = stylegan_xl.infer(checkpoint)
    assert found is not None and found["keys"] == "official"
    generator = stylegan_xl.build(**found["config"])
    state = translate(checkpoint.tensors, stylegan_xl.official(generator))
    generator.load_state_dict(state, strict=True)
    assert generator.size[0] == config.get("stages", [config["stem"]])[-1]["img_resolution"]
    from check import driver

    reference = driver("stylegan_xl").build(config)
    reference.load_state_dict(state, strict=True)
    z = Rng(0).normal(generator.space.dim)
    torch.testing.assert_close(generator(z), reference(z))


def test_the_records_of_a_file_are_preferred():
    _, checkpoint = official("stylegan_xl", "stem16_t_uncond")
    names = [n.split(".")[1] for n in checkpoint.tensors if n.endswith("_ema")]
    layer = {
        "out_channels": 3,
        "out_size": [36, 36],
        "out_sampling_rate": 16.0,
        "out_cutoff": 2.5,
        "out_half_width": 4.5,
        "is_critically_sampled": False,
        "conv_clamp": 128,
    }
    modules = {f"synthesis.{name}": layer for name in names}
    modules |= {"synthesis": {"layer_names": names, "output_scale": 0.5}}
    modules |= {"mapping.fc0": {"bias_gain": 0.02}}
    found = stylegan_xl.infer(Checkpoint(checkpoint.tensors, {"modules": modules}))
    assert found is not None
    assert found["config"]["plan"][0] == ["L0_36_24", 36, 3, 16, 2.5, 4.5, False]
    options = ("lr", "output_scale", "clamp")
    assert [found["config"][name] for name in options] == [0.02, 0.5, 128]


def test_other_files_are_not_of_this_family():
    for arch, card in [("stylegan2", "s32_d64_m4"), ("stylegan2_ada", "r32_uncond_skip")]:
        assert stylegan_xl.infer(official(arch, card)[1]) is None
