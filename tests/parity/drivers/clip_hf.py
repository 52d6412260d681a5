"""Driver of the cards of CLIP in `transformers`: its network in our energy."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel

from latentzoo.guides.preprocess import centred
from latentzoo.guides.text_image import OPENAI, Transformers, features
from latentzoo.hub.keys import Rule

sys.path.insert(0, str(Path(__file__).parent))
import clip_openai


def build(config: dict[str, Any]) -> nn.Module:
    return CLIPModel(CLIPConfig(**config["clip_config"]))


def rules(network: nn.Module, config: dict[str, Any]) -> list[Rule]:
    return [Rule("{tower}_model.embeddings.position_ids", None), Rule("{name*}", "{name}")]


def manifest(config: dict[str, Any]) -> tuple[nn.Module, list[Rule]]:
    return build(config if "clip_config" in config else {"clip_config": config}), rules(
        nn.Module(), config
    )


class Given(clip_openai.Given):
    """A text-image model whose text is given as token numbers."""

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        return features(self.model.network.get_text_features(input_ids=self.tokens))


def call(
    network: nn.Module,
    name: str,
    inputs: dict[str, Tensor],
    options: dict[str, Any],
    config: dict[str, Any],
) -> dict[str, Tensor]:
    encode = lambda tokens: features(network.get_text_features(input_ids=tokens))
    return clip_openai.run(
        Transformers(network, None, centred(network.config.vision_config.image_size, *OPENAI)),
        encode,
        name,
        inputs,
        options,
        Given,
    )
