"""What is shown to an IP-Adapter, which a pipeline has only where one was put into it.

References:
    | IP-Adapter: Text Compatible Image Prompt Adapter for Text-to-Image Diffusion Models (Ye et al., 2023)
    | https://arxiv.org/abs/2308.06721
"""

import re
from collections.abc import Mapping
from typing import Any

from diffusers.models.embeddings import IPAdapterTimeImageProjection, MultiIPAdapterImageProjection

from latentzoo.errors import SpecError

SHOWN = re.compile(r"(negative_)?ip_adapter_image(_embeds)?")
"""The arguments that are shown to one."""
DENOISERS = ("unet", "transformer")
PLACES: Mapping[str, type[Any]] = {
    "encoder_hid_proj": MultiIPAdapterImageProjection,
    "image_proj": IPAdapterTimeImageProjection,
}
"""Where a denoiser has what reads a picture, and its class: the second is that of Stable Diffusion 3."""
NEEDY = "ip_image_proj"
"""What a U-Net reads beside the text once it has an IP-Adapter; a transformer does without."""


def judge(pipe: Any, given: Mapping[str, Any]) -> None:
    """Looks whether what is shown is seen, and whether an IP-Adapter is shown something.

    Raises:
        SpecError: If not.
    """
    kind, shown = type(pipe).__name__, [n for n in given if SHOWN.fullmatch(n)]
    shown = [n for n in shown if given[n] is not None]
    nets = [getattr(pipe, name, None) for name in DENOISERS]
    if shown and not any(map(has, nets)):
        raise SpecError(
            f"{shown[0]} is seen by no IP-Adapter, as {kind} has none; put one into the pipeline by its "
            "load_ip_adapter, and hand the pipeline over"
        )
    if not shown and any(map(needs, nets)):
        raise SpecError(
            f"{kind} has an IP-Adapter, which is shown no picture; give ip_adapter_image=..., or take it out by the "
            "pipeline's unload_ip_adapter"
        )


def has(network: Any) -> bool:
    """Whether a denoiser has an IP-Adapter."""
    return any(isinstance(getattr(network, name, None), kind) for name, kind in PLACES.items())


def needs(network: Any) -> bool:
    """Whether a denoiser fails without a picture."""
    return has(network) and getattr(network.config, "encoder_hid_dim_type", None) == NEEDY
