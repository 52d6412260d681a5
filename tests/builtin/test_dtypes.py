"""Every built-in generator in every number type: chains walk in float32, networks compute in their own."""

import pytest
import torch

import latentzoo as lz
from latentzoo import zoo
from latentzoo.generator import encode

BUILT_IN = [name for name in zoo.names() if name.startswith("avatar-")]
QUICK = {"steps": 2}
"""Two steps of a diffusion show its types as well as fifty."""


@pytest.mark.filterwarnings("ignore:the generator's images run")  # two steps leave noise
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", BUILT_IN)
def test_a_number_type_is_the_networks_alone(name: str, dtype: torch.dtype) -> None:
    options = QUICK if "ldm" in name or "ddpm" in name else {}
    G = lz.load(name, dtype=dtype, **options)
    assert G.place[1] == dtype
    dark = lz.Function(lambda image: 10 * image.square().mean((1, 2, 3)))
    result = lz.sample(lz.Posterior(G, dark), chains=1, steps=2, kernel="mala", progress=False)
    assert result.z.dtype == result.images.dtype == torch.float32
    assert result.images.isfinite().all() and not result.failures
    prior = lz.sample(G, chains=1, progress=False)
    assert prior.images.dtype == torch.float32 and prior.images.isfinite().all()
    if isinstance(G, lz.Encodable):
        z = encode(G, result.images, lz.Rng(0))
        assert z.dtype == torch.float32 and z.isfinite().all()
