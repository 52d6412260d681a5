r"""Models of what people prefer, seen as one: `(images, prompt) -> (B,)`, larger is better.

yuvalkirstain/PickScore_v1        any CLIP of `transformers`:  e^s cos(I(x), T(c)), s its learned scale
hpsv2:HPS_v2.1_compressed.pt      a CLIP with OpenAI's tensor names and exact GELU:  cos(I(x), T(c))
aesthetic:HEAD.pth                LAION's predictors: an affine map of the unit embedding of a picture; no prompt
imagereward:ImageReward.pt        BLIP: the prompt reads the picture, an affine map of its first token
mps:MPS_overall_checkpoint.pth    a CLIP whose picture looks at the words of preference, see `mps`
hpsv3:HPSv3.safetensors           a Qwen2-VL with a head, see `hpsv3`
vqa:Qwen/Qwen3-VL-8B-Instruct     the probability of answers to questions, see `questions`

Heads of several linear layers with nothing between them are one affine map.

References:
    | Pick-a-Pic: An Open Dataset of User Preferences for Text-to-Image Generation (Kirstain et al., 2023)
    | https://arxiv.org/abs/2305.01569
    | Human Preference Score v2: A Solid Benchmark for Evaluating Human Preferences of Text-to-Image Synthesis
    | (Wu et al., 2023), https://arxiv.org/abs/2306.09341
    | LAION-5B: An open large-scale dataset for training next generation image-text models
    | (Schuhmann et al., 2022), https://arxiv.org/abs/2210.08402
    | ImageReward: Learning and Evaluating Human Preferences for Text-to-Image Generation (Xu et al., 2023)
    | https://arxiv.org/abs/2304.05977
"""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.errors import CheckpointError, SpecError, UnknownName
from latentzoo.guides import hpsv3, mps, networks, pretrained, questions, text_image
from latentzoo.guides.preprocess import at_least_single, centred, in_type_of
from latentzoo.guides.roles import RewardModel
from latentzoo.guides.text_image import OPENAI, TextImage
from latentzoo.guides.words import require_plain
from latentzoo.hub.fit import KEEP, fit
from latentzoo.hub.keys import Rule
from latentzoo.hub.read import read
from latentzoo.registry import written

PICKSCORE = "yuvalkirstain/PickScore_v1"
EMBEDDING = "openai/clip-vit-large-patch14"
WORDS = "bert-base-uncased"


class Preference(RewardModel):
    """Creates a reward that is a scaled cosine of picture and prompt.

    Arguments:
        model: The text-image model, fine-tuned on what people chose.
        scale: The cosine's factor.
    """

    def __init__(self, model: TextImage, scale: float = 1.0) -> None:
        super().__init__()
        self.model, self.scale = model, scale

    @torch.no_grad()
    def understand(self, prompt: str) -> Tensor:
        return F.normalize(at_least_single(self.model.encode_text([prompt])), dim=1)[0]

    def rate(self, image: Float[Tensor, "B 3 H W"], understood: Tensor) -> Float[Tensor, "B"]:
        seen = self.model.embed(image)
        return self.scale * (seen @ understood.to(seen))


class Aesthetic(RewardModel):
    """Creates the reward of beauty, whatever the prompt.

    Arguments:
        model: The text-image model whose embeddings are rated.
        head: The affine map from an embedding to a number.
    """

    def __init__(self, model: TextImage, head: nn.Linear) -> None:
        super().__init__()
        self.model, self.head = model, head

    def understand(self, prompt: str) -> Tensor:
        return torch.empty(0)

    def rate(self, image: Float[Tensor, "B 3 H W"], understood: Tensor) -> Float[Tensor, "B"]:
        return self.head(self.model.embed(image))[:, 0]


class ImageReward(RewardModel):
    """Creates the reward of a BLIP whose text encoder attends to the picture.

    Arguments:
        vision, text: `BlipVisionModel` and `BlipTextModel` of `transformers`.
        head: The affine map of the first token's state.
        side: The picture's side in pixels.
        tokenizer: BERT's.
    """

    LENGTH = 35
    MEAN, STD = 0.16717362830052426, 1.0333394966054072

    def __init__(
        self, vision: nn.Module, text: nn.Module, head: nn.Linear, side: int, tokenizer: Any
    ) -> None:
        super().__init__()
        self.vision, self.text, self.head, self.tokenizer = vision, text, head, tokenizer
        self.preprocess = centred(side, *OPENAI, bytes=True)

    def understand(self, prompt: str) -> Tensor:
        require_plain(self.tokenizer, prompt)
        settings = {"padding": "max_length", "truncation": True, "max_length": self.LENGTH}
        tokens = self.tokenizer([prompt], return_tensors="pt", **settings)
        return torch.stack([tokens["input_ids"][0], tokens["attention_mask"][0]])

    def rate(self, image: Float[Tensor, "B 3 H W"], understood: Tensor) -> Float[Tensor, "B"]:
        seen = self.vision(
            pixel_values=self.preprocess(in_type_of(image, self.vision))
        ).last_hidden_state
        words, mask = understood.to(image.device)[:, None].expand(2, len(image), -1)
        state = self.text(
            input_ids=words,
            attention_mask=mask,
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones_like(seen[..., 0], dtype=torch.long),
        ).last_hidden_state[:, 0]
        return (self.head(state)[:, 0] - self.MEAN) / self.STD


def load(name: str, **options: str | None) -> RewardModel:
    """Loads a reward model by name; see the top of this file for the grammar.

    Arguments:
        name: The name.
        options: texts, the repository or folder of the tokenizer, where it is not the official one; model, the
            text-image model whose embeddings an aesthetic head rates; template, the file of HPSv3's instruction;
            combine, how answers are.

    Raises:
        CheckpointError: If a file or repository is another model's.
        UnknownName: If there is no such kind of reward.
        SpecError: If an option is not one of that kind.
    """
    given = {key: value for key, value in options.items() if value is not None}
    kind, colon, path = name.partition(":")
    if not colon or (kind not in KINDS and written(name) is not None):
        found = networks.load(name, "reward", RewardModel, **given)
        return _made(preference, name, given) if found is None else found
    if kind not in KINDS:
        raise UnknownName("kind of reward", kind, KINDS)
    return _made(KINDS[kind], path, given).eval().requires_grad_(False)


def _made(build: Callable[..., RewardModel], source: str, given: Mapping[str, str]) -> RewardModel:
    known = signature(build).parameters
    if others := sorted(given.keys() - known.keys()):
        shown = {"model": "clip"}.get(others[0], others[0])
        raise SpecError(f"the reward '{source}' has no option {shown}; leave it out")
    return build(source, **given)


def preference(repository: str, *, texts: str | None = None) -> Preference:
    """Loads a CLIP of `transformers` that was fine-tuned on what people chose, with its learned scale.

    Arguments:
        repository: The repository or folder of the network.
        texts: That of its tokenizer and processor, where they are elsewhere.

    Raises:
        CheckpointError: If it cannot be had.
    """
    clip = text_image.from_transformers(repository, texts)
    return Preference(clip, float(clip.network.logit_scale.exp()))


def _hpsv2(path: str, *, texts: str | None = None) -> RewardModel:
    tokenizer = None if texts is None else pretrained.load("AutoTokenizer", texts)
    return Preference(text_image.openai(path, tokenizer, exact=True, bytes=True))


def _aesthetic(path: str, *, model: str | None = None) -> RewardModel:
    tensors = read(path).tensors
    prefix = "" if "weight" in tensors else "layers."
    return Aesthetic(text_image.load(model or EMBEDDING), affine(tensors, prefix, source=path))


def affine(tensors: Mapping[str, Tensor], prefix: str, *, source: str) -> nn.Linear:
    """The one affine map that a file's linear layers are, one after the other.

    Arguments:
        tensors: The file's tensors, "PREFIX{number}.weight" and ".bias", or "weight" and "bias" of a single layer.
        prefix: What stands before the numbers; empty for a single layer.
        source: What to call the file in errors.

    Raises:
        CheckpointError: If they do not follow on each other, or end in more than one number.
    """
    numbers = {k.removeprefix(prefix).split(".")[0] for k in tensors if k.startswith(prefix)}
    names = [f"{prefix}{n}." for n in sorted(numbers, key=int)] if prefix else [""]
    try:
        layers = [(tensors[f"{n}weight"].double(), tensors[f"{n}bias"].double()) for n in names]
        weight, bias = layers[0]
        for w, b in layers[1:]:
            weight, bias = w @ weight, w @ bias + b
        head = nn.Linear(weight.shape[1], 1)
        head.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    except (LookupError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"{source}: its layers '{prefix}N' are not linear maps to one number; is it another network's file?"
        ) from error
    return head


def _image_reward(path: str, *, texts: str | None = None) -> RewardModel:
    library = pretrained.package("transformers", "clip", "ImageReward")
    tensors = read(path).tensors
    blip = {k: v for k, v in tensors.items() if k.startswith("blip.")}
    try:
        seeing, reading, side = blip_configs(blip)
    except (KeyError, IndexError) as error:
        raise CheckpointError(f"{path}: not ImageReward ({error} is missing)") from error
    vision = library.BlipVisionModel(library.BlipVisionConfig(**seeing))
    text = library.BlipTextModel(library.BlipTextConfig(**reading), add_pooling_layer=False)
    pair = fit(nn.ModuleDict({"vision": vision, "text": text}), blip, [*BLIP, KEEP], source=path)
    tokenizer = pretrained.load("AutoTokenizer", texts or WORDS)
    head = affine(tensors, "mlp.layers.", source=path)
    return ImageReward(pair["vision"], pair["text"], head, side, tokenizer)


def blip_configs(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Any], int]:
    """The sizes of the two encoders, read off the tensors, and the picture's side; heads are 64 wide."""
    size = {name.removeprefix("blip."): tuple(value.shape) for name, value in tensors.items()}
    count = lambda prefix, part: len({k.split(".")[part] for k in size if k.startswith(prefix)})
    width, _, patch, _ = size["visual_encoder.patch_embed.proj.weight"]
    side = round((size["visual_encoder.pos_embed"][1] - 1) ** 0.5) * patch
    words, hidden = size["text_encoder.embeddings.word_embeddings.weight"]
    first = "text_encoder.encoder.layer.0."
    seeing = {
        "hidden_size": width,
        "intermediate_size": size["visual_encoder.blocks.0.mlp.fc1.weight"][0],
        "num_hidden_layers": count("visual_encoder.blocks.", 2),
        "num_attention_heads": max(1, width // 64),
        "image_size": side,
        "patch_size": patch,
        "layer_norm_eps": 1e-6,
    }
    reading = {
        "vocab_size": words,
        "hidden_size": hidden,
        "encoder_hidden_size": size[f"{first}crossattention.self.key.weight"][1],
        "intermediate_size": size[f"{first}intermediate.dense.weight"][0],
        "num_hidden_layers": count("text_encoder.encoder.layer.", 3),
        "num_attention_heads": max(1, hidden // 64),
        "max_position_embeddings": size["text_encoder.embeddings.position_embeddings.weight"][0],
    }
    return seeing, reading, side


LAYER = "vision.encoder.layers.{i}."
BLIP = [
    Rule("blip.visual_encoder.cls_token", "vision.embeddings.class_embedding"),
    Rule("blip.visual_encoder.pos_embed", "vision.embeddings.position_embedding"),
    Rule("blip.visual_encoder.patch_embed.proj.{x}", "vision.embeddings.patch_embedding.{x}"),
    Rule("blip.visual_encoder.blocks.{i}.norm{n}.{x}", LAYER + "layer_norm{n}.{x}"),
    Rule("blip.visual_encoder.blocks.{i}.attn.qkv.{x}", LAYER + "self_attn.qkv.{x}"),
    Rule("blip.visual_encoder.blocks.{i}.attn.proj.{x}", LAYER + "self_attn.projection.{x}"),
    Rule("blip.visual_encoder.blocks.{i}.mlp.{x*}", LAYER + "mlp.{x}"),
    Rule("blip.visual_encoder.norm.{x}", "vision.post_layernorm.{x}"),
    Rule("blip.text_encoder.embeddings.position_ids", None),
    Rule("blip.text_encoder.{x*}", "text.{x}"),
    Rule("blip.{x*}", None),
]
KINDS: dict[str, Callable[..., RewardModel]] = {
    "hpsv2": _hpsv2,
    "aesthetic": _aesthetic,
    "imagereward": _image_reward,
    "mps": mps.build,
    "hpsv3": hpsv3.build,
    "vqa": questions.build,
}
