r"""MPS: a CLIP whose picture's tokens look at those words of the prompt that the aspects of preference speak of.

.. math:: r(x, c) = e^s \cos\big(X(I(x), T(c), m)_0,\; T(c)_{end}\big), \qquad
    m_j = \Big[\tfrac{\max_i \langle T(a)_i, T(c)_j \rangle}{\max_{ij} \langle T(a)_i, T(c)_j \rangle} > 0.3\Big]

`I` and `T` are the projected states of all tokens, `a` the words for the aspects, `X` four layers of attention from the
picture to the words that `m` keeps, each followed by attention among the picture's tokens; all heads share one key and
one value.

References:
    | Learning Multi-dimensional Human Preference for Text-to-Image Generation (Zhang et al., 2024)
    | https://arxiv.org/abs/2405.14705
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.errors import CheckpointError
from latentzoo.guides import pretrained, words
from latentzoo.guides.preprocess import centred, in_type_of
from latentzoo.guides.roles import RewardModel
from latentzoo.guides.text_image import OPENAI
from latentzoo.hub.fit import KEEP, fit
from latentzoo.hub.keys import Rule
from latentzoo.hub.read import read

CLIP_H = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
ASPECTS = (
    "light, color, clarity, tone, style, ambiance, artistry, shape, face, hair, hands, limbs, structure, instance, "
    "texture, quantity, attributes, position, number, location, word, things."
)
"""The words of all aspects, with which the weights were trained."""
KEPT = 0.3
HEAD = 64
"""The features of each head."""


class Gated(nn.Module):
    """Creates the gate `a silu(b)` of two halves."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(..., 2 F)` to `(..., F)`."""
        a, b = x.chunk(2, dim=-1)
        return a * F.silu(b)


def attend(q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None = None) -> Tensor:
    """Attention of all heads, `(B, N, heads * HEAD)`, to one key and value each, `(B, M, HEAD)`."""
    b, n, width = q.shape
    heads = q.view(b, n, width // HEAD, HEAD).transpose(1, 2)
    score = heads @ k[:, None].transpose(2, 3) * HEAD**-0.5
    if keep is not None:
        score = score.masked_fill(~keep, float("-inf"))
    return (score.softmax(-1) @ v[:, None]).transpose(1, 2).reshape(b, n, width)


def rotated(x: Tensor) -> Tensor:
    """Vectors `(B, N, H * HEAD)` turned by angles that grow with their place."""
    b, n, width = x.shape
    speed = 10000 ** -(torch.arange(0, HEAD, 2, device=x.device, dtype=x.dtype) / HEAD)
    angle = torch.arange(n, device=x.device, dtype=x.dtype)[:, None, None] * speed
    angle = torch.cat((angle, angle), -1)
    each = x.view(b, n, width // HEAD, HEAD)
    half = torch.cat((-each[..., HEAD // 2 :], each[..., : HEAD // 2]), -1)
    return (each * angle.cos() + half * angle.sin()).reshape(b, n, width)


class ToWords(nn.Module):
    """Creates the attention of a picture's tokens to words, beside a gated map of each token."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * HEAD, bias=False)
        self.to_out = nn.Linear(dim, dim, bias=False)
        self.ff = nn.Sequential(
            nn.Linear(dim, 8 * dim, bias=False), Gated(), nn.Linear(4 * dim, dim, bias=False)
        )

    def forward(self, x: Tensor, said: Tensor, keep: Tensor) -> Tensor:
        """Maps `(B, N, F)`, with the words `(B, M, F)` and which of them count `(M,)`, to the same shape."""
        h = self.norm(x)
        k, v = self.to_kv(said).chunk(2, dim=-1)
        return x + self.to_out(attend(self.to_q(h), k, v, keep)) + self.ff(h)


class Among(nn.Module):
    """Creates the attention among a picture's tokens, beside a gated map of each."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.sizes = (dim, HEAD, HEAD, 8 * dim)
        self.norm = nn.LayerNorm(dim)
        self.fused_attn_ff_proj = nn.Linear(dim, sum(self.sizes), bias=False)
        self.attn_out = nn.Linear(dim, dim, bias=False)
        self.ff_out = nn.Sequential(Gated(), nn.Linear(4 * dim, dim, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(B, N, F)` to the same shape."""
        q, k, v, wide = self.fused_attn_ff_proj(self.norm(x)).split(self.sizes, dim=-1)
        return x + self.attn_out(attend(rotated(q), rotated(k), v)) + self.ff_out(wide)


class Cross(nn.Module):
    """Creates the layers of attention, in turn to the words and among the tokens."""

    def __init__(self, dim: int, depth: int) -> None:
        super().__init__()
        pair = lambda: nn.ModuleList([ToWords(dim), Among(dim)])
        self.layers = nn.ModuleList(pair() for _ in range(depth))

    def forward(
        self, x: Float[Tensor, "B N F"], said: Float[Tensor, "B M F"], keep: Bool[Tensor, "M"]
    ) -> Float[Tensor, "B N F"]:
        """The picture's tokens after all layers."""
        for to_words, among in self.layers:  # pyright: ignore[reportGeneralTypeIssues]
            x = among(to_words(x, said, keep))
        return x


class MPS(RewardModel):
    """Creates the reward.

    Arguments:
        clip: A `CLIPModel` of `transformers`.
        cross: The layers of attention.
        tokenizer: Its tokenizer.
    """

    def __init__(self, clip: Any, cross: Cross, tokenizer: Any) -> None:
        super().__init__()
        self.clip, self.cross, self.tokenizer = clip, cross, tokenizer
        self.preprocess = centred(clip.config.vision_config.image_size, *OPENAI, bytes=True)

    def read(self, text: str) -> tuple[Float[Tensor, "M F"], Float[Tensor, "F"]]:
        """The projected states of a text's tokens, and that of its end."""
        length = self.clip.config.text_config.max_position_embeddings
        numbers = words.tokens(self.tokenizer, [text], length)["input_ids"]
        found = self.clip.text_model(input_ids=numbers.to(self.clip.device))
        project = self.clip.text_projection
        return project(found.last_hidden_state)[0], project(found.pooler_output)[0]

    @torch.no_grad()
    def understand(self, prompt: str) -> Float[Tensor, "N F"]:
        """The states of the prompt's tokens, then that of its end, then of each token whether it counts."""
        said, end = self.read(prompt)
        aspects, _ = self.read(ASPECTS)
        near = (aspects @ said.T).amax(0)
        keep = (near / near.max() > KEPT).to(said)
        return torch.cat([said, end[None], keep[:, None].expand(-1, said.shape[1])])

    def rate(self, image: Float[Tensor, "B 3 H W"], understood: Tensor) -> Float[Tensor, "B"]:
        pixels = self.preprocess(in_type_of(image, self.clip))
        states = self.clip.vision_model(pixel_values=pixels).last_hidden_state
        seen = self.clip.visual_projection(states)
        count = len(understood) // 2
        said, end = understood[:count].to(seen), understood[count].to(seen)
        keep = understood[count + 1 :, 0].to(seen.device) > 0.5
        looked = self.cross(seen, said.expand(len(seen), -1, -1), keep)[:, 0]
        return self.clip.logit_scale.exp() * F.cosine_similarity(looked, end[None], dim=1)


RULES = [
    Rule("model.{x*}", "clip.{x}"),
    Rule("cross_model.layers.{i}.{j}.fn.rotary_emb.inv_freq", None),
    Rule("cross_model.layers.{i}.{j}.fn.{x*}", "cross.layers.{i}.{j}.{x}"),
    Rule("cross_model.{x*}", None),
    KEEP,
]
"""Names of the official weights."""


def build(path: str, *, texts: str | None = None) -> MPS:
    """Makes the reward of the official weights.

    Arguments:
        path: Their file.
        texts: The repository or folder of the CLIP with its settings and its tokenizer.

    Raises:
        CheckpointError: If the file is another network's.
    """
    library = pretrained.package("transformers", "clip", "MPS")
    source, tensors = texts or CLIP_H, read(path).tensors
    layers = {k.split(".")[2] for k in tensors if k.startswith("cross_model.layers.")}
    if not layers:
        raise CheckpointError(f"{path}: not MPS (cross_model.layers is missing)")
    clip = library.CLIPModel(pretrained.load("AutoConfig", source))
    cross = Cross(clip.config.projection_dim, len(layers))
    tensors = {k: x for k, x in tensors.items() if not k.endswith("position_ids")}
    pair = fit(nn.ModuleDict({"clip": clip, "cross": cross}), tensors, RULES, source=path)
    return MPS(pair["clip"], cross, pretrained.load("AutoTokenizer", source))
