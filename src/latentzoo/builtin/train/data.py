"""The training pictures: avatars number 0 .. n-1 of one seed, drawn once and kept as an array.

The pictures are a function of `(seed, n)` alone, so the file is a cache: delete it and the same one is drawn again.
"""

import functools
import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from latentzoo.builtin.avatars import NAMES, VALUES, Avatar, draw, portrait
from latentzoo.builtin.drawing import SIZE, render
from latentzoo.errors import UnknownName
from latentzoo.files import write_bytes

CHUNK = 256


def subject(seed: int, index: int, portraits: int = 0) -> Avatar:
    """The avatar number `index` of the stream `seed`; with `portraits`, so many in a row are of one person."""
    return (
        portrait(seed, index // portraits, index % portraits) if portraits else draw(seed, index)
    )


def _chunk(seed: int, portraits: int, start: int, stop: int) -> np.ndarray:
    return np.stack([render(subject(seed, index, portraits)) for index in range(start, stop)])


def pictures(
    folder: Path, seed: int, count: int, *, portraits: int = 0, workers: int = 2
) -> np.ndarray:
    """The pictures of avatars `0 .. count - 1` of the stream `seed`, `(count, 64, 64, 3)`, unsigned 8-bit."""
    kind = f"portraits-{portraits}" if portraits else "avatars"
    path = folder / f"{kind}-{seed}-{count}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        store = np.lib.format.open_memmap(
            partial, mode="w+", dtype=np.uint8, shape=(count, SIZE, SIZE, 3)
        )
        starts = range(0, count, CHUNK)
        stops = [min(count, start + CHUNK) for start in starts]
        with ProcessPoolExecutor(workers) as pool:
            drawn = pool.map(functools.partial(_chunk, seed, portraits), starts, stops)
            for start, stop, chunk in zip(starts, stops, drawn, strict=True):
                store[start:stop] = chunk
        store.flush()
        os.replace(partial, path)
    return np.load(path, mmap_mode="r")


class Pictures:
    """Creates a source of training batches: avatars `0 .. count - 1` of a stream, with their attributes.

    Arguments:
        folder: Where drawn pictures, and what is computed from them, are kept.
        seed: The seed of the stream.
        count: The number of avatars.
        portraits: How many in a row are of one person; 0 if every avatar is another.
    """

    def __init__(self, folder: Path, seed: int, count: int, portraits: int = 0) -> None:
        self.folder, self.seed, self.name = folder, seed, f"{seed}-{count}-{portraits}"
        self.portraits = portraits
        self.array = pictures(folder, seed, count, portraits=portraits)
        rows = [subject(seed, index, portraits).indices() for index in range(count)]
        self.labels = torch.tensor(rows)

    def __len__(self) -> int:
        return len(self.array)

    def choose(self, count: int, stream: torch.Generator) -> Tensor:
        """The indices of a random batch."""
        return torch.randint(len(self), (count,), generator=stream)

    def at(self, indices: Tensor) -> Tensor:
        """The pictures with these indices, `(B, 3, H, W)` in [0, 1]."""
        chosen = torch.from_numpy(self.array[indices.numpy()])
        return chosen.permute(0, 3, 1, 2).float().div(255).contiguous()

    def batch(self, count: int, stream: torch.Generator) -> Tensor:
        """A random batch, `(count, 3, H, W)` in [0, 1]."""
        return self.at(self.choose(count, stream))

    def first(self, count: int) -> Tensor:
        """The first pictures, at most `count`, `(B, 3, H, W)`."""
        return self.at(torch.arange(min(count, len(self))))

    def labels_at(self, indices: Tensor) -> Tensor:
        """The attribute indices of the pictures with these indices, `(B, 13)`."""
        return self.labels[indices]

    def satisfying(self, world: Mapping[str, Sequence[str]]) -> Tensor:
        """The indices of the pictures whose attributes have only the values allowed, `(N,)`.

        Raises:
            UnknownName: There is no such attribute, or no such value of it.
        """
        inside = torch.ones(len(self), dtype=torch.bool)
        for name, values in world.items():
            if name not in VALUES:
                raise UnknownName("attribute", name, NAMES)
            for value in values:
                if value not in VALUES[name]:
                    raise UnknownName(f"value of '{name}'", value, VALUES[name])
            allowed = torch.tensor([VALUES[name].index(value) for value in values])
            inside &= torch.isin(self.labels[:, NAMES.index(name)], allowed)
        return inside.nonzero()[:, 0]

    @torch.no_grad()
    def latents(self, encoder: nn.Module) -> Tensor:
        """What an encoder makes of every picture, `(N, ...)`."""
        chunks = torch.arange(len(self)).split(CHUNK)
        path = self.folder / f"latents-{self.name}-{fingerprint(encoder)}.npy"
        return remember(path, lambda: torch.cat([encoder(self.at(chunk)) for chunk in chunks]))


def fingerprint(network: nn.Module) -> str:
    """A name for the weights of a network."""
    weights = (x.detach().numpy().tobytes() for x in network.state_dict().values())
    return hashlib.sha256(b"".join(weights)).hexdigest()[:12]


def remember(path: Path, make: Callable[[], Tensor]) -> Tensor:
    """What `make` gives, read from a file if it was made before."""
    if not path.exists():
        memory = io.BytesIO()
        np.save(memory, make().numpy())
        write_bytes(path, memory.getvalue())
    return torch.from_numpy(np.load(path))
