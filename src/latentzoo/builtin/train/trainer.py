r"""The training loop that every recipe shares.

A recipe says what is trained and how a step's losses come about; the loop owns optimisation, averaging, checkpoints and
the log. The randomness of step `n` is a stream seeded by `(seed, n)` alone, so a training that was killed and resumed
goes the way it would have gone.

The learning rate warms up over :math:`w` steps and falls to zero along a cosine; the averaged weights are

.. math:: \bar\theta_n = d_n \bar\theta_{n-1} + (1 - d_n) \theta_n, \qquad d_n = \min\!\left(d, \tfrac{n}{n + 10}\right)

References:
    | Adam: A Method for Stochastic Optimization (Kingma and Ba, 2015), https://arxiv.org/abs/1412.6980
    | SGDR: Stochastic Gradient Descent with Warm Restarts (Loshchilov and Hutter, 2017), https://arxiv.org/abs/1608.03983
"""

import copy
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from latentzoo.files import write_atomic


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long and how fast a recipe trains.

    Arguments:
        iterations: The number of steps.
        rate: The highest learning rate.
        warmup: The number of steps until it is reached.
        betas: The two decay rates of Adam.
        weight_decay: The decoupled weight decay.
        average: The decay :math:`d` of the averaged weights.
        clip: The largest norm of a gradient.
        seed: The seed of the initial weights and of every step's stream.
        save_every: Steps between checkpoints, previews and exports of the averaged weights.
    """

    iterations: int
    rate: float = 1e-3
    warmup: int = 100
    betas: Sequence[float] = (0.9, 0.99)
    weight_decay: float = 0.0
    average: float = 0.999
    clip: float = 1.0
    seed: int = 0
    save_every: int = 250


class Recipe(ABC):
    """What is trained: `players` are networks with an optimiser each, `losses` yields their losses in turn."""

    players: dict[str, nn.Module]

    @abstractmethod
    def losses(
        self, step: int, stream: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """Yields `(player, {part: scalar})`; the player is updated by the sum before the next one is asked for."""

    def pace(self, player: str, step: int) -> float:
        """The learning rate of a player at a step, relative to the plan's."""
        return 1.0

    @abstractmethod
    def preview(self, averaged: Mapping[str, nn.Module]) -> Tensor:
        """A grid of pictures `(3, H, W)` that shows how good the averaged networks are."""

    @abstractmethod
    def export(self, averaged: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """The tensors of the weight file."""


class Trainer:
    """Creates the training of a recipe in a folder; an existing checkpoint there is continued.

    Arguments:
        recipe: What is trained.
        plan: How.
        folder: Where checkpoint, log, preview and exported weights go.
    """

    def __init__(self, recipe: Recipe, plan: Plan, folder: Path) -> None:
        self.recipe, self.plan, self.folder = recipe, plan, folder
        self.averaged = {
            name: copy.deepcopy(player).requires_grad_(False).eval()
            for name, player in recipe.players.items()
        }
        self.optimizers = {
            name: torch.optim.AdamW(
                player.parameters(),
                lr=plan.rate,
                betas=(plan.betas[0], plan.betas[1]),
                weight_decay=plan.weight_decay,
            )
            for name, player in recipe.players.items()
        }
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self.load()

    @property
    def checkpoint(self) -> Path:
        """The file that a killed training resumes from."""
        return self.folder / "checkpoint.safetensors"

    def rate(self, step: int) -> float:
        """The learning rate at a step."""
        warm = min(1.0, (step + 1) / self.plan.warmup)
        return self.plan.rate * warm * 0.5 * (1 + math.cos(math.pi * step / self.plan.iterations))

    def run(self, steps: int | None = None) -> Iterator[dict[str, Any]]:
        """Trains to the end, or for a number of steps; yields a record per step and saves as it goes."""
        end = (
            self.plan.iterations if steps is None else min(self.plan.iterations, self.step + steps)
        )
        start = time.monotonic()
        while self.step < end:
            record = self.advance()
            record["seconds"] = round(time.monotonic() - start, 2)
            if self.step % self.plan.save_every == 0 or self.step == self.plan.iterations:
                self.save()
                with open(self.folder / "log.jsonl", "a") as log:
                    log.write(json.dumps(record) + "\n")
            yield record

    def advance(self) -> dict[str, Any]:
        """Does one step."""
        seed = self.plan.seed * 1_000_003 + self.step
        stream = torch.Generator().manual_seed(seed)
        record: dict[str, Any] = {"step": self.step + 1, "rate": self.rate(self.step)}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            for name, parts in self.recipe.losses(self.step, stream):
                optimizer = self.optimizers[name]
                for group in optimizer.param_groups:
                    group["lr"] = record["rate"] * self.recipe.pace(name, self.step)
                optimizer.zero_grad(set_to_none=True)
                loss = torch.stack(list(parts.values())).sum()
                loss.backward()
                nn.utils.clip_grad_norm_(self.recipe.players[name].parameters(), self.plan.clip)
                optimizer.step()
                record |= {f"{name}.{part}": round(x.item(), 5) for part, x in parts.items()}
        self.step += 1
        self.accumulate()
        return record

    @torch.no_grad()
    def accumulate(self) -> None:
        """Moves the averaged weights towards the present ones."""
        decay = min(self.plan.average, self.step / (self.step + 10))
        for name, player in self.recipe.players.items():
            averaged = self.averaged[name]
            for mean, value in zip(averaged.parameters(), player.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
            for mean, value in zip(averaged.buffers(), player.buffers(), strict=True):
                mean.copy_(value)

    def state(self) -> dict[str, Tensor]:
        """Everything a resumed training needs, by name."""
        state: dict[str, Tensor] = {"step": torch.tensor(self.step)}
        for name, player in self.recipe.players.items():
            state |= {f"player.{name}.{key}": x for key, x in player.state_dict().items()}
            state |= {
                f"mean.{name}.{key}": x for key, x in self.averaged[name].state_dict().items()
            }
            for index, moments in self.optimizers[name].state_dict()["state"].items():
                state |= {f"adam.{name}.{index}.{key}": x for key, x in moments.items()}
        return state

    def load(self) -> None:
        """Continues from the checkpoint."""
        with safe_open(self.checkpoint, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        self.step = int(state["step"])

        def below(prefix: str) -> dict[str, Tensor]:
            return {key[len(prefix) :]: x for key, x in state.items() if key.startswith(prefix)}

        for name, player in self.recipe.players.items():
            player.load_state_dict(below(f"player.{name}."))
            self.averaged[name].load_state_dict(below(f"mean.{name}."))
            moments: dict[int, dict[str, Tensor]] = {}
            for key, x in below(f"adam.{name}.").items():
                index, moment = key.split(".")
                moments.setdefault(int(index), {})[moment] = x
            adam = self.optimizers[name].state_dict()
            self.optimizers[name].load_state_dict({**adam, "state": moments})

    def save(self) -> None:
        """Writes checkpoint, preview and weights; each file is whole or not there."""
        _write(self.state(), self.checkpoint)
        _write(self.recipe.export(self.averaged), self.folder / "weights.safetensors", half=True)
        _picture(self.recipe.preview(self.averaged), self.folder / "preview.png")


def _write(tensors: Mapping[str, Tensor], path: Path, half: bool = False) -> None:
    ready = {
        key: (x.detach().half() if half and x.is_floating_point() else x.detach())
        .contiguous()
        .clone()
        for key, x in tensors.items()
    }
    write_atomic(path, lambda place: save_file(ready, place))


def _picture(grid: Tensor, path: Path) -> None:
    from PIL import Image

    pixels = (grid.detach().clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    Image.fromarray(pixels.contiguous().numpy()).save(path)


def tile(images: Tensor, columns: int) -> Tensor:
    """One picture `(3, rows * H, columns * W)` of a batch `(B, 3, H, W)`."""
    rows = images.shape[0] // columns
    b, c, h, w = images[: rows * columns].shape
    return (
        images[:b]
        .view(rows, columns, c, h, w)
        .permute(2, 0, 3, 1, 4)
        .reshape(c, rows * h, columns * w)
    )
