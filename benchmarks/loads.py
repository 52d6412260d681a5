"""What `peers.py` measures: each function sets a load up and returns one turn of it.

They are written so that older builds run them too.
"""

import importlib.util
import mmap
import os
import re
import resource
import subprocess
import sys
import tempfile
import weakref
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import latentzoo as lz
from latentzoo.kernels.types import Function

STATUS = Path("/proc/self/status")
Turn = Callable[[], float | None]
"""One turn; returns what is compared, None for the processor seconds it took."""


def forward(f: Callable[[Tensor], Tensor], x: Tensor) -> Turn:
    def turn() -> None:
        with torch.no_grad():
            f(x)

    return turn


def gradient(f: Callable[[Tensor], Tensor], x: Tensor) -> Turn:
    def turn() -> None:
        z = x.clone().requires_grad_()
        torch.autograd.grad(f(z).sum(), z)

    return turn


def kept(f: Callable[[Tensor], Tensor], x: Tensor, network: nn.Module) -> Turn:
    """The MB that a forward pass keeps for the backward pass, without the weights."""
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}

    def turn() -> float:
        seen: dict[int, int] = {}

        def pack(v: Tensor) -> Tensor:
            seen[v.untyped_storage().data_ptr()] = v.untyped_storage().nbytes()
            return v

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda v: v):
            y = f(x.clone().requires_grad_())
        seen[y.untyped_storage().data_ptr()] = 0
        return sum(n for p, n in seen.items() if p not in own) / 2**20

    return turn


def latent_diffusion() -> Any:
    """One whose U-Net is of width 96, on 64 x 64 x 3 codes, with random weights."""
    from latentzoo.zoo import ldm

    network: dict[str, Any] = {"width": 96, "mult": [1, 2, 3, 4], "depth": 2}
    network |= {"attention": [8, 4, 2], "heads": None, "head_width": 32}
    stage = {"channels": 3, "latent": 3, "width": 32, "mult": [1, 2, 4], "depth": 1}
    return ldm.build(
        unet=network | {"modulate": False, "resample": False},
        first_stage=stage | {"attention": [], "codebook": 16},
        size=64,
    ).requires_grad_(False)


def unet(way: Callable[..., Turn]) -> Turn:
    """Its U-Net."""
    model = latent_diffusion()
    f = lambda x: model.eps(x, torch.full((1,), 500.0))
    x = torch.randn(1, 3, 64, 64)
    return way(f, x, model) if way is kept else way(f, x)


def avatar(name: str, chains: int) -> Turn:
    """A built-in generator's gradient."""
    generator = lz.load(name)
    return gradient(generator, torch.randn(chains, generator.space.dim))


def text(count: int, **more: Any) -> Any:
    """The energy of a text, with OpenAI's ViT-B/32 of random weights and altered copies."""
    from latentzoo.guides.clip import CLIP
    from latentzoo.guides.text_image import OpenAI

    class Unread(OpenAI):
        """Its texts need no tokenizer."""

        def encode_text(self, texts: Sequence[str]) -> Tensor:
            return torch.ones(len(texts), 512)

    network = CLIP(
        embed_dim=512,
        image_resolution=224,
        vision_layers=12,
        vision_width=768,
        vision_patch_size=32,
        context_length=77,
        vocab_size=100,
        transformer_width=64,
        transformer_heads=1,
        transformer_layers=1,
    ).requires_grad_(False)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.02)
    return lz.Clip("a", Unread(network), copies=count, **more)


def copies(side: int, count: int, **more: Any) -> Turn:
    """The gradient of a text energy."""
    return gradient(text(count, **more), torch.rand(1, 3, side, side))


def guided(count: int, together: int = 1) -> Turn:
    """A guided step of the Langevin algorithm: StyleGAN2 at 256 px, and a text energy with altered copies."""
    generator = gan()
    target = lz.Posterior(generator, {"text": 500 * text(count, together=together)})
    rng, kernel = lz.Rng(0), lz.ULA(0.01)
    state = kernel.init(target, rng.normal(512), rng)

    def turn() -> None:
        kernel.step(target, state, rng)

    return turn


def guided_at_once(count: int) -> Turn:
    """The same as the official loop of 2022 has it: all copies are one batch, and autograd keeps all that it needs."""
    from latentzoo.energies.augment import Draws, augment

    generator, energy, h = gan(), text(count), 0.01
    draws = Draws.fixed(count, generator.size)
    z = torch.randn(1, 512)

    def turn() -> None:
        x = z.clone().requires_grad_()
        image = generator(x).expand(count, -1, -1, -1)
        phi = 500 * energy.distance(augment(image, draws)).mean() + x.square().sum() / 2
        (grad,) = torch.autograd.grad(phi, x)
        (x - h / 2 * grad + h**0.5 * torch.randn_like(x)).detach()

    return turn


def resize(side: int) -> Turn:
    """One altered copy's change of size."""
    from latentzoo.energies.augment import resize

    u = torch.tensor([0.6], dtype=torch.float64)
    return gradient(lambda x: resize(x, u), torch.rand(1, 3, side, side))


def interpolate(side: int) -> Turn:
    """The same by torch's own function, and a crop."""
    n = int(side * (0.6 * (1.2 - 0.8) + 0.8))
    first = (n - side) // 2
    crop = lambda y: y[:, :, first : first + side, first : first + side]
    larger = lambda x: crop(F.interpolate(x, size=(n, n), mode="bilinear"))
    return gradient(larger, torch.rand(1, 3, side, side))


def gan() -> lz.Generator:
    """StyleGAN2 at 256 px with random weights."""
    from latentzoo.zoo import stylegan2

    widths = [512, 512, 512, 512, 256, 128, 64]
    return stylegan2.build(widths=widths).requires_grad_(False)


def stylegan2(chains: int) -> Turn:
    """Its gradient."""
    return gradient(gan(), torch.randn(chains, 512))


def checkpoint(kind: str, what: str, layers: int = 32) -> Turn:
    """A file of 512 MB to a network: processor seconds, those of its checksum, or the peak of memory over its size."""
    from latentzoo.hub.fit import fit, uninitialised
    from latentzoo.hub.keys import Rule
    from latentzoo.hub.read import read

    build = lambda: nn.Sequential(*(nn.Linear(2048, 2048, bias=False) for _ in range(layers)))
    folder = tempfile.TemporaryDirectory()  # goes when the process ends
    path = Path(folder.name) / "file"
    save = {"torch": torch.save, "safetensors": save_file}[kind]
    save(dict(build().state_dict()), path)

    def load() -> None:
        with uninitialised():
            network = build()
        fit(network, read(path).tensors, [Rule("{x*}", "{x}")], source=folder.name)

    def checksum() -> None:
        with Path(folder.name, "file").open("rb") as file:
            zlib.crc32(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))

    turns: dict[str, Turn] = {"seconds": load, "checksum": checksum}
    return turns.get(what, lambda: peak(load) * 1024 / path.stat().st_size)


def peak(load: Turn) -> float:
    """The KB by which a load raises the most memory that a process of its own holds."""
    resident = lambda word: int(re.findall(rf"{word}:\s+(\d+)", STATUS.read_text())[0])
    end, start = os.pipe()
    if os.fork() == 0:
        before = resident("VmRSS")
        load()
        os.write(start, str(resident("VmHWM") - before).encode())
        os._exit(0)
    os.wait()
    return float(os.read(end, 99))


def python(*words: str) -> Turn:
    """Processor seconds of a Python process of its own; its modules are compiled before, as those of a package are."""
    folder = tempfile.TemporaryDirectory()  # goes when the process ends
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = folder.name
    settings: dict[str, Any] = {"env": environment, "stdout": subprocess.DEVNULL, "check": True}

    def spent() -> float:
        of = resource.getrusage(resource.RUSAGE_CHILDREN)
        return of.ru_utime + of.ru_stime

    def turn() -> float:
        before = spent()
        subprocess.run([sys.executable, *words], **settings)
        return spent() - before

    return turn


def command(*words: str) -> Turn:
    """The same of a command line."""
    return python("-m", "latentzoo", *words)


def half_square(z: Tensor) -> Tensor:
    return 0.5 * z.square().sum(1)


def walk(kernel: str, chains: int, dim: int, steps: int = 50) -> Turn:
    """Steps of a sampler, with its loop and trace, on a potential that costs nothing."""
    new = importlib.util.find_spec("latentzoo.run") is not None
    module = import_module("latentzoo.run.walk" if new else "latentzoo.walk")
    rng = lz.Rng(*range(chains))
    run = module.Walk(
        Function(half_square), import_module("latentzoo.kernels").load(kernel), rng, steps=100_000
    )
    run.begin(torch.randn(chains, dim))
    frames = iter(run)

    def turn() -> None:
        for _ in range(steps):
            next(frames)

    return turn


class Live(TorchDispatchMode):
    """Notes the most bytes of tensors that live at once."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[int, int] = {}
        self.most = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if (
                isinstance(x, Tensor)
                and (place := x.untyped_storage().data_ptr()) not in self.live
            ):
                self.live[place] = x.untyped_storage().nbytes()
                weakref.finalize(x.untyped_storage(), self.live.pop, place, None)
        self.most = max(self.most, sum(self.live.values()))
        return out


def latents(
    kernel: Callable[[], Any], dim: int = 100_000, chains: int = 4, steps: int = 24
) -> Turn:
    """How many tensors of a latent's size a run holds for each chain at its peak, phi's included."""

    def turn() -> float:
        with Live() as live:
            lz.sample(half_square, dim=dim, chains=chains, steps=steps, kernel=kernel())
        return live.most / (4 * chains * dim)

    return turn


def anneal(**settings: Any) -> Any:
    return replace(import_module("latentzoo.kernels").load("anneal"), **settings)


def ten_line_latents(dim: int = 100_000, chains: int = 4) -> Turn:
    """The same of the ten lines."""

    def turn() -> float:
        with Live() as live:
            ten_lines(chains, dim, steps=3)()
        return live.most / (4 * chains * dim)

    return turn


def ten_lines(chains: int, dim: int, steps: int = 50) -> Turn:
    """The same with the unadjusted Langevin algorithm, as it is written in ten lines."""
    z, h = torch.randn(chains, dim), 0.01

    def turn() -> None:
        nonlocal z
        for _ in range(steps):
            z = z.detach().requires_grad_()
            (grad,) = torch.autograd.grad(half_square(z).sum(), z)
            z = (z - h / 2 * (grad + z) + h**0.5 * torch.randn_like(z)).detach()

    return turn


def noise(chains: int, dim: int) -> Turn:
    rng = lz.Rng(*range(chains))

    def turn() -> None:
        for _ in range(20):
            rng.normal(dim)

    return turn


def randn(chains: int, dim: int) -> Turn:
    def turn() -> None:
        for _ in range(20):
            torch.randn(chains, dim)

    return turn
