"""What a file is that holds no whole generator: a part of one, or a network beside it, by the names of its tensors."""

import re
from collections.abc import Mapping
from typing import Any

from latentzoo.hub.checkpoint import Checkpoint

PIPELINE = "give the folder of its pipeline, which has model_index.json"
WHOLE = "give the whole checkpoint"
CODES = f"does not say how codes are drawn; {WHOLE}"
BEGINNINGS = {
    frozenset({"decoder"}): f"the decoder of an autoencoder alone, which {CODES}",
    frozenset(
        {"encoder"}
    ): f"the encoder of an autoencoder alone, which makes no pictures; {WHOLE}",
    frozenset({"encoder", "decoder"}): f"an autoencoder alone, which {CODES}",
    frozenset({"mapping"}): f"the mapping of a generator alone, which makes no pictures; {WHOLE}",
}
"""What all names of the tensors begin with, and what such a file is."""
CONVOLUTIONS = {"quant_conv", "post_quant_conv", "quantize"}
"""What stands between an encoder and a decoder."""
NAMES = {
    r"lora_(down|up|A|B)\.": "a LoRA; load its pipeline with the option lora=FILE",
    r"(^|\.)controlnet_(cond_embedding|down_blocks)\.": f"a ControlNet; {PIPELINE}",
    r"\.attn2\.to_k\.weight$": f"a U-Net that reads texts, without what reads them; {PIPELINE}",
    r"^(text_model\.|token_embedding\.|embeddings\.token_embedding)": f"a text encoder; {PIPELINE}",
    r"^string_to_param\.|^emb_params$": f"an embedding of a new word for a pipeline's text encoder; {PIPELINE}",
    r"(^|\.)final_linear\.": f"a discriminator, which makes no pictures; {WHOLE}",
    r"^synthesis\.b4\.|^conv1\.conv\.modulation\.": f"a synthesis network without its mapping; {WHOLE}",
    r"^up\.\d+\.block\.": f"the decoder of an autoencoder alone, which {CODES}",
}
"""What a name of a tensor is like, and what a file with such a one is, the first that is met."""


def told(checkpoint: Checkpoint) -> str:
    """What a file is that is of no family, and what to give instead; empty if that is not known."""
    if network := _network(checkpoint.records):
        return network
    begun = frozenset(name.partition(".")[0] for name in checkpoint.tensors) - CONVOLUTIONS
    if begun in BEGINNINGS:
        return BEGINNINGS[begun]
    return next((said for name, said in NAMES.items() if _any(name, checkpoint)), "")


def _network(records: Mapping[str, Any]) -> str:
    """What the configuration beside a single network of diffusers or transformers says of it."""
    config = records.get("config")
    config = config if isinstance(config, Mapping) else {}
    if isinstance(kind := config.get("_class_name"), str):
        return f"one of the networks of a pipeline ({kind}); {PIPELINE}"
    if isinstance(kinds := config.get("architectures"), list) and kinds:
        return f"a network of transformers ({kinds[0]}), which makes no pictures; give a generator"
    return ""


def _any(pattern: str, checkpoint: Checkpoint) -> bool:
    return any(re.search(pattern, name) for name in checkpoint.tensors)
