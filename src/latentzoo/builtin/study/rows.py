"""The rows of a population study: one generator asked one thing, or nothing."""

from dataclasses import dataclass
from pathlib import Path

from latentzoo.builtin.study.findings import Finding


@dataclass(frozen=True, kw_only=True)
class Row:
    """One generator asked one thing: the run, its cost and what the judge found in it.

    Attributes:
        asked: The text, or the name of the person.
        generator: The generator.
        energy: The mean energy of the states that are shown.
        gradients: The gradients of each chain.
        seconds: How long all chains took together.
        finding: What the judge found.
        path: The run's folder.
        failed: How many chains failed; they are not judged.
        person: The picture of the person; None for a text.
    """

    asked: str
    generator: str
    energy: float
    gradients: float
    seconds: float
    finding: Finding
    path: Path
    failed: int = 0
    person: Path | None = None


@dataclass(frozen=True)
class Prior:
    """One generator asked nothing.

    Attributes:
        generator: The generator.
        variations: For each attribute, how far its frequencies are from the truth, in total variation.
        path: The run's folder.
    """

    generator: str
    variations: dict[str, float]
    path: Path
