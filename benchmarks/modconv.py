"""Times the two ways to a modulated convolution, at the layers of StyleGAN2 and StyleGAN-XL.

    python benchmarks/modconv.py [--threads 1] [--repeat 3]

One line per layer: its shape, the pixels per weight, the milliseconds of a forward pass and of
forward and backward (with respect to features and style, weights frozen) by grouped kernels and by
scaled features, and which of the two `latentzoo.nn.modconv.modulated_conv2d` takes.
"""

import argparse
from collections.abc import Callable
from time import perf_counter

import torch
from torch import Tensor

from latentzoo.nn.modconv import PIXELS_PER_WEIGHT, grouped, scaled

LAYERS = [  # batch, inputs, outputs, side, up
    (1, 512, 512, 4, False),
    (8, 512, 512, 4, False),
    (1, 512, 512, 16, True),
    (8, 512, 512, 16, False),
    (1, 512, 512, 32, False),
    (1, 256, 256, 64, False),
    (4, 128, 128, 64, False),
    (8, 64, 64, 64, False),
    (1, 128, 128, 128, False),
    (1, 64, 64, 128, False),
    (4, 32, 32, 128, False),
    (1, 128, 64, 128, True),
    (1, 64, 64, 256, False),
    (1, 32, 32, 256, False),
    (1, 64, 64, 512, False),
    (1, 32, 32, 512, False),
    (4, 32, 32, 512, False),
    (1, 32, 32, 1024, False),
]


def milliseconds(run: Callable[[], object], repeat: int) -> float:
    """The least time of a call, after one to warm up."""
    run()
    best = float("inf")
    for _ in range(repeat):
        start = perf_counter()
        run()
        best = min(best, perf_counter() - start)
    return 1000 * best


def time(
    way: Callable[..., Tensor], layer: tuple[int, int, int, int, bool], repeat: int
) -> list[float]:
    """The times of the forward pass, and of forward and backward."""
    B, I, O, side, up = layer
    x, style = torch.randn(B, I, side, side), torch.randn(B, I)
    weight, norm = torch.randn(O, I, 3, 3), torch.rand(B, O)
    gradient = torch.ones_like(way(x, weight, style, norm, up))

    def both() -> None:
        at, by = x.clone().requires_grad_(), style.clone().requires_grad_()
        torch.autograd.grad(way(at, weight, by, norm, up), (at, by), gradient)

    return [
        milliseconds(lambda: way(x, weight, style, norm, up), repeat),
        milliseconds(both, repeat),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"{'B':>2} {'I':>4} {'O':>4} {'side':>5} {'up':>3} {'px/w':>8}   grouped fwd  both   scaled fwd  both"
    )
    for layer in LAYERS:
        B, I, O, side, up = layer
        ratio = side**2 / (9 * I * O)
        one, other = time(grouped, layer, options.repeat), time(scaled, layer, options.repeat)
        taken = "grouped" if ratio >= PIXELS_PER_WEIGHT else "scaled"
        shape = f"{B:>2} {I:>4} {O:>4} {side:>5} {'yes' if up else 'no':>3} {ratio:>8.3f}"
        print(
            f"{shape}   {one[0]:>7.1f} {one[1]:>9.1f}   {other[0]:>7.1f} {other[1]:>9.1f}   {taken}"
        )


if __name__ == "__main__":
    main()
