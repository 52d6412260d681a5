"""Real generators, measured and guided: what comes out is what was asked for, by another yardstick than the guide."""

import torch

import latentzoo as lz
from latentzoo.energies.measure import Blur, Grey


def test_a_galaxy_is_restored_from_a_blurred_and_noisy_picture():
    sigma, telescope = 0.05, torch.nn.Sequential(Blur(1.0), Grey())
    generator = lz.load("galaxygrad-hsc-32", steps=5, recompute=False).requires_grad_(False)
    truth = generator(lz.Rng(2**40).normal(generator.space.dim))
    noise = lz.Rng(2**41).normal(truth[0, 0].numel()).view(1, 1, 32, 32)
    y = telescope(truth) + sigma * noise
    target = lz.Posterior(generator, {"y": lz.Measure(telescope, y, sigma)})
    result = lz.sample(target, chains=4, steps=24, progress=False)
    error = lambda guess: float((guess - truth).square().mean().sqrt())
    assert error(result.images.mean(0, keepdim=True)) < 0.6 * error(y)
