"""Which classes of pipelines are maps to pictures, by what their call takes: told before any weights are read."""

import inspect
from collections.abc import Mapping
from typing import Any

from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from latentzoo.errors import SpecError

IN_TIME = {"frames", "video", "videos", "audio"}
"""Words in the names of arguments of pipelines whose result is a sequence in time."""

TOKENS = "pictures of tokens that it draws from a list, which no part of a Gaussian is"
EMBEDDINGS = "what a decoder makes pictures of"
SHAPES = "shapes, seen along rays that it draws evenly"
MADE: Mapping[str, str] = {
    **dict.fromkeys(("AmusedPipeline", "AmusedImg2ImgPipeline", "AmusedInpaintPipeline"), TOKENS),
    "VQDiffusionPipeline": TOKENS,
    **dict.fromkeys(("KandinskyPriorPipeline", "KandinskyV22PriorPipeline"), EMBEDDINGS),
    **dict.fromkeys(("KandinskyV22PriorEmb2EmbPipeline", "FluxPriorReduxPipeline"), EMBEDDINGS),
    **dict.fromkeys(("StableCascadePriorPipeline", "WuerstchenPriorPipeline"), EMBEDDINGS),
    **dict.fromkeys(("ShapEPipeline", "ShapEImg2ImgPipeline"), SHAPES),
    "MarigoldDepthPipeline": "depths",
    "MarigoldNormalsPipeline": "directions of surfaces",
    "MarigoldIntrinsicsPipeline": "layers of materials and light",
    **dict.fromkeys(("LLaDA2Pipeline", "DiffusionGemmaPipeline"), "texts"),
    "RFD4ProteinaPipeline": "proteins",
    "StableAudio3Pipeline": "sound",
    "LTX2VideoDiffusionDecodePipeline": "videos",
    "ConsisIDPipeline": "videos",
    **dict.fromkeys(("AudioDiffusionPipeline", "SpectrogramDiffusionPipeline"), "sound"),
}
"""What the pipelines make that make no pictures of Gaussian draws, where their call's arguments do not tell."""

GUARDED = {"Cosmos2TextToImagePipeline"}
"""Pipelines that do nothing without the guard over pictures that their licence asks for, and no gradient passes."""


NUMPY = {
    *("OnnxStableDiffusionPipeline", "OnnxStableDiffusionImg2ImgPipeline"),
    *("OnnxStableDiffusionInpaintPipeline", "OnnxStableDiffusionUpscalePipeline"),
    "StableDiffusionOnnxPipeline",
}
"""Pipelines whose networks run in ONNX, on arrays."""


def judge(kind: type[Any]) -> None:
    """Looks a class over.

    Raises:
        SpecError: If it is no pipeline of networks, makes no pictures of Gaussian draws, guards them, or does not name
            its arguments.
    """
    name = kind.__name__
    if made := MADE.get(name):
        raise SpecError(
            f"{name} makes {made}, and a map makes pictures of a Gaussian latent; take a pipeline that does"
        )
    if name in NUMPY:
        raise SpecError(f"{name} runs in ONNX, which has no gradient; take the pipeline of torch")
    # What stands for a class whose package is missing says so when it is made.
    if hasattr(kind, "_backends"):
        return
    calls = any("__call__" in vars(base) for base in kind.__mro__)
    if not issubclass(kind, DiffusionPipeline) or not calls:
        raise SpecError(
            f"{name} is no pipeline whose call is a map; give a DiffusionPipeline of diffusers, or its folder"
        )
    if name in GUARDED:
        raise SpecError(
            f"{name} shows no picture that its guard has not seen, as its licence asks, and no gradient "
            "passes the guard; take another pipeline"
        )
    taken = inspect.signature(kind.__call__).parameters
    if any(p.kind is p.VAR_POSITIONAL for p in taken.values()):
        raise SpecError(
            f"{name} hides the arguments of its call behind *args; name them, or give a pipeline of its base"
        )
    if known := next((each for each in taken if IN_TIME & {*each.split("_")}), None):
        raise SpecError(
            f"{name} makes videos or sound, as its call takes {known}, and a map makes pictures; take a "
            "pipeline of pictures"
        )
