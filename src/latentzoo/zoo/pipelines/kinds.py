"""Which classes of pipelines are maps to pictures, by what their call takes: told before any weights are read."""

import inspect
from typing import Any

from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from latentzoo.errors import SpecError

IN_TIME = {"frames", "video", "videos", "audio"}
"""Words in the names of arguments of pipelines whose result is a sequence in time."""


def judge(kind: type[Any]) -> None:
    """Looks a class over.

    Raises:
        SpecError: If it is no pipeline of networks, or makes videos or sound.
    """
    # What stands for a class whose package is missing says so when it is made.
    if hasattr(kind, "_backends"):
        return
    calls = any("__call__" in vars(base) for base in kind.__mro__)
    if not issubclass(kind, DiffusionPipeline) or not calls:
        raise SpecError(
            f"{kind.__name__} is no pipeline whose call is a map; give a DiffusionPipeline of diffusers, or its folder"
        )
    taken = inspect.signature(kind.__call__).parameters
    if known := next((name for name in taken if IN_TIME & {*name.split("_")}), None):
        raise SpecError(
            f"{kind.__name__} makes videos or sound, as its call takes {known}, and a map makes pictures; take a "
            "pipeline of pictures"
        )
