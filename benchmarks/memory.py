"""What the gradient through a diffusion chain costs: peak memory against the number of steps, and time.

    python benchmarks/memory.py [--side 64] [--width 48] [--repeats 3] [--long]
    python benchmarks/memory.py --rays     the same question for volume rendering: see memory_3d.py

A U-Net of three levels is run T times (DDIM) and differentiated with respect to the start. Every
row is a process of its own: the peak is what it held at most beyond what it held before the chain,
with the allocator as it is. What the library promises is memory at T = 50 against T = 5 of at most 1.3;
it aims at times with recomputes against without of at most 1.4. That is not reached where a
backward pass costs no more than a forward pass, as through frozen convolutions: running every step
again is then half as much again. The default, "auto", runs none again while memory allows.
Times are of the process, after a first gradient.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from latentzoo.diffusion.memory import fold
from latentzoo.diffusion.parametrisation import from_eps
from latentzoo.diffusion.reverse import ddim
from latentzoo.diffusion.schedule import Discrete, linear_betas
from resident import held

SCHEDULE = Discrete.from_betas(linear_betas())


class Block(nn.Module):
    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(4, i), nn.SiLU(), nn.Conv2d(i, o, 3, padding=1))
        self.second = nn.Sequential(nn.GroupNorm(4, o), nn.SiLU(), nn.Conv2d(o, o, 3, padding=1))
        self.skip = nn.Conv2d(i, o, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + self.second(self.first(x))


class UNet(nn.Module):
    def __init__(self, c: int) -> None:
        super().__init__()
        self.inward = nn.Conv2d(3, c, 3, padding=1)
        self.down = nn.ModuleList([Block(c, c), Block(c, 2 * c), Block(2 * c, 2 * c)])
        self.up = nn.ModuleList([Block(4 * c, 2 * c), Block(4 * c, c), Block(2 * c, c)])
        self.out = nn.Conv2d(c, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h, skips = self.inward(x), []
        for block in self.down:
            h = block(h)
            skips.append(h)
            h = nn.functional.avg_pool2d(h, 2)
        for block in self.up:
            h = nn.functional.interpolate(h, scale_factor=2.0)
            h = block(torch.cat([h, skips.pop()], dim=1))
        return self.out(h)


def gradient(
    network: nn.Module, side: int, steps: int, recompute: bool | str, *, eta: float = 0.0
) -> Tensor:
    """The gradient of the end of a chain with respect to its whole latent."""
    levels = SCHEDULE.levels([*(i * 999 // steps for i in range(steps, 0, -1)), -1])
    noises = steps - 1 if eta > 0 else 0
    z = torch.randn(1, noises + 1, 3, side, side).requires_grad_()
    start, *noise = z.unbind(1)

    def step(x: Tensor, i: int) -> Tensor:
        p = ddim(from_eps(network(x), x, levels[i]), levels[i], levels[i + 1], eta=eta)
        return p.push(noise[i] if i < noises else None)

    x = fold(step, start, range(steps), recompute=recompute)
    (grad,) = torch.autograd.grad(x.square().sum(), z)
    return grad


def measure(options: argparse.Namespace) -> None:
    """Prints the peak in MB and the seconds per gradient of this process."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = UNet(options.width).requires_grad_(False)
    choice = "auto" if options.recompute == "auto" else options.recompute == "True"
    with torch.no_grad():
        network(torch.randn(1, 3, 8, 8))
    before = held()
    gradient(network, options.side, options.steps, choice)
    peak = held() - before
    began = time.process_time()
    for _ in range(options.repeats):
        gradient(network, options.side, options.steps, choice)
    print(peak, (time.process_time() - began) / max(options.repeats, 1))


def spawn(
    options: argparse.Namespace, steps: int, recompute: str, repeats: int
) -> tuple[float, float]:
    """Measures in a process of its own: the peak in MB and the seconds per gradient."""
    arguments = [f"--side={options.side}", f"--width={options.width}", f"--repeats={repeats}"]
    child = [
        sys.executable,
        __file__,
        f"--steps={steps}",
        f"--recompute={recompute}",
        *arguments,
    ]
    out = subprocess.run(child, capture_output=True, text=True, check=True).stdout
    peak, seconds = map(float, out.split())
    return peak, seconds


def main(options: argparse.Namespace) -> None:
    print(f"{options.side} x {options.side} pixels, width {options.width}")
    print("recompute     T   peak MB   s/gradient", flush=True)
    plan = [("True", 5), ("True", 20), ("True", 50), ("sqrt", 50), ("False", 5), ("False", 20)]
    plan += [("auto", 20)]
    plan += [("auto", 50), ("True", 1000), ("sqrt", 1000)] if options.long else []
    peaks, times = {}, {}
    for recompute, steps in plan:
        peaks[recompute, steps], _ = spawn(options, steps, recompute, 0)
        repeats = options.repeats if steps == 20 else 0
        _, times[recompute, steps] = (
            spawn(options, steps, recompute, repeats) if repeats else (0, 0)
        )
        peak, seconds = peaks[recompute, steps], times[recompute, steps]
        shown = f"{seconds:12.3f}" if repeats else f"{'-':>12}"
        print(f"{recompute:10s} {steps:5d} {peak:9.1f} {shown}", flush=True)
    flat = peaks["True", 50] / peaks["True", 5]
    print(f"memory at T = 50 against T = 5, recompute=True: {flat:.2f} (promised: at most 1.3)")
    for recompute in ("True", "auto"):
        ratio = times[recompute, 20] / times["False", 20]
        print(
            f"time with recompute={recompute} against without, T = 20: {ratio:.2f} (aim: at most 1.4)"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--width", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--long", action="store_true", help="also T = 1000, and the choice auto")
    parser.add_argument(
        "--rays", action="store_true", help="memory against the rays rendered at once, instead"
    )
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--recompute", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rays:
        script = Path(__file__).with_name("memory_3d.py")
        raise SystemExit(
            subprocess.run([sys.executable, script, "--step"], check=False).returncode
        )
    (main if given.steps is None else measure)(given)
