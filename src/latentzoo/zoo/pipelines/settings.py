"""The settings of a pipeline's components: readable, and named as their classes name them."""

import inspect
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from diffusers.configuration_utils import ConfigMixin

from latentzoo.errors import Assumption
from latentzoo.hub import folder as folders


def readable(folder: Path, names: Iterable[str]) -> None:
    """Looks whether the settings of every component are a table; the libraries would ask the network for others.

    Raises:
        CheckpointError: If some are none.
    """
    for name in names:
        for file in folders.SETTINGS:
            if (path := folder / name / file).is_file():
                folders.read_json(path)


def warn_of_unread(folder: Path, pipe: Any) -> None:
    """Warns of the settings that a component's class does not have, and so are without effect."""
    for name, part in pipe.components.items():
        if isinstance(part, ConfigMixin) and (odd := sorted(unread(part))):
            some = ", ".join(odd[:5]) + (", ..." if len(odd) > 5 else "")
            said = f"{folder / name}: {type(part).__name__} has no settings {some}; they are without effect"
            warnings.warn(said, Assumption, stacklevel=2)


def unread(part: Any) -> Iterator[str]:
    """The settings that neither a component's class has nor those that share its files, as schedulers do."""
    kinds = [type(part), *getattr(part, "compatibles", [])]
    known = {name for kind in kinds for name in inspect.signature(kind.__init__).parameters}
    return (name for name in part.config if not name.startswith("_") and name not in known)
