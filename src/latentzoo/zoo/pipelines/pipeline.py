r"""Any text-to-image pipeline of diffusers as one map.

.. math:: x = P(\varepsilon_1(z), \dots, \varepsilon_k(z) \mid c), \qquad z \sim \mathcal{N}(0, I)

with the pipeline's own call `P`, its Gaussian draws :math:`\varepsilon_i`, which are parts of the
latent, and the prompt `c`. The picture is that of the pipeline for the same noise, before its clamp.

    | start    what is drawn before the first step
    | noise    what the scheduler draws in its steps, in their order
    | start2, noise2, ...    the same of further stages: a prior, then a decoder

Draws that have no influence on the picture are left out: one-step turbo models make one.

References:
    | Diffusers: State-of-the-art diffusion models (von Platen et al., 2022)
    | https://github.com/huggingface/diffusers
    |
    | ReNO: Enhancing One-step Text-to-Image Models through Reward-based Noise Optimization
    | (Eyring, Karthik, Roth, Dosovitskiy and Akata, 2024), https://arxiv.org/abs/2406.04312
"""

import copy
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from latentzoo.diffusion.memory import Budget, Recompute
from latentzoo.errors import SpecError
from latentzoo.generator import Generator
from latentzoo.zoo.pipelines import dealt, gguf, kinds, options, parts, texts, told
from latentzoo.zoo.pipelines.asked import AGAINST, Asked, read, said, subject
from latentzoo.zoo.pipelines.call import Call
from latentzoo.zoo.pipelines.draws import Draws
from latentzoo.zoo.pipelines.first import First
from latentzoo.zoo.pipelines.refuse import refuse
from latentzoo.zoo.pipelines.stage import Caller, Spend
from latentzoo.zoo.pipelines.texts import Texts


class TextToImage(Generator):
    """Creates the map of a pipeline and a prompt. The pipeline itself is not changed, but for its
    networks, which are frozen.

    Arguments:
        pipe: The pipeline, a `DiffusionPipeline`.
        prompt: What the picture should show; several are those of the chains, one each. None where
            the pipeline reads no text; `call` then holds the class, or one for each chain, or what
            else it makes pictures of.
        recompute: Which networks' calls are run again for the gradient, see
            `latentzoo.diffusion.memory`: "auto", "lean", True or False.
        chunk: How many pictures are decoded at once.
        call: Arguments of the pipeline's call, by its names: num_inference_steps, guidance_scale,
            height, width, ...; a list as negative_prompt, or as a picture, has one for each prompt.

    Attributes:
        call: The pipeline's call, with its arguments.
        asked: The prompts, of each chain where there are several, with what each is against.
        assumed: What the call does otherwise than it may seem, by its options: those that change nothing, pictures
            whose size is changed, what diffusers says in its log to ignore.

    Raises:
        UnknownName: If the call has no such argument.
        SpecError: If the pipeline makes no map of a Gaussian, or refuses the call.
    """

    def __init__(
        self,
        pipe: Any,
        prompt: str | Sequence[str] | None,
        /,
        *,
        recompute: Recompute = "auto",
        chunk: int = 1,
        **call: Any,
    ) -> None:
        super().__init__()
        kinds.judge(type(pipe))
        shown, about = said(pipe, prompt, call), subject(type(pipe))
        silent, several = about is None, isinstance(shown, list | tuple)
        shared, own = dealt.deal(pipe, call, None if silent else len(shown) if several else 1)
        places = dealt.places(own)
        self.asked = read(shown, call.get(AGAINST), silent=silent, own=places)
        if chunk < 1:
            raise SpecError(f"chunk={chunk} is not allowed; decode at least one picture at once")
        refuse(pipe)
        Budget(recompute, torch.device("cpu"))  # says what it does not know before any work
        self.chains = len(self.asked) if several or len(own) > 1 else None
        self.name, self.recompute = type(pipe).__name__, recompute
        bare = parts.bare(pipe)
        frozen(parts.networks(bare).values())
        whole = {i: options.complete(pipe, shared | own[i]) for i in dict.fromkeys(places)}
        each = {i: {name: whole[i].pop(name) for name in own[i]} for i in whole}
        whole[0].pop(AGAINST, None)
        self.call = Call(bare, whole[0], each, chunk)
        first = First(self.call, self.asked)
        self.space, self.places, self.alone = first.space, first.places, first.alone
        self.known, self.texts = first.known, nn.ModuleList(first.texts)
        self.size = (int(first.image.shape[-2]), int(first.image.shape[-1]))
        self.assumed = told.without_effect(first, call)
        first.release()
        self.nets, self.call.hushed = self.call.networks, self.call.found
        self.assumed |= told.otherwise(first, self.size, call)
        for one in self.assumed.values():
            warnings.warn(one, stacklevel=3)
        told.of_size(self.name, self.size, call)
        if not first.image.isfinite().all():
            self._finite(first.image.device)

    @property
    def prompt(self) -> str | None:
        """The prompt, where all chains have the same text."""
        first, *others = {asked.prompt for asked in self.asked}
        return first if isinstance(first, str) and not others else None

    @property
    def place(self) -> tuple[torch.device | None, torch.dtype | None]:
        """The device of the networks, and the type of z: at least 32 bits, as some pipelines draw
        in more bits than their networks have."""
        device, dtype = super().place
        return device, dtype if dtype == torch.float64 else torch.float32

    def select(self, index: Int64[Tensor, "b"]) -> "TextToImage":
        """The map of the chains at `index`; itself where all have the same prompt."""
        if self.chains is None:
            return self
        part = copy.copy(self)
        part.asked = tuple(self.asked[i] for i in index.tolist())
        part.chains = len(part.asked)
        return part

    def assumptions(self) -> str:
        return "; ".join(self.assumed.values())

    def train(self, mode: bool = True) -> "TextToImage":
        """Keeps the networks in evaluation mode, so that no switch changes the map."""
        del mode
        return super().train(False)

    def repeated(self) -> Iterator[nn.Module]:
        return iter(())  # the pipeline's own call is Python

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        if self.chains not in (None, len(z)):
            raise SpecError(
                f"there are prompts for {self.chains} chains and {len(z)} latents; give one latent "
                "per chain, or take some by `select`"
            )
        asked = self.asked if self.chains is not None else self.asked * len(z)
        done, caller = [], Spend(Budget(self.recompute, z.device))
        for at in self._batches(asked):
            done.append((at, self._paint(z[at], [asked[i] for i in at], caller)))
        if len(done) == 1:
            return done[0][1].to(z.device)
        order = torch.tensor([i for at, _ in done for i in at]).argsort().to(z.device)
        return torch.cat([image.to(z.device) for _, image in done])[order]

    def _paint(self, z: Tensor, asked: Sequence[Asked], caller: Caller) -> Tensor:
        """The pictures of latents (b, D) that go through the pipeline together."""
        blocks = self.space.split(z)
        given = [
            None if p is None else blocks[p.block] if p.row is None else blocks[p.block][:, p.row]
            for p in self.places
        ]
        said = texts.recited([self._memory(a) for a in asked])
        return self.call(asked, Draws(given), caller, said, exact=z.dtype == torch.float64)

    def _batches(self, asked: Sequence[Asked]) -> list[list[int]]:
        """The rows that can be in one call: of one prompt, or of prompts whose texts have one shape."""
        if self.alone:
            return [[i] for i in range(len(asked))]
        groups: list[list[int]] = []
        for i, one in enumerate(asked):
            fits = (g for g in groups if self._together(asked[g[0]], one))
            group = next(fits, None)
            if group is None:
                groups.append([i])
            else:
                group.append(i)
        return groups

    def _together(self, a: Asked, b: Asked) -> bool:
        one, two = self._memory(a), self._memory(b)
        return a == b or (
            a.own == b.own
            and 0 < len(one) == len(two)
            and all(texts.together(one.said(i), two.said(i)) for i in range(len(one)))
        )

    def _memory(self, asked: Asked) -> Texts:
        return self.texts[self.known[asked]]  # pyright: ignore[reportReturnType]

    def _finite(self, device: torch.device) -> None:
        """Looks whether pictures are finite, where that of the first run, which is no real one, is not."""
        rng = torch.Generator().manual_seed(0)
        z = torch.randn(len(self.asked), self.space.dim, generator=rng)
        with torch.no_grad():
            real = self(z.to(device, self.place[1]))
        if not real.isfinite().all():
            raise SpecError(
                f"{self.name} gives a picture that is not finite; check its scheduler's settings and the type of its "
                "numbers: bfloat16 overflows later than float16"
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "TextToImage":
        super()._apply(fn, recurse)
        self.call.move(fn)
        parts.upcast(self.nets.values())
        gguf.follow(self.nets.values())
        return self


def frozen(networks: Collection[nn.Module]) -> None:
    """Makes networks ready: in evaluation mode, without gradients of their own."""
    nn.ModuleList(networks).eval().requires_grad_(False)
    parts.switched(networks)
    parts.upcast(networks)
