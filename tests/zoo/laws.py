"""What every generator of the zoo obeys, and official tensors by their official names."""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from latentzoo.generator import Generator
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.rng import Rng

PARITY = Path(__file__).resolve().parents[1] / "parity"
sys.path.insert(0, str(PARITY))


def randomise(network: nn.Module, seed: int = 0) -> None:
    """Shakes every weight, so that no part is silent because of how it begins (zero gains)."""
    stream = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            spread = parameter.std().item() if parameter.numel() > 1 else 0.0
            noise = torch.randn(parameter.shape, generator=stream)
            parameter += 0.1 * (spread or 1.0) * noise
    network.eval().requires_grad_(False)


def obey(generator: Generator) -> None:
    """Asserts determinism, independence of the batch (in float64), and a true gradient for every block."""
    z = Rng(1, 2, 3).normal(generator.space.dim)
    images = generator(z)
    assert images.shape == (3, 3, *generator.size) and images.isfinite().all()
    assert torch.equal(images, generator(z))
    assert not torch.allclose(images[0], images[1])
    generator.train()
    assert torch.equal(generator(z), images), "the training switch changes the map"
    generator.eval()
    slopes(generator, z)


def slopes(generator: Generator, z: Tensor, step: float = 1e-6) -> None:
    """Asserts that each block's gradient is not zero, and is the slope of the map, in float64.

    There the independence of the batch, too, is not hidden by rounding.
    """
    generator = generator.double()
    z = z.double().requires_grad_()
    with torch.no_grad():
        alone = torch.cat([generator(row) for row in z.split(1)])
        torch.testing.assert_close(generator(z), alone, rtol=1e-6, atol=1e-8)
    probe = Rng(*range(4, 4 + len(z)), dtype=torch.float64).normal(3, *generator.size)
    inner = lambda at: (generator(at) * probe).sum((1, 2, 3))
    (gradient,) = torch.autograd.grad(inner(z).sum(), z)
    for name, part in generator.space.split(gradient).items():
        assert part.isfinite().all() and part.abs().amax() > 0, f"no gradient reaches '{name}'"
        along = torch.where(generator.space.mask(name), gradient.sign(), 0)
        with torch.no_grad():
            slope = (inner(z + step * along) - inner(z - step * along)) / (2 * step)
        torch.testing.assert_close((gradient * along).sum(1), slope, rtol=1e-4, atol=1e-6)
    generator.float()


def official(arch: str, card: str) -> tuple[dict, Checkpoint]:
    """The configuration of a parity card, and its filled tensors as a file would give them."""
    import check

    record = check.read_json(PARITY / "cards" / arch / f"{card}.json")
    value = lambda e: taps(e["key"]) if is_filter(e) else check.fill(e, record["salt"])
    tensors = {e["key"]: value(e) for e in record["state"]}
    return record["config"], Checkpoint(tensors, container="torch")


def is_filter(entry: dict) -> bool:
    """Whether a tensor of a card is the filter (1, 3, 3, 1) of StyleGAN2's resampling, which cards do not hold."""
    return entry["key"].endswith(("resample_filter", ".kernel")) and entry["shape"] == [4, 4]


def taps(key: str) -> torch.Tensor:
    """That filter (4, 4), by the name it has: of gain 1, or 4 in the dialect that puts zeros between the pixels."""
    row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    return torch.outer(row, row) * (4 if key.endswith("kernel") else 1)
