r"""Qwen's vision-language models, 2, 2.5 and 3, as differentiable functions of a picture.

.. math:: h = L\big(T(c_1),\; V(x),\; T(c_2)\big)

A picture becomes patches whose number depends on its size; the text says by one mark where they stand. Pictures and
text go in by the model's own template, as tensors: nothing is rounded to bytes.

References:
    | Qwen2-VL: Enhancing Vision-Language Model's Perception of the World at Any Resolution (Wang et al., 2024)
    | https://arxiv.org/abs/2409.12191
    | Qwen3-VL Technical Report (Bai et al., 2025), https://arxiv.org/abs/2511.21631
"""

import inspect
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from latentzoo.errors import CheckpointError, SpecError
from latentzoo.guides import declared, pretrained
from latentzoo.guides.compared import GAP, probe, tensor
from latentzoo.guides.preprocess import Normalise, Resize, Sides, in_type_of
from latentzoo.guides.words import require_plain

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")


@dataclass(frozen=True)
class Patches:
    """Creates the way of pictures into a model: resized to whole tokens, normalised, cut.

    Arguments:
        patch: The side of a patch in pixels.
        merge: How many patches in a row become one token.
        repeat: How many frames a patch is deep; a picture is a film that stands still.
        least: The fewest pixels of a picture, in all.
        most: The most.
        mode: How pixels are interpolated.
        normalise: The step (x - mean) / std.
    """

    patch: int
    merge: int
    repeat: int
    least: int
    most: int
    mode: Any
    normalise: Normalise

    def sides(self, height: int, width: int) -> Sides:
        """The size to which pictures are brought: multiples of a token's side, about as many pixels as are allowed.

        Raises:
            SpecError: If a picture is more than 200 times as long as it is wide.
        """
        if max(height, width) > 200 * min(height, width):
            raise SpecError(f"pictures of {height}x{width} are too narrow for this model")
        unit = self.patch * self.merge
        size = [unit * round(n / unit) for n in (height, width)]
        if math.prod(size) > self.most:
            shrink = math.sqrt(height * width / self.most)
            size = [max(unit, unit * math.floor(n / shrink / unit)) for n in (height, width)]
        elif math.prod(size) < self.least:
            grow = math.sqrt(self.least / (height * width))
            size = [unit * math.ceil(n * grow / unit) for n in (height, width)]
        return size[0], size[1]

    def __call__(self, image: Float[Tensor, "B 3 H W"]) -> tuple[Float[Tensor, "N D"], Tensor]:
        """The patches of all pictures, one after the other, and each picture's grid of them, `(B, 3)`."""
        size = self.sides(*image.shape[2:])
        x = self.normalise(Resize(size, self.mode)(image))
        p, m = self.patch, self.merge
        b, rows, columns = len(x), size[0] // (p * m), size[1] // (p * m)
        x = x.reshape(b, 3, rows, m, p, columns, m, p).permute(0, 2, 5, 3, 6, 1, 4, 7)
        x = x[..., None, :, :].expand(*x.shape[:6], self.repeat, p, p)
        grid = torch.tensor([[1, size[0] // p, size[1] // p]], device=image.device)
        return x.reshape(b * rows * columns * m * m, -1), grid.expand(b, 3)


class VisionLanguage(nn.Module):
    """Creates a model that looks at one picture at a time.

    Arguments:
        network: The `...ForConditionalGeneration` of `transformers`.
        tokenizer: Its tokenizer, with its chat template.
        patches: Its way of pictures.
    """

    def __init__(self, network: Any, tokenizer: Any, patches: Patches) -> None:
        super().__init__()
        self.network, self.tokenizer, self.patches = network, tokenizer, patches
        self.mark = int(network.config.image_token_id)
        self.kinds = "mm_token_type_ids" in inspect.signature(network.model.forward).parameters

    def tokens(self, text: str, *, own: Iterable[str] = ()) -> Int64[Tensor, "L"]:
        """The token numbers of a user's message: the picture, one mark, then the text; the answer comes next.

        Arguments:
            text: The text.
            own: Marks of the tokenizer's own that stand in it on purpose.

        Raises:
            CheckpointError: If the tokenizer has no template for it.
            SpecError: If another is in the text.
        """
        require_plain(self.tokenizer, text, own=own)
        content = [{"type": "image"}, {"type": "text", "text": text}]
        try:
            written = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # a template is a program of its author
            raise CheckpointError(
                f"the tokenizer has no template for a picture and a text ({' '.join(str(error).split())[:100]})"
            ) from error
        numbers = self.tokenizer(written, return_tensors="pt")["input_ids"][0]
        if int((numbers == self.mark).sum()) != 1:
            raise CheckpointError(
                "the template of the tokenizer has no single place for a picture; take the model's own tokenizer"
            )
        return numbers

    def forward(
        self, image: Float[Tensor, "B 3 H W"], tokens: Int64[Tensor, "L"]
    ) -> tuple[Float[Tensor, "B M F"], Int64[Tensor, "M"]]:
        """The last states at each token of the message, and its tokens, with the picture's marks in their number."""
        pixels, grid = self.patches(in_type_of(image, self.network))
        count = math.prod(grid[0].tolist()) // self.patches.merge**2
        repeats = torch.where(tokens == self.mark, count, 1)
        whole = tokens.repeat_interleave(repeats).to(image.device)
        ids = whole.expand(len(image), -1)
        more = {"mm_token_type_ids": (ids == self.mark).int()} if self.kinds else {}
        found = self.network.model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values=pixels,
            image_grid_thw=grid,
            use_cache=False,
            **more,
        )
        return found.last_hidden_state, whole


def load(source: str, *, network: Any = None, pixels: int | None = None) -> VisionLanguage:
    """Loads a model.

    Arguments:
        source: The repository, or a folder in its layout.
        network: The network, where it is not the repository's own.
        pixels: How many pixels a picture has, where it is not the processor's rule.

    Raises:
        CheckpointError: If it is of another family, cannot be had, or makes pictures ready in another way.
    """
    network = (
        pretrained.load("AutoModelForImageTextToText", source) if network is None else network
    )
    if network.config.model_type not in FAMILIES:
        raise CheckpointError(
            f"'{source}' is a {network.config.model_type}; known are {', '.join(FAMILIES)}"
        )
    processor = pretrained.load("AutoImageProcessor", source)
    patches = of(processor, source=source)
    if pixels is not None:
        patches = Patches(**{**vars(patches), "least": pixels, "most": pixels})
    return VisionLanguage(network, pretrained.load("AutoTokenizer", source), patches)


def of(processor: Any, *, source: str) -> Patches:
    """The way that an image processor of this family says of itself, compared with it on two pictures.

    Raises:
        CheckpointError: If they differ.
    """
    try:
        size = processor.size
        patches = Patches(
            patch=processor.patch_size,
            merge=processor.merge_size,
            repeat=processor.temporal_patch_size,
            least=size["shortest_edge"],
            most=size["longest_edge"],
            mode=declared.mode(processor),
            normalise=Normalise(tuple(processor.image_mean), tuple(processor.image_std)),
        )
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the pictures of '{source}' are made ready in a way that is not known here: {error}"
        ) from error
    unit = patches.patch * patches.merge
    for picture in (probe(2 * unit + 5, 3 * unit - 3), probe(7 * unit + 1, 4 * unit)):
        made = processor(picture, return_tensors="pt")
        seen, grid = patches(tensor(picture))
        same = (
            torch.equal(made["image_grid_thw"], grid) and seen.shape == made["pixel_values"].shape
        )
        gap = (
            min(patches.normalise.std) * float((seen - made["pixel_values"]).abs().max())
            if same
            else 1
        )
        if not gap <= GAP:
            raise CheckpointError(
                f"the pictures of '{source}' differ by {gap:.3f} of [0, 1] from what it says; take another model"
            )
    return patches
