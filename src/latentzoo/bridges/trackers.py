"""The numbers of every step to a tracker of experiments. A tracker is one function, `log(numbers, step)`.

    with tracker("wandb:faces") as log:
        lz.sample(target, log=log)

References:
    | Trackio: https://github.com/gradio-app/trackio
    | Weights & Biases: https://github.com/wandb/wandb
    | TensorBoard: https://github.com/tensorflow/tensorboard
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from latentzoo.errors import MissingExtra, SpecError, UnknownName
from latentzoo.run.progress import Log

Opened = AbstractContextManager[Log]


@contextmanager
def tracker(words: str, *, config: Mapping[str, Any] | None = None) -> Iterator[Log]:
    """Opens a tracker, and closes it when the run is over or has failed.

    Arguments:
        words: `trackio:PROJECT`, `wandb:PROJECT` or `tensorboard:FOLDER`. Where a tracker keeps its
            files, and whether it talks to a server, is the tracker's own setting.
        config: What the run is, which the tracker keeps beside the numbers; the record, say.

    Yields:
        The function `log(numbers, step)`.

    Raises:
        UnknownName: If there is no such tracker.
        SpecError: If no project or folder is named.
        MissingExtra: If its package is not installed.
    """
    kind, _, place = words.partition(":")
    if kind not in TRACKERS:
        raise UnknownName("tracker", kind, TRACKERS)
    if not place.strip():
        raise SpecError(
            f"the tracker '{kind}' needs a place; write {kind}:NAME, a project (a folder for tensorboard)"
        )
    with TRACKERS[kind](place.strip(), dict(config or {})) as log:
        yield log


@contextmanager
def _trackio(project: str, config: dict[str, Any]) -> Iterator[Log]:
    try:
        import trackio
    except ImportError:
        raise _missing("trackio") from None
    trackio.init(project=project, config=config)
    try:
        yield lambda numbers, step: trackio.log(dict(numbers), step=step)
    finally:
        trackio.finish()


@contextmanager
def _wandb(project: str, config: dict[str, Any]) -> Iterator[Log]:
    try:
        import wandb
    except ImportError:
        raise _missing("wandb") from None
    with wandb.init(project=project, config=config) as run:
        yield lambda numbers, step: run.log(dict(numbers), step=step)


@contextmanager
def _tensorboard(folder: str, config: dict[str, Any]) -> Iterator[Log]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise _missing("tensorboard") from None
    with SummaryWriter(folder) as writer:
        writer.add_text("record", "\n".join(f"    {key}: {config[key]}" for key in config))

        def log(numbers: Mapping[str, float], step: int) -> None:
            for name, value in numbers.items():
                writer.add_scalar(name, value, step)

        yield log


def _missing(package: str) -> MissingExtra:
    return MissingExtra(package, package, f"the tracker '{package}'")


TRACKERS: dict[str, Callable[[str, dict[str, Any]], Opened]] = {
    "tensorboard": _tensorboard,
    "trackio": _trackio,
    "wandb": _wandb,
}
