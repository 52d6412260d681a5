"""Makes the moving pictures of the home page with the product: chains that walk, starts beside ends.

    python tools/site/pictures.py docs/images     # two minutes on two cores

The orbit is the command line's: latentzoo orbit runs/heads --out docs/images/orbit.webp
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import latentzoo as lz
from latentzoo import energies, picture

ASKED = "a smiling person with sunglasses and a red hat"
CHAINS, STEPS, EVERY = 8, 100, 3


def sheet(pixels: np.ndarray, columns: int) -> Image.Image:
    """Pictures in a grid, as many pixels as they have; the page enlarges them."""
    return Image.fromarray(picture.grid(pixels, columns=columns))


def main(folder: Path) -> None:
    """Samples once, and draws what the chains looked like on the way."""
    G = lz.load("avatar-turbo")
    target = lz.Posterior(
        G, {"asked": 10 * energies.load("attribute", ASKED, model="avatar-attributes")}
    )
    seen: list[np.ndarray] = []

    def watch(frame) -> None:
        if frame.step % EVERY == 1:
            seen.append(picture.to_uint8(target.images(frame.state.z)))

    result = lz.sample(target, chains=CHAINS, steps=STEPS, seed=3, watch=watch)
    start, end = (picture.to_uint8(result.picture(z)) for z in (result.start, result.z))
    frames = [sheet(pixels, 4) for pixels in (start, start, *seen, *[end] * 10)]
    frames[0].save(
        folder / "walk.webp",
        save_all=True,
        append_images=frames[1:],
        duration=160,
        loop=0,
        quality=90,
    )
    sheet(np.concatenate([start, end]), CHAINS).save(folder / "pairs.webp", quality=90)
    sys.stdout.write(f"{result.diagnosis}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
