"""What a finished run is worth, from its folder alone: the paper's numbers, and those it lacks.

energy, per term       mean over the chains kept, of the states whose pictures were saved
held-out energies      other networks than those that guided, on the saved pictures and on those of the start; and what
                       they read there in units of their own: years, a probability, a similarity
their gain             how much of what a reward gained they see too, see `hacking`
diversity              mean distance of two pictures: LPIPS at 256 pixels as in the paper, and in features
distance to pictures   Frechet and kernel distance to a folder of them, in features
cost                   gradients per chain, seconds

A chain that failed is not kept, and is counted; it enters no mean.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo import energies, picture, zoo
from latentzoo.diagnosis import metrics
from latentzoo.diagnosis.metrics import Estimate
from latentzoo.energies.base import Energy
from latentzoo.errors import SpecError
from latentzoo.guides import features as guides
from latentzoo.guides import perceptual
from latentzoo.record import spec
from latentzoo.record.layout import IMAGES, START
from latentzoo.record.saved import SavedRun
from latentzoo.report import hacking

BATCH = 16
FEW = 4
"""How many chains a gain needs."""
OWN = ""
"""The name of an energy's value among what its network reads."""
ENDINGS = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The numbers of one run.

    Attributes:
        kept: How many of its chains did not fail.
        chains: How many it has.
        numbers: The estimates by name.
        gradients: The gradients that each chain spent.
        seconds: How long the run took.
        notes: What limits the numbers, in words.
    """

    kept: int
    chains: int
    numbers: dict[str, Estimate]
    gradients: float
    seconds: float
    notes: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data; numbers that are not known are None."""
        known = lambda x: x if np.isfinite(x) else None
        return {
            "kept": self.kept,
            "chains": self.chains,
            "numbers": {
                name: {key: known(x) for key, x in estimate._asdict().items()}
                for name, estimate in self.numbers.items()
            },
            "gradients": known(self.gradients),
            "seconds": known(self.seconds),
            "notes": list(self.notes),
        }


class Evaluator:
    """Creates what several runs are evaluated by; networks are loaded once.

    Arguments:
        held_out: Energies of networks that did not guide.
        features: The features of distances, see `latentzoo.guides.features`; None takes those that the generator's
            card names, or DINOv2 where pictures are given.
        pictures: A folder of pictures to compare with.
        lpips: Whether the diversity is also that of LPIPS.

    Raises:
        SpecError: If the folder holds fewer than two pictures.
        MissingExtra: If LPIPS is asked for and not installed.
    """

    def __init__(
        self,
        *,
        held_out: Sequence[spec.Term] = (),
        features: str | None = None,
        pictures: Path | None = None,
        lpips: bool = False,
    ) -> None:
        self.terms = {_name(term): term for term in held_out}
        if len(self.terms) < len(held_out):
            raise SpecError("two held-out energies have one name; give them (name=...)")
        self._judges: dict[tuple[str, str | None, str], Energy] = {}
        self.features, self.lpips = features, perceptual.load("--lpips") if lpips else None
        self.paths = [] if pictures is None else found(pictures)
        self._seen: dict[
            tuple[str | int, ...], tuple[Callable[[Tensor], Tensor], Tensor | None]
        ] = {}

    def __call__(self, saved: SavedRun) -> Evaluation:
        """Evaluates a finished run.

        Raises:
            SpecError: If the folder holds no finished run, no chain of it was kept, or pictures of it are gone.
        """
        if not saved.finished:
            raise SpecError(f"{saved.path}: there is no finished run here; run or resume it first")
        kept, notes = saved.kept, []
        if not kept:
            raise SpecError(
                f"{saved.path}: every chain of this run failed; there is nothing to evaluate"
            )
        image = _shown(saved, IMAGES)
        numbers = {name: metrics.mean(values) for name, values in reached(saved, kept).items()}
        for name in self.terms:
            ends = self._rate(name, saved, image)
            numbers |= _means(name, ends)
            if saved.pictures(START):
                begun = self._rate(name, saved, _shown(saved, START))
                numbers |= _means(f"{name} at the start", begun)
                notes += self._hacked(name, saved, (begun[OWN], ends[OWN]), numbers)
        if len(kept) > 1:
            if self.lpips is not None:
                numbers["LPIPS"] = metrics.diversity(perceptual.distances(self.lpips, image))
            own = zoo.companion(saved.record.card or saved.record.generator, "features")
            notes += self._compare(image, numbers, self.features or own)
        measured = saved.record.record
        return Evaluation(
            kept=len(kept),
            chains=saved.chains,
            numbers=numbers,
            gradients=float(measured["gradients"]),
            seconds=float(measured["seconds"]),
            notes=tuple(notes),
        )

    def _rate(self, name: str, saved: SavedRun, image: Tensor) -> dict[str, Tensor]:
        """A held-out energy of the pictures of the chains kept, and what its network reads of them, by name.

        An energy without a target takes the prompts of the chains.
        """
        record, target = saved.record, self.terms[name].target
        maker = record.card or record.generator
        prompts = target if target.strip() else record.options.get("prompt", target)
        if isinstance(prompts, str):
            return judged(self._judge(name, maker, prompts), image)
        each = [
            judged(self._judge(name, maker, prompts[saved.numbers[i]]), shown)
            for i, shown in zip(saved.kept, image.split(1), strict=True)
        ]
        return {quantity: torch.cat([found[quantity] for found in each]) for quantity in each[0]}

    def _hacked(
        self,
        name: str,
        saved: SavedRun,
        held_out: tuple[Tensor, Tensor],
        numbers: dict[str, Estimate],
    ) -> list[str]:
        """Adds how much of the gain of a reward a held-out energy sees; says it in words."""
        rewarded = any(term.energy == "reward" for term in saved.record.energies)
        if not rewarded or len(saved.kept) < FEW:
            return []
        phi = saved.column("phi")[:, list(saved.kept)]
        begun, done = (torch.from_numpy(row) for row in (phi[0], at(saved, saved.kept, phi)))
        found = hacking.share((begun, done), held_out)
        numbers[f"{name}, share of the gain"] = found
        return [f"reward hacking: the gain of '{name}' is {found.value:.2g} of the optimised one"]

    def _judge(self, name: str, generator: str, target: str) -> Energy:
        """The network of a held-out energy; where none is named, the companion of the run's generator."""
        term = self.terms[name]
        model = term.model or zoo.companion(generator, term.energy)
        key = name, model, target
        if key not in self._judges:
            others = (e for k, e in self._judges.items() if k[:2] == key[:2])
            again = next((e.about(target) for e in others), None)
            self._judges[key] = again or energies.load(
                term.energy, target, model=model, **term.options
            )
        return self._judges[key]

    def _compare(
        self, image: Tensor, numbers: dict[str, Estimate], features: str | None
    ) -> list[str]:
        """Adds what is said in features; returns what limits it."""
        size = tuple(image.shape[2:])
        if features is None and not self.paths:
            return []
        name = features or guides.DEFAULT
        key = (name, *size)
        if key not in self._seen:
            network = guides.load(name)
            wanted = (int(size[0]), int(size[1]))
            others = (batched(network, picture.read(path, wanted)) for path in self.paths)
            self._seen[key] = network, torch.cat(list(others)) if self.paths else None
        network, theirs = self._seen[key]
        ours = batched(network, image)
        numbers["diversity"] = metrics.diversity(metrics.euclidean(ours))
        if theirs is None:
            return []
        numbers["Frechet"] = Estimate(metrics.frechet(ours, theirs))
        numbers["kernel"] = metrics.kernel(ours, theirs)
        fewest = min(len(ours), len(theirs))
        if fewest > ours.shape[1]:
            return []
        return [
            f"{fewest} pictures are fewer than {ours.shape[1]} features: the Frechet distance is far too large, "
            "and only to be compared at the same numbers; the kernel distance is unbiased"
        ]


def reached(saved: SavedRun, kept: Sequence[int]) -> dict[str, Float[Tensor, "N"]]:
    """The unweighted energies of the saved pictures by term: the last ones, or where the best was kept, those of it."""
    values = {name: saved.column(name)[:, list(kept)] for name in saved.terms}
    if not values:
        return {}
    return {name: torch.from_numpy(at(saved, kept, v)) for name, v in values.items()}


def at(saved: SavedRun, kept: Sequence[int], values: np.ndarray) -> np.ndarray:
    """A column (steps, N) of the trace at the states whose pictures were saved, (N,)."""
    best, last = saved.record.best, np.full(len(kept), len(values) - 1)
    if best is not None and len(values) > 1:
        last = np.nanargmin(saved.column(best)[:-1, list(kept)], axis=0)
    return values[last, np.arange(len(kept))]


@torch.no_grad()
def judged(judge: Energy, image: Float[Tensor, "N 3 H W"]) -> dict[str, Tensor]:
    """An energy of pictures, and what its network reads of them, (N,) each."""
    parts = [{OWN: judge(part), **judge.readings(part)} for part in image.split(BATCH)]
    return {quantity: torch.cat([part[quantity] for part in parts]) for quantity in parts[0]}


def _shown(saved: SavedRun, folder: str) -> Float[Tensor, "N 3 H W"]:
    """The pictures of the chains kept.

    Raises:
        SpecError: If there are not as many pictures as chains.
    """
    paths = saved.pictures(folder)
    if len(paths) != saved.chains:
        raise SpecError(
            f"{saved.path / folder}: holds {len(paths)} pictures of {saved.chains} chains, the others are gone; "
            "run it again"
        )
    return torch.cat([picture.read(paths[i]) for i in saved.kept])


def _means(name: str, found: dict[str, Tensor]) -> dict[str, Estimate]:
    return {
        name if quantity == OWN else f"{name}, {quantity}": metrics.mean(values)
        for quantity, values in found.items()
    }


@torch.no_grad()
def batched(network: Callable[[Tensor], Tensor], image: Float[Tensor, "N 3 H W"]) -> Tensor:
    """What a network says of pictures, a few at a time."""
    return torch.cat([network(part) for part in image.split(BATCH)])


def found(folder: Path) -> list[Path]:
    """The pictures of a folder, in the order of their names.

    Raises:
        SpecError: If there are fewer than two.
    """
    paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in ENDINGS)
    if len(paths) < 2:
        raise SpecError(f"{folder}: holds {len(paths)} pictures; give a folder of at least two")
    return paths


def _name(term: spec.Term) -> str:
    model = "" if term.model is None else f" by {Path(term.model).name}"
    return term.name or f"held-out {term.energy}{model}"
