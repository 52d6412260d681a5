"""MobileStyleGAN: the laws, the file, and the folded form against the plain one that the paper has."""

import math

import pytest
import torch
from torch.nn import functional as F

import plain_files as write
from latentzoo import zoo
from latentzoo.errors import CheckpointError
from latentzoo.rng import Rng
from latentzoo.zoo import mobilestylegan
from latentzoo.zoo.mobilestylegan import haar, upsampled
from laws import obey, randomise

CONFIG = {"widths": [8, 8, 4], "w_dim": 6, "layers": 2}


def tiny(**options):
    torch.manual_seed(0)
    generator = mobilestylegan.build(**(CONFIG | options))
    randomise(generator)
    for name, buffer in generator.named_buffers():
        if name.endswith("noise"):
            buffer.copy_(torch.randn(buffer.shape))
    return generator


def official(folder, generator):
    """Writes a generator's weights under the file's names, with the constants that the file has beside them."""
    state = generator.state_dict()
    inverse = {
        "const": lambda t: t.permute(2, 0, 1)[None],
        "noise": lambda t: t[None, None],
        "affine.bias": lambda t: t[None],
        "pointwise": lambda t: t[:, :, None, None],
        "to_rgb.weight": lambda t: t[:, :, None, None],
        "depthwise": lambda t: t[:, None],
        "bias": lambda t: t[None, :, None, None],
    }
    graphs = {
        "MappingNetwork": {"Constant_5": 1.0},
        "SynthesisNetwork": {"Constant_18": [[[[0.1]]]], "1539": [[0.7]]},
    }
    for rule in mobilestylegan.openvino(generator):
        if rule.ours is None:
            continue
        graph, name = rule.theirs.split(".", 1)
        value = state[rule.ours]
        form = next((f for end, f in inverse.items() if rule.ours.endswith(end)), lambda t: t)
        graphs[graph][name] = (value if graph == "MappingNetwork" else form(value)).numpy()
    for graph, constants in graphs.items():
        write.openvino(folder / f"{graph}.xml", constants)
    return folder


@pytest.mark.parametrize("truncation", [1.0, 0.7])
def test_laws(truncation):
    generator = tiny(truncation=truncation)
    assert generator.size == (32, 32)
    obey(generator)


def test_the_graphs_of_a_folder_are_the_map(tmp_path):
    generator = tiny()
    loaded = zoo.load(official(tmp_path, generator))
    z = Rng(0, 1).normal(6)
    assert torch.equal(loaded(z), generator(z))
    zoo.convert(tmp_path, tmp_path / "safe.safetensors")
    assert torch.equal(zoo.load(tmp_path / "safe.safetensors")(z), generator(z))


def test_a_folder_without_the_mapping_is_refused(tmp_path):
    official(tmp_path, tiny())
    (tmp_path / "MappingNetwork.xml").unlink()
    with pytest.raises(CheckpointError, match="family"):
        zoo.load(tmp_path)


def test_the_inverse_wavelet_transform_is_that_of_the_filters():
    """Against four transposed convolutions with Haar's filters, per channel; it keeps all lengths."""
    width, low, high = 3, torch.tensor([1.0, 1.0]), torch.tensor([1.0, -1.0])
    filters = [
        torch.outer(v, h) / 2 for v, h in ((low, low), (high, low), (low, high), (high, high))
    ]
    x = torch.randn(2, 5, 5, 4 * width)
    bands = x[..., width:].unflatten(3, (width, 3))
    expected = sum(
        F.conv_transpose2d(
            band.permute(0, 3, 1, 2), k.expand(width, 1, 2, 2), stride=2, groups=width
        )
        for band, k in zip((x[..., :width], *bands.unbind(4)), filters, strict=True)
    )
    ours = upsampled(x @ haar(width)).permute(0, 3, 1, 2)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(ours.square().sum(), x.square().sum())


def test_folded_scales_are_scales_of_the_channels():
    """One level written as the paper has it: scale, transform, scale, convolve twice, add, activate."""
    generator = tiny().double()
    level, w = generator.levels[0], torch.randn(2, 6, dtype=torch.float64)
    x = torch.randn(2, 4, 4, 8, dtype=torch.float64)
    y = upsampled((x * level.affine(w)[:, None, None]) @ haar(2).double()).permute(0, 3, 1, 2)
    for conv in (level.conv1, level.conv2):
        inputs = y.shape[1]
        y = y * conv.affine(w)[:, :, None, None] / math.sqrt(9 * inputs)
        y = F.conv2d(y, conv.depthwise, padding=1, groups=inputs)
        y = F.conv2d(y, conv.pointwise[:, :, None, None])
        y = F.leaky_relu(y + conv.noise + conv.bias[:, None, None], 0.2)
    torch.testing.assert_close(level(x, w).permute(0, 3, 1, 2), y)


def test_truncation_draws_towards_the_mean_style():
    near, free = tiny(truncation=1e-3), tiny()
    images = near(Rng(0, 1).normal(6))
    torch.testing.assert_close(images[0], images[1], atol=0.05, rtol=0)
    w_mean = near.w_mean(near.mapping, like=near.const)
    torch.testing.assert_close(
        images[:1], (free.synthesis(w_mean[None]) + 1) / 2, atol=0.05, rtol=0
    )
    mean = tiny(truncation=0.0).double()(Rng(0, 1).normal(6).double())  # the mean style alone
    torch.testing.assert_close(mean[0], mean[1], rtol=0, atol=1e-12)
