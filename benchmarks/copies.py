"""How noisy the text energy is for a number of altered copies: `python benchmarks/copies.py`.

The draws of the copies are fixed once per run; here they are drawn anew `SEEDS` times. For pictures of the prior, it
prints the noise of the energy (the deviation over draws), next to how much the pictures differ from each other, how
well the gradients of two draws agree (their cosine), and the time of one gradient.
"""

import time

import torch
from torch.nn import functional as F

import latentzoo as lz
from latentzoo.rng import Rng

TEXT, PICTURES, SEEDS, COPIES = (
    "a person with sunglasses and a yellow hat",
    6,
    8,
    (0, 1, 4, 16, 50),
)


def main() -> None:
    torch.set_num_threads(1)
    generator = lz.load("avatar-turbo")
    with torch.no_grad():
        image = generator(Rng(*range(PICTURES)).normal(generator.space.dim))
    model = lz.Clip(TEXT, "avatar-clip").model
    print(
        "| copies | noise | spread of pictures | noise / spread | gradients agree | ms a picture |"
    )
    print("|---|---|---|---|---|---|")
    for copies in COPIES:
        values, slopes, began = [], [], time.process_time()
        for seed in range(SEEDS if copies else 1):
            x = image.clone().requires_grad_()
            value = lz.Clip(TEXT, model, copies=copies, seed=seed)(x)
            slopes.append(F.normalize(torch.autograd.grad(value.sum(), x)[0].flatten(1), dim=1))
            values.append(value.detach())
        spent = 1000 * (time.process_time() - began) / len(values) / PICTURES
        each, slope = torch.stack(values), torch.stack(slopes)
        spread = each.mean(0).std()
        noise = each.std(0).mean() if copies else torch.zeros(())
        pairs = torch.einsum("sbd,tbd->bst", slope, slope)
        i, j = torch.triu_indices(len(values), len(values), 1)
        agree = pairs[:, i, j].mean() if copies else torch.ones(())
        print(
            f"| {copies} | {noise:.4f} | {spread:.4f} | {noise / spread:.2f} | {agree:.2f} | {spent:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
