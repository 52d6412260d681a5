import json

import pytest
import torch
from scipy.stats import norm, truncnorm

from latentzoo.errors import SpecError
from latentzoo.hub.keys import translate
from latentzoo.zoo import biggan_deep
from latentzoo.zoo.biggan_deep import statistics_row, truncated
from latentzoo.zoo.biggan_deep.spectral import SpectralConv
from laws import obey, official, randomise

TINY = {
    "layers": [(False, 4, 4), (True, 4, 2), (True, 2, 1)],
    "channel_width": 8,
    "attention_layer_position": 2,
    "z_dim": 6,
    "num_classes": 5,
    "n_stats": 11,
}


def tiny(**options):
    torch.manual_seed(0)
    generator = biggan_deep.build(**TINY, **options)
    randomise(generator)
    with torch.no_grad():
        for name, buffer in generator.named_buffers():
            if name.endswith(("running_means", "running_vars")):
                buffer += torch.rand(buffer.shape)
    return generator


@pytest.mark.parametrize("bound", [2.0, None])
def test_laws(bound):
    generator = tiny(class_index=3, truncation=0.57, bound=bound)
    assert generator.size == (16, 16)
    obey(generator)


def test_images_stay_in_the_unit_interval():
    images = tiny()(10 * torch.randn(8, 6))
    assert images.min() >= 0 and images.max() <= 1


def test_the_latent_becomes_a_truncated_normal():
    z = torch.linspace(-5, 5, 101, dtype=torch.float64)
    expected = truncnorm.ppf(norm.cdf(z), -1.5, 1.5)
    torch.testing.assert_close(truncated(z, 1.5), torch.from_numpy(expected), rtol=1e-6, atol=1e-9)
    assert truncated(torch.tensor([-40.0, 40.0]), 2.0).abs().max() <= 2.0001
    assert truncated(z, None) is z


def test_truncation_scales_the_latent_and_chooses_the_statistics():
    full, low = tiny(bound=None), tiny(bound=None, truncation=0.4)
    z = torch.randn(2, 6)
    same_latent = full.network(0.4 * z, full.label.expand(2, -1), statistics_row(0.4, 11))
    torch.testing.assert_close(low(z), (same_latent + 1) / 2)
    assert not torch.allclose(low(z), full(0.4 * z))


def test_statistics_between_two_rows_lean_the_official_way():
    assert torch.equal(statistics_row(0.5, 11), torch.eye(11)[5])
    assert torch.equal(statistics_row(1.0, 51), torch.eye(51)[50])
    row = statistics_row(0.58, 11)
    torch.testing.assert_close(row[5:7], torch.tensor([0.8, 0.2]))
    torch.testing.assert_close(statistics_row(0.3, 11), torch.eye(11)[2])  # 0.3 / 0.1 < 3


def test_a_spectral_weight_does_not_know_its_scale():
    torch.manual_seed(0)
    conv = SpectralConv(3, 4, 3)
    before = conv.weight
    with torch.no_grad():
        conv.weight_orig *= 7
    torch.testing.assert_close(conv.weight, before)
    x = torch.randn(2, 3, 5, 5)
    conv.used = 2
    torch.testing.assert_close(conv(x), torch.conv2d(x, before, conv.bias, padding=1)[:, :2])


def test_the_class_matters():
    z = torch.randn(1, 6)
    assert not torch.allclose(tiny(class_index=1)(z), tiny(class_index=2)(z))


@pytest.mark.parametrize(
    "option", [{"class_index": 5}, {"class_index": -1}, {"truncation": 0.0}, {"truncation": 1.1}]
)
def test_impossible_options_are_refused(option):
    with pytest.raises(SpecError, match="give a number"):
        tiny(**option)


def test_the_tensors_give_the_configuration():
    _, file = official("biggan_deep", "r32_w16")
    found = biggan_deep.infer(file)
    generator = biggan_deep.build(**found["config"])
    rules = biggan_deep.KEYS[found["keys"]](generator)
    generator.load_state_dict(translate(file.tensors, rules), strict=True)
    assert generator.size == (32, 32)
    assert biggan_deep.infer(type(file)({"generator.x": torch.zeros(1)})) is None


def test_the_config_beside_the_file_tells_which_blocks_double(tmp_path):
    expected, file = official("biggan_deep", "r64_w12")
    (tmp_path / "biggan-deep-64-config.json").write_text(json.dumps(expected))
    (tmp_path / "biggan-deep-64-pytorch_model.bin").touch()
    file = type(file)(file.tensors, path=tmp_path / "biggan-deep-64-pytorch_model.bin")
    config = biggan_deep.infer(file)["config"]
    assert config == {k: v for k, v in expected.items() if k in config}
    assert biggan_deep.build(**config).size == (64, 64)
