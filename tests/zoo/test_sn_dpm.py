import math

import pytest
import torch

from latentzoo.diffusion.noise import fixed_noise
from latentzoo.diffusion.schedule import Discrete, linear_betas
from latentzoo.errors import LatentzooError, SpecError
from latentzoo.hub.keys import translate
from latentzoo.rng import Rng
from latentzoo.zoo import sn_dpm
from latentzoo.zoo.sn_dpm import SNDPM, UNet, trajectory
from laws import obey, official, randomise

TINY = {"resolution": 8, "ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [4]}


def tiny(**options):
    torch.manual_seed(0)
    generator = sn_dpm.build(**(TINY | {"steps": 4} | options))
    randomise(generator)
    return generator


class Exact(UNet):
    """The optimal heads for pixels that are independent normals of mean m and variance v."""

    m, v = 0.1, 0.04

    def __init__(self, head, size):
        super().__init__(resolution=size[0], ch=32, ch_mult=[1])
        self.head, self.size = head, size
        self.schedule = Discrete.from_betas(linear_betas())

    def forward(self, x, t):
        level = self.schedule(int(t[0]))
        total = level.alpha**2 * self.v + level.sigma**2
        eps = level.sigma / total * (x - level.alpha * self.m)
        error = torch.full_like(x, level.alpha**2 * self.v / total)
        return torch.cat([eps, error + eps**2 if self.head == "eps2" else error], dim=1)


def exact(head="eps2", size=(2, 2), **options):
    network = Exact(head, size)
    return SNDPM(network, network.schedule, head=head, clip_pixel=0, **options)


CHAINS = [
    {},
    {"head": "epsc", "mode": "complex"},
    {"forward_type": "ddim", "eta": 0.5},
    {"head": "none"},
    {"white_box_steps": 1},
    {"white_box_steps": 0, "recompute": True},
]


@pytest.mark.parametrize("options", CHAINS)
def test_laws(options):
    generator = tiny(**options)
    latent = options.get("white_box_steps", 3)
    assert dict(generator.space) == {"start": (3, 8, 8)} | (
        {"noise": (latent, 3, 8, 8)} if latent else {}
    )
    obey(generator)


def test_the_times_are_the_official_ones():
    assert trajectory(5, 1000) == [1, 251, 500, 750, 1000]
    assert trajectory(10, 1000) == [1, 112, 223, 334, 445, 556, 667, 778, 889, 1000]
    assert trajectory(50, 1000)[:6] == [1, 21, 42, 62, 83, 103]
    assert trajectory(50, 1000)[-3:] == [959, 980, 1000]


@pytest.mark.parametrize("head", ["eps2", "epsc"])
def test_a_step_is_the_true_conditional_of_normal_pixels(head):
    """By Bayes' rule for x_t = a x_s + b n, with no word of noise predictions."""
    generator = exact(head, steps=5)
    x_t = torch.randn(1, 3, 2, 2, dtype=torch.float64)
    for t, s in generator.pairs[:-1]:
        p = generator.step(x_t, t, s)
        a = t.alpha / s.alpha
        b2 = t.sigma**2 - (a * s.sigma) ** 2
        prior = s.alpha**2 * Exact.v + s.sigma**2
        var = 1 / (1 / prior + a**2 / b2)
        mean = var * (s.alpha * Exact.m / prior + a * x_t / b2)
        torch.testing.assert_close(p.mean, mean)
        torch.testing.assert_close(p.std**2, torch.full_like(mean, var))


@pytest.mark.parametrize("options", [{}, {"forward_type": "ddim", "eta": 0.3}, {"head": "epsc"}])
def test_few_steps_draw_the_true_distribution(options):
    """What the variance of DDPM misses by far in 4 steps, the optimal one gives."""
    generator = exact(steps=4, size=(32, 32), **options)
    images = 2 * generator(torch.randn(100, generator.space.dim)) - 1
    level = generator.pairs[-1][0]
    estimate = level.alpha**2 * Exact.v**2 / (level.alpha**2 * Exact.v + level.sigma**2)
    assert abs(images.mean().item() - Exact.m) < 3 * math.sqrt(Exact.v / images.numel()) + 1e-3
    assert abs(images.var().item() / estimate - 1) < 0.02


def test_noise_moves_a_pixel_but_little_in_the_last_noisy_step():
    x_t = torch.randn(2, 3, 8, 8)
    free, bound = tiny(clip_pixel=0), tiny(clip_pixel=2)
    *earlier, last = free.pairs[:-1]
    limit = 2 * 2 / 255 * math.sqrt(math.pi / 2)
    torch.testing.assert_close(
        bound.step(x_t, *last).std, free.step(x_t, *last).std.clamp(max=limit)
    )
    assert free.step(x_t, *last).std.max() > limit
    for pair in earlier:
        assert torch.equal(bound.step(x_t, *pair).std, free.step(x_t, *pair).std)
    assert tiny().limit == bound.limit
    assert tiny(forward_type="ddim").limit == tiny(clip_pixel=1).limit
    assert torch.equal(tiny(clip_index=0).step(x_t, *last).std, free.step(x_t, *last).std)


def test_one_head_gives_the_variances_of_ddpm():
    generator = tiny(head="none")
    t, s = generator.pairs[1]
    p = generator.step(torch.randn(1, 3, 8, 8), t, s)
    tilde = s.sigma**2 / t.sigma**2 * (t.sigma**2 - (t.alpha / s.alpha * s.sigma) ** 2)
    torch.testing.assert_close(p.std**2, torch.full_like(p.std, tilde))


def test_ddim_without_noise_has_a_gradient():
    generator = tiny(forward_type="ddim", eta=0.0)
    z = torch.randn(1, generator.space.dim, requires_grad=True)
    (gradient,) = torch.autograd.grad(generator(z).sum(), z)
    assert gradient.isfinite().all()


def test_noises_outside_the_latent_are_fixed_by_the_seed():
    few, all_of_them = tiny(white_box_steps=1, seed=5), tiny()
    z = torch.randn(2, few.space.dim)
    rest = torch.cat([fixed_noise(z.new_empty(1, 3, 8, 8), 5, i) for i in (2, 3)])
    longer = torch.cat([z, rest.flatten().expand(2, -1)], dim=1)
    torch.testing.assert_close(few(z), all_of_them(longer))
    assert not torch.allclose(few(z), tiny(white_box_steps=1, seed=6)(z))


@pytest.mark.parametrize("options", [{}, {"forward_type": "ddim", "eta": 0.5}, {"head": "none"}])
def test_the_latent_of_an_image_gives_the_image(options):
    generator = tiny(steps=6, **options)
    image = 0.3 + 0.4 * torch.rand(2, 3, 8, 8)
    z = generator.encode(image, Rng(1, 2))
    torch.testing.assert_close(generator(z), image, atol=2e-3, rtol=0)
    start = generator.space.split(z)["start"]
    assert abs(start.std().item() - 1) < 0.1
    torch.testing.assert_close(z[1:], generator.encode(image[1:], Rng(2)), atol=1e-2, rtol=1e-3)


def test_the_code_of_a_draw_from_the_model_is_normal():
    generator = exact(steps=10, size=(32, 32))
    image = (1 + Exact.m + math.sqrt(Exact.v) * torch.randn(4, 3, 32, 32)) / 2
    noise = generator.space.split(generator.encode(image, Rng(1, 2, 3, 4)))["noise"]
    assert noise[:, :-1].mean().abs() < 0.02
    assert abs(noise[:, :-1].std() - 1) < 0.02


@pytest.mark.parametrize("options", [{"white_box_steps": 1}, {"forward_type": "ddim", "eta": 0.0}])
def test_no_latent_where_the_noise_is_fixed(options):
    with pytest.raises(SpecError, match="no latent"):
        tiny(**options).encode(torch.rand(1, 3, 8, 8), Rng(0))


@pytest.mark.parametrize(
    "option",
    [
        {"steps": 1},
        {"steps": 1001},
        {"head": "eps"},
        {"forward_type": "sde"},
        {"eta": 1.5},
        {"white_box_steps": 4},
        {"clip_index": 5},
    ],
)
def test_impossible_options_are_refused(option):
    with pytest.raises(LatentzooError):
        tiny(**option)


def test_a_head_must_fit_its_network():
    one = tiny(head="none")
    with pytest.raises(SpecError, match="does not fit"):
        SNDPM(one.network, Discrete.from_betas(linear_betas()), head="eps2")


@pytest.mark.parametrize("head", ["eps2", "epsc", "none"])
def test_the_tensors_give_the_configuration(head, tmp_path):
    _, file = official("adpm_unet", "v2")
    config = {"resolution": 32, "ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1}
    config |= {"levels": [1], "head": head, "mode": "simple", "channels": 3}
    state = sn_dpm.build(**config).state_dict()
    tensors = {name.removeprefix("network."): value for name, value in state.items()}
    path = tmp_path / f"celeba64_ema_eps_{head}_pretrained.ckpt.pth"
    found = sn_dpm.infer(type(file)(tensors, path=path))
    assert (found["config"], found["keys"]) == (config, "official")
    assert ("head" in found["assumed"]) == (head != "none")
    generator = sn_dpm.build(**found["config"])
    rules = sn_dpm.KEYS[found["keys"]](generator)
    generator.load_state_dict(translate(tensors, rules), strict=True)
    assert sn_dpm.infer(type(file)({"conv_in.weight": torch.zeros(1)})) is None
    assert sn_dpm.infer(file)["config"]["mode"] == "complex"
