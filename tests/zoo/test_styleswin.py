import pytest
import torch

from latentzoo.errors import SpecError
from latentzoo.hub.keys import translate
from latentzoo.zoo import styleswin
from latentzoo.zoo.styleswin.blocks import WindowAttention
from latentzoo.zoo.styleswin.network import Upsample
from laws import obey, official, randomise


def tiny(**options):
    torch.manual_seed(0)
    config = {"size": 16, "style_dim": 6, "n_mlp": 2, "mlp_ratio": 0.25, "samples": 200}
    generator = styleswin.build(**(config | options))
    randomise(generator)
    return generator


@pytest.mark.parametrize("truncation", [1.0, 0.7])
def test_laws(truncation):
    generator = tiny(truncation=truncation)
    assert generator.size == (16, 16)
    obey(generator)


def test_images_are_in_the_units_of_pixels():
    generator = tiny()
    for layer in generator.network.layers:
        torch.nn.init.zeros_(layer.to_rgb.weight)
        torch.nn.init.zeros_(layer.to_rgb.bias)
        torch.nn.init.zeros_(layer.bias)
    grey = torch.tensor([0.485, 0.456, 0.406])[:, None, None].expand(3, 16, 16)
    torch.testing.assert_close(generator(torch.randn(1, 6))[0], grey)
    torch.nn.init.ones_(generator.network.layers[-1].bias)
    top = torch.tensor([0.714, 0.68, 0.631])[:, None, None].expand(3, 16, 16)
    torch.testing.assert_close(generator(torch.randn(1, 6))[0], top)


def test_full_truncation_leaves_the_mean_style():
    mean, free = tiny(truncation=0.0), tiny()
    images = mean(torch.randn(2, 6))
    torch.testing.assert_close(images[0], images[1], atol=1e-4, rtol=0)
    w = free.network.mapping(torch.randn(20_000, 6)).mean(0)
    torch.testing.assert_close(tiny(samples=20_000).mean_style(), w, atol=0.05, rtol=0.05)
    near = tiny(truncation=0.999)(torch.ones(1, 6))
    torch.testing.assert_close(near, free(torch.ones(1, 6)), atol=0.05, rtol=0)


def test_other_weights_have_another_mean_style():
    generator = tiny(truncation=0.5)
    with torch.inference_mode():
        before = generator.mean_style()
    assert generator.mean_style() is before
    assert not before.is_inference()
    state = {k: v + 0.1 for k, v in generator.state_dict().items()}
    generator.load_state_dict(state)
    assert not torch.allclose(generator.mean_style(), before)


@pytest.mark.parametrize("shift", [0, 2])
def test_windows_are_the_cells_of_a_shifted_grid(shift):
    """Against attention over the whole map, where a token sees those of its own cell only."""
    n, side, heads, d = 4, 12, 2, 3
    attention = WindowAttention(heads, n, shift, None).double()
    torch.nn.init.normal_(attention.bias_table)
    q, k, v = qkv = torch.randn(3, side, side, heads, d, dtype=torch.float64)
    at = torch.cartesian_prod(torch.arange(side), torch.arange(side))
    cell = (at - shift) // n
    together = (cell[:, None] == cell[None]).all(-1)
    offset = (at[:, None] - at[None] + n - 1).clamp(0, 2 * n - 2)
    bias = attention.bias_table[offset[..., 0] * (2 * n - 1) + offset[..., 1]]
    flat = lambda a: a.flatten(0, 1)
    logits = torch.einsum("ihd,jhd->ijh", flat(q), flat(k)) / d**0.5 + bias
    weights = logits.masked_fill(~together[..., None], -torch.inf).softmax(1)
    expected = torch.einsum("ijh,jhd->ihd", weights, flat(v)).reshape(1, side, side, heads * d)
    torch.testing.assert_close(attention(qkv.movedim(0, 2)[None]), expected)


def test_a_token_learns_its_column_then_its_row():
    up = Upsample(8, 8, 6)
    torch.nn.init.zeros_(up.reduction.weight)
    torch.nn.init.ones_(up.alpha)
    position = up(torch.randn(1, 3, 3, 8))[0]
    angle = torch.arange(1, 7) * 1.0
    torch.testing.assert_close(position[2, :, 0], angle.sin())
    torch.testing.assert_close(position[2, :, 2], angle.cos())
    torch.testing.assert_close(position[:, 2, 4], angle.sin())
    torch.testing.assert_close(position[:, 2, 5], (angle * 1e-4).sin())


@pytest.mark.parametrize(
    "option", [{"size": 12}, {"size": 4}, {"truncation": 1.5}, {"truncation": float("-inf")}]
)
def test_impossible_options_are_refused(option):
    with pytest.raises(SpecError, match="give"):
        tiny(**option)


def test_the_tensors_give_the_configuration():
    config, file = official("styleswin", "s64_d48_m2_cm1")
    found = styleswin.infer(file)
    assert found is not None
    config["channels"] = 3
    assert found["config"] == {k: v for k, v in config.items() if k in found["config"]}
    with torch.device("meta"):
        generator = styleswin.build(**found["config"])
    state = translate(file.tensors, styleswin.KEYS[found["keys"]](generator))
    generator.load_state_dict(state, strict=True, assign=True)
    assert styleswin.infer(type(file)({"input.input": torch.zeros(1)})) is None
