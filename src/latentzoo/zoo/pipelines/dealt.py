"""Pictures of which each chain has its own: a list with one for each prompt, as the prompts are.

Some pipelines make one picture of a list of pictures. Their lists are shared by all chains, and a list of lists is
dealt.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from latentzoo.errors import SpecError
from latentzoo.zoo.pipelines.pictures import is_picture

IMAGE = {"image"}
SEVERAL: Mapping[str, set[str]] = {
    **dict.fromkeys(("Flux2Pipeline", "Flux2KleinPipeline", "Flux2KleinKVPipeline"), IMAGE),
    **dict.fromkeys(("BriaFibo2Pipeline", "BriaFiboEditPipeline", "GlmImagePipeline"), IMAGE),
    **dict.fromkeys(("QwenImageEditPlusPipeline", "QwenImage21Pipeline"), IMAGE),
    **dict.fromkeys(("ZImageOmniPipeline",), IMAGE),
    "Flux2KleinInpaintPipeline": {"image_reference"},
    "StableDiffusionXLControlNetUnionPipeline": {"control_image"},
    "StableDiffusionXLControlNetUnionImg2ImgPipeline": {"control_image"},
    "StableDiffusionXLControlNetUnionInpaintPipeline": {"control_image"},
}
"""The arguments of pipelines that are lists of pictures for one picture, by class."""
TABLES = {"VisualClozePipeline", "VisualClozeGenerationPipeline"}
"""Pipelines that make one picture of a list of lists."""
LISTS = {"images", "input_images", "gligen_images", "text_images", "ip_adapter_image"}
"""Arguments that are such lists in every pipeline."""
CONTROLS = ("controlnet", "adapter")
"""Parts of which there may be several, with a picture for each."""


def deal(
    pipe: Any, call: Mapping[str, Any], n: int | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What all chains have of a call, and what each has of its own.

    Arguments:
        pipe: The pipeline.
        call: The arguments that the user gives.
        n: How many prompts there are; None where the pipeline reads none, and its pictures say how many there are.

    Returns:
        The shared arguments, and a table for each prompt; one empty table where all is shared.

    Raises:
        SpecError: If there are not as many pictures as prompts.
    """
    found = {name: _own(pipe, name, x) for name, x in call.items() if is_picture(name)}
    lists = {name: own for name, own in found.items() if own is not None}
    if not lists or n == 1:  # a list for one prompt is the pipeline's own affair
        return dict(call), [{}]
    count = n or len(next(iter(lists.values())))
    for name, own in lists.items():
        if len(own) != count:
            what = f"{count} prompts" if n else f"{count} of another kind"
            raise SpecError(
                f"{name} has {len(own)} pictures, and there are {what}; give one for each, or one for all"
            )
    shared = {name: x for name, x in call.items() if name not in lists}
    return shared, [{name: own[i] for name, own in lists.items()} for i in range(count)]


def places(own: list[dict[str, Any]]) -> list[int]:
    """Of each chain, the first one that has the same pictures."""
    same = lambda a, b: all(a[k] is b[k] or (isinstance(a[k], str) and a[k] == b[k]) for k in a)
    return [next(i for i, other in enumerate(own) if same(one, other)) for one in own]


def _own(pipe: Any, name: str, x: Any) -> list[Any] | None:
    """The pictures of an argument, one for each chain; None where all share it."""
    if type(pipe).__name__ in TABLES:
        return None
    batch = isinstance(x, Tensor | np.ndarray) and x.ndim == 4
    if not (batch or isinstance(x, list | tuple)) or len(x) < 2:
        return None
    if _several(pipe, name) and not all(isinstance(one, list | tuple) for one in x):
        return None
    return [one[None] for one in x] if batch else list(x)


def _several(pipe: Any, name: str) -> bool:
    """Whether an argument of a pipeline is a list for one picture."""
    if name in LISTS or name in SEVERAL.get(type(pipe).__name__, ()):
        return True
    many = any(type(getattr(pipe, part, None)).__name__.startswith("Multi") for part in CONTROLS)
    own = "control_image" if "Img2Img" in type(pipe).__name__ else "image"
    return many and name in ("control_image", own)
