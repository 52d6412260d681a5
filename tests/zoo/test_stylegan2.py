import math

import pytest
import torch
from torch.nn import functional as F

from latentzoo.errors import SpecError
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import translate
from latentzoo.nn.fir import blur, downsample, upsample
from latentzoo.nn.modconv import modulated_conv2d
from latentzoo.rng import Rng
from latentzoo.zoo import stylegan2
from laws import obey, official, randomise

TINY = {"widths": [12, 8, 6], "z_dim": 5, "w_dim": 7, "layers": 2}


def tiny(**options):
    torch.manual_seed(0)
    generator = stylegan2.build(**TINY, **options)
    randomise(generator)
    if generator.w_avg is not None:
        generator.w_avg += 0.3
    return generator


@pytest.mark.parametrize(
    "options",
    [
        {"noise": "latent"},
        {"noise": "none", "architecture": "orig", "truncation": 0.5, "cutoff": 2},
        {"classes": 4, "class_index": 2, "architecture": "resnet", "clamp": 2.0, "features": 6},
        {"truncation": -0.7, "missing": ["w_mean", "noise"]},
        {"start": (4, 2), "noise": "latent"},
        {"start": (3, 5), "noisy": False},
    ],
)
def test_laws(options):
    generator = tiny(**options)
    h, w = options.get("start", (4, 4))
    assert generator.size == (4 * h, 4 * w)
    obey(generator)


def test_noise_is_the_files_or_the_seeds_or_part_of_the_latent():
    fixed, other, latent = tiny(seed=1), tiny(seed=2), tiny(noise="latent")
    z = Rng(0).normal(5)
    assert torch.equal(fixed(z), tiny(seed=1)(z)) and not torch.equal(fixed(z), other(z))
    maps = {f"noise_{i}": m.noise_const[None] for i, m in enumerate(fixed.synthesis.layers)}
    assert [tuple(shape) for _, shape in latent.space][1:] == [
        tuple(m.shape[1:]) for m in maps.values()
    ]
    torch.testing.assert_close(latent(latent.space.join(style=z, **maps)), fixed(z))
    silent = {name: torch.zeros_like(m) for name, m in maps.items()}
    torch.testing.assert_close(latent(latent.space.join(style=z, **silent)), tiny(noise="none")(z))


def test_truncation_pulls_the_first_layers_to_the_mean_style():
    generator = tiny(truncation=0.4, cutoff=2)
    z = Rng(0, 1).normal(5)
    w, styles = generator.mapping(z), generator.styles(z)
    torch.testing.assert_close(styles[:, 1], 0.4 * w + 0.6 * generator.w_mean)
    assert torch.equal(styles[:, 2], w) and styles.shape == (2, generator.synthesis.styles, 7)


def test_a_negative_truncation_reflects_and_zero_shows_the_mean_alone():
    z = Rng(0, 1).normal(5)
    w = tiny().mapping(z)
    mean, reflected = tiny(truncation=0), tiny(truncation=-0.5)
    torch.testing.assert_close(reflected.styles(z)[:, 0], 1.5 * mean.w_mean - 0.5 * w)
    images = mean.double()(z.double())
    torch.testing.assert_close(images[0], images[1], rtol=0, atol=1e-12)
    mean.float()
    torch.testing.assert_close(mean.styles(z), mean.w_mean.expand(2, mean.synthesis.styles, -1))


def test_a_missing_mean_style_is_the_mean_over_latents_and_follows_the_weights():
    generator = tiny(missing=["w_mean"])
    assert "w_avg" not in generator.state_dict()
    w = generator.mapping(torch.randn(50_000, 5))
    torch.testing.assert_close(generator.w_mean, w.mean(0), atol=5 * float(w.std()) / 100, rtol=0)
    assert generator.w_mean is generator.w_mean
    weights = {k: 2 * v if "fc1" in k else v for k, v in generator.state_dict().items()}
    before = generator.w_mean
    generator.load_state_dict(weights)
    torch.testing.assert_close(generator.w_mean, 2 * before)


@pytest.mark.parametrize(
    ("options", "fact"),
    [
        ({"class_index": 1}, "class 1 does not exist"),
        ({"classes": 3, "class_index": 3}, "from 0 to 2"),
        ({"truncation": float("nan")}, "truncation nan is no number"),
        ({"noisy": False, "noise": "latent"}, "trained without noise"),
        ({"noise": "random"}, "'fixed', 'latent' or 'none'"),
    ],
)
def test_options_out_of_range(options, fact):
    with pytest.raises(SpecError, match=fact):
        stylegan2.build(**TINY, **options)


def test_classes_differ():
    z = Rng(0).normal(5)
    images = [tiny(classes=3, class_index=i)(z) for i in range(3)]
    assert (images[0] - images[1]).abs().max() > 1e-3 < (images[1] - images[2]).abs().max()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    z = Rng(0, 1).normal(5)
    exact, generator = tiny()(z), tiny().to(dtype)
    torch.testing.assert_close(
        generator(z.to(dtype)).float(), exact, rtol=0, atol=50 * torch.finfo(dtype).eps
    )
    for layer in generator.synthesis.layers:
        layer.affine.bias.data += 3000.0
    assert generator(z.to(dtype)).isfinite().all()


def test_a_new_network_keeps_the_scale_and_learns_everywhere():
    torch.manual_seed(0)
    generator = stylegan2.build(widths=[64, 64, 32, 32, 16], z_dim=64, w_dim=64, layers=4)
    z = torch.randn(64, 64)
    w = generator.mapping(z)
    assert 0.5 < w.std() < 2
    features, image = generator.synthesis(generator.styles(z))
    assert generator.size == (64, 64) and 0.1 < features.square().mean() < 2
    image.square().mean().backward()
    gradients = {name: p.grad for name, p in generator.named_parameters()}
    silent = [name for name, g in gradients.items() if g is None or not bool(g.any())]
    assert silent == []
    assert all(p.abs().max() < 600 for p in generator.parameters())
    assert abs(float(generator.state_dict()["mapping.fc0.weight"].std()) - 100) < 5


@pytest.mark.parametrize("demodulate", [False, True])
@pytest.mark.parametrize(
    ("kernel", "size", "up"),
    [(3, 4, False), (3, 4, True), (3, 40, False), (3, 40, True), (1, 5, False)],
)
def test_modulated_convolution_by_its_definition(kernel, size, demodulate, up):
    torch.manual_seed(0)
    x, style = torch.randn(2, 3, size, size), torch.randn(2, 3)
    weight = torch.randn(5, 3, kernel, kernel)
    expected = []
    for features, s in zip(x, style, strict=True):
        w = weight * s[None, :, None, None]
        if demodulate:
            w = w / (w.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        y = features[None]
        if up:
            y = blur(F.conv_transpose2d(y, w.transpose(0, 1), stride=2), (1, 1), 4.0)
        else:
            y = F.conv2d(y, w, padding=kernel // 2)
        expected.append(y)
    result = modulated_conv2d(x, weight, style, up=up, demodulate=demodulate)
    torch.testing.assert_close(result, torch.cat(expected), rtol=1e-4, atol=1e-5)


def test_resampling_by_its_definition():
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64) / 8
    filters = torch.outer(taps, taps).expand(3, 1, 4, 4)
    zeros = torch.zeros(2, 3, 12, 12, dtype=torch.float64)
    zeros[..., ::2, ::2] = x
    up = 4 * F.conv2d(F.pad(zeros, (2, 1, 2, 1)), filters, groups=3)
    torch.testing.assert_close(upsample(x), up)
    down = F.conv2d(F.pad(x, (1, 1, 1, 1)), filters, groups=3)
    torch.testing.assert_close(downsample(x), down[..., ::2, ::2])
    torch.testing.assert_close(
        blur(x, (2, 1)), F.conv2d(F.pad(x, (2, 1, 2, 1)), filters, groups=3)
    )
    assert math.isclose(float(blur(torch.ones(1, 1, 8, 8), (0, 0)).mean()), 1, abs_tol=1e-6)


@pytest.mark.parametrize(
    ("arch", "card", "dialect"),
    [
        ("stylegan2", "s32_d64_m4", "rosinality"),
        ("stylegan2", "s64_d32_m2_cm1", "rosinality"),
        ("stylegan2_ada", "r32_uncond_skip", "nvidia"),
        ("stylegan2_ada", "r64_cond_resnet", "nvidia"),
        ("stylegan2_ada", "human_32x16", "nvidia"),
        ("stylegan2_ada", "grey_no_noise", "nvidia"),
    ],
)
def test_a_file_tells_its_configuration(arch, card, dialect):
    _, checkpoint = official(arch, card)
    found = stylegan2.infer(checkpoint)
    assert found is not None and found["keys"] == dialect
    with torch.device("meta"):
        generator = stylegan2.build(**found["config"])
        meta = {name: t.to("meta") for name, t in checkpoint.tensors.items()}
    state = translate(meta, stylegan2.KEYS[dialect](generator))
    generator.load_state_dict(state, strict=True, assign=True)


def test_a_rectangular_start_is_read_in_rosinalitys_dialect_too():
    _, file = official("stylegan2", "s32_d64_m4")
    narrow = {
        name: tensor[..., : tensor.shape[-1] // 2]
        if name == "input.input" or name.startswith("noises.")
        else tensor
        for name, tensor in file.tensors.items()
    }
    found = stylegan2.infer(Checkpoint(narrow))
    assert found is not None and found["config"]["start"] == [4, 2]
    generator = stylegan2.build(**found["config"])
    generator.load_state_dict(translate(narrow, stylegan2.rosinality(generator)), strict=True)
    assert generator.size == (32, 16)
    assert generator(Rng(0).normal(64)).shape == (1, 3, 32, 16)


def test_what_stands_beside_the_tensors_is_read_too():
    _, file = official("stylegan2", "s32_d64_m4")
    w_mean = torch.full((64,), 0.25)
    found = stylegan2.infer(Checkpoint(file.tensors | {"latent_avg": w_mean}))
    assert found is not None and found["config"]["missing"] == []
    generator = stylegan2.build(**found["config"])
    rules = stylegan2.rosinality(generator)
    generator.load_state_dict(translate(file.tensors | {"latent_avg": w_mean}, rules))
    assert torch.equal(generator.w_mean, w_mean)
    old = {k: v for k, v in file.tensors.items() if not k.endswith("kernel") and "noises" not in k}
    found = stylegan2.infer(Checkpoint(old))
    assert found is not None and found["config"]["missing"] == ["noise", "w_mean"]
    generator = stylegan2.build(**found["config"])
    generator.load_state_dict(translate(old, stylegan2.rosinality(generator)))
    _, file = official("stylegan2_ada", "r64_cond_resnet")
    modules = {"synthesis.b4.conv1": {"conv_clamp": 2.5}, "mapping.fc0": {"bias_gain": 0.02}}
    found = stylegan2.infer(Checkpoint(file.tensors, {"modules": modules}))
    assert found is not None and (found["config"]["clamp"], found["config"]["lr"]) == (2.5, 0.02)


def test_other_files_are_not_of_this_family():
    names = [
        "synthesis.input.freqs",
        "mapping.fc0.weight",
        "decoder.input.input",
        "backbone.mapping.fc0.weight",
    ]
    assert stylegan2.infer(Checkpoint(dict.fromkeys(names, torch.zeros(1)))) is None


def test_more_layers_than_there_are_cannot_be_truncated():
    all_of_them = tiny().synthesis.styles
    assert tiny(truncation=0.5, cutoff=all_of_them).cutoff == all_of_them
    with pytest.raises(SpecError, match=f"cutoff=99 is out of range.*0 to {all_of_them}"):
        tiny(truncation=0.5, cutoff=99)
