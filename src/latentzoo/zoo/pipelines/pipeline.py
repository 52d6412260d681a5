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
import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from latentzoo.diffusion.memory import Budget, Recompute
from latentzoo.errors import LatentzooError, SpecError
from latentzoo.generator import Generator
from latentzoo.zoo.pipelines import (
    dealt,
    effects,
    follow,
    gguf,
    kinds,
    options,
    parts,
    pictures,
    probe,
    texts,
    words,
)
from latentzoo.zoo.pipelines.asked import AGAINST, PROMPT, Asked, read, said, subject
from latentzoo.zoo.pipelines.blame import refused
from latentzoo.zoo.pipelines.draws import Draws, arrange, of_picture
from latentzoo.zoo.pipelines.habits import ALONE
from latentzoo.zoo.pipelines.inside import Exact
from latentzoo.zoo.pipelines.quiet import heard, quiet
from latentzoo.zoo.pipelines.refuse import refuse
from latentzoo.zoo.pipelines.stage import Caller, Encode, Spend, Stage, plainly
from latentzoo.zoo.pipelines.texts import COUNT, Texts

IGNORED = re.compile(r"\bignor|not enabled|no effect|not used")
"""What diffusers says in its log where it does not do what it is asked for."""


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
        self.subject, shown = subject(type(pipe)), said(pipe, prompt, call)
        silent, several = self.subject is None, isinstance(shown, list | tuple)
        number = None if silent else len(shown) if several else 1
        shared, own = dealt.deal(pipe, call, number)
        places = dealt.places(own)
        self.asked = read(shown, call.get(AGAINST), silent=silent, own=places)
        if chunk < 1:
            raise SpecError(f"chunk={chunk} is not allowed; decode at least one picture at once")
        refuse(pipe)
        Budget(recompute, torch.device("cpu"))  # says what it does not know before any work
        self.chains = len(self.asked) if several or len(own) > 1 else None
        self.name, self.recompute, self.chunk = type(pipe).__name__, recompute, chunk
        self.pipe = parts.bare(pipe)
        self.nets = nn.ModuleDict(parts.networks(self.pipe))
        self.nets.eval().requires_grad_(False)
        parts.switched(self.nets.values())
        parts.upcast(self.nets.values())
        whole = {i: options.complete(pipe, shared | own[i]) for i in dict.fromkeys(places)}
        self.own = {i: {name: whole[i].pop(name) for name in own[i]} for i in whole}
        self.call = whole[0]
        self.call.pop(AGAINST, None)
        self.many = COUNT in inspect.signature(type(pipe).__call__).parameters
        self.texts = nn.ModuleList()
        self.hushed: set[str] | None = None
        self._found: set[str] = set()
        self._resized: set[tuple[pictures.Size, pictures.Size]] = set()
        self._ignored: set[str] = set()
        image = self._look()
        self.assumed = self._unheard(call)
        self._release(image)
        self.hushed = self._found
        self._measure(image, call)
        self._finite(image)

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
        said = [self._memory(a) for a in asked]
        calls = iter(range(len(said[0])))
        answer = lambda pipe, args, kwargs: texts.rows(
            [s.said(i) for i in [next(calls)] for s in said]
        )
        return self._run(asked, Draws(given), caller, answer, exact=z.dtype == torch.float64)

    def _run(
        self,
        asked: Sequence[Asked],
        draws: Draws,
        caller: Caller,
        encode: Encode,
        *,
        exact: bool = False,
        see: Caller = plainly,
        call: Mapping[str, Any] | None = None,
    ) -> Tensor:
        """The pictures of one call of the pipeline, with other arguments where such are given."""
        stage = Stage(
            self.pipe,
            draws,
            caller=caller,
            encode=encode,
            see=see,
            chunk=self.chunk,
            hushed=self.hushed,
            exact=exact,
        )
        n, (first, against, place) = len(asked), asked[0]
        draws.count = n
        how: dict[str, Any] = {COUNT: n} if self.many else {}
        if self.subject is not None:
            how[self.subject] = first if self.many else [a.prompt for a in asked]
        if against is not None:
            how[AGAINST] = against if self.many else [a.against for a in asked]
        with ExitStack() as stack:
            if exact:
                stack.enter_context(Exact())
            stack.enter_context(stage.around())
            stack.enter_context(quiet())
            log = stack.enter_context(heard()) if self.hushed is None else ()
            stack.enter_context(draws)
            whole = self.call | self.own[place] | dict(call or {})
            given = stage.pipe(**how, **whole, output_type="np")
        self._found |= stage.found
        self._resized |= stage.resized
        self._ignored |= {" ".join(line.split()) for line in log if IGNORED.search(line)}
        if draws.image is None or len(draws.image) != n:
            many = "no pictures" if draws.image is None else f"{len(draws.image)} pictures of {n}"
            raise SpecError(
                f"{self.name} gives {many}, so it is no map to an image; take a text-to-image pipeline"
            )
        if (size := pictures.made(given)) not in (None, draws.image.shape[-2:]):
            raise SpecError(
                f"{self.name} makes its picture of {size[0]}x{size[1]} pixels out of an array, which has no gradient; "
                "take another pipeline"
            )
        return draws.image

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

    def _listen(self, asked: Asked, caller: Caller) -> tuple[Tensor, Draws, Texts]:
        """A first run with a prompt: its picture, its draws, what the text encoders said."""
        draws, memory = Draws(), Texts()
        reader = words.Reader(self._written(asked))

        def encode(pipe: Any, args: Any, kwargs: Any) -> Any:
            encoder = texts.as_before(reader.hearing(pipe)).encode_prompt
            memory.keep(texts.ask(encoder, args, kwargs, many=self.many))
            said = memory.said(len(memory) - 1).one
            reader.compare(encoder, args, kwargs, said)
            return said

        with torch.enable_grad():
            image = self._run([asked], draws, caller, encode)
        reader.judge(self.name)
        return image, draws, memory

    def _look(self) -> Tensor:
        """Encodes each prompt, and finds the draws of a first run; its picture, which is no real one.

        A pipeline that fails where networks are run once only is looked at whole.
        """
        self.known: dict[Asked, int] = {}
        image, caller, shape = torch.empty(0), probe.Probe(), None
        for asked in dict.fromkeys(self.asked):
            try:
                image, draws, memory = self._listen(asked, caller)
            except LatentzooError:
                raise
            except Exception:  # whatever foreign code does
                caller = probe.Probe(whole=True)
                with refused(self.name, cure=pictures.cure(self.call)):
                    image, draws, memory = self._listen(asked, caller)
            self.known[asked] = len(self.texts)
            self.texts.append(memory)
            alive = probe.alive(image, draws.drawn)
            if not any(alive):
                raise SpecError(
                    f"no draw of {self.name} has an influence on its picture that a gradient sees; "
                    f"{pictures.drawless(self.call)}"
                )
            found = arrange([of_picture(x) for x in draws.drawn], draws.kinds, alive)
            if len(self.known) > 1 and (found[0], image.shape) != (self.space, shape):
                raise SpecError(
                    f"the prompts have different latents, {self.space} and {found[0]}, or pictures of different "
                    "sizes; run them alone"
                )
            (self.space, self.places), shape = found, image.shape
            self._first, self._caller = draws.drawn, caller
        seen = self.subject is None or any("image" in name for name in self.call | self.own[0])
        shared = any(of_picture(x) == tuple(x.shape) for x in self._first)
        self.alone = shared or self.name in ALONE or (seen and not self._batched(caller))
        return image.detach()

    def _written(self, asked: Asked) -> list[str]:
        """The user's own texts in a call."""
        more = (x for name, x in self.call.items() if PROMPT in name)
        return [x for x in (asked.prompt, asked.against, *more) if isinstance(x, str)]

    def _batched(self, caller: Caller) -> bool:
        """Whether each of two pictures gets draws of its own. What an autoencoder draws for a picture
        that is given is the same for all of a call, which then are one; and a call may know one only."""
        if not self.many and self.subject is None:
            return False
        memory, draws = self.texts[-1], Draws()
        calls = iter(range(len(memory)))  # pyright: ignore[reportArgumentType]
        answer = lambda pipe, args, kwargs: texts.rows([memory.said(next(calls))] * 2)  # pyright: ignore[reportCallIssue]
        try:
            with refused(self.name), torch.no_grad():
                self._run([self.asked[-1]] * 2, draws, caller, answer)
        except SpecError:
            return False
        return all(len(x) == 2 for x in draws.drawn)

    def _unheard(self, call: Mapping[str, Any]) -> dict[str, str]:
        """What is said of the options that change nothing, by their names."""
        asked = next((a for a in self.asked if a.against), self.asked[0])
        whole = self.call | self.own[asked.own]
        given = {n: whole[n] for n in call if n in whole} | {AGAINST: asked.against}
        known = inspect.signature(type(self.pipe).__call__).parameters.items()
        usual = {n: p.default for n, p in known if p.default is not p.empty}
        usual |= options.habits(type(self.pipe), given)
        kept = self._resized.copy(), self._ignored.copy()

        def run(trace: Caller, ear: follow.Ear, change: Mapping[str, Any]) -> Tensor:
            against = change.get(AGAINST, asked.against)
            one = asked._replace(against=None if against is effects.LEFT_OUT else against)
            changed = {n: usual[n] if x is effects.LEFT_OUT else x for n, x in change.items()}
            changed.pop(AGAINST, None)
            with torch.no_grad():
                return self._run([one], Draws(), trace, ear, see=ear.see, call=changed)

        names = effects.unheard(run, self._caller, self._memory(asked), given, usual)
        self._resized, self._ignored = kept
        return {name: effects.told(self.name, name, given[name]) for name in names}

    def _release(self, image: Tensor) -> None:
        """Lets the text encoders go, where the pipeline does without."""
        pipe, self.pipe = self.pipe, parts.without(self.pipe, parts.encoders(self.pipe))
        memory = self.texts[-1]
        calls = iter(range(len(memory)))  # pyright: ignore[reportArgumentType]
        answer = lambda pipe, args, kwargs: memory.said(next(calls)).one  # pyright: ignore[reportCallIssue]
        given = [x.detach() for x in self._first]
        try:
            with torch.no_grad():
                again = self._run([self.asked[-1]], Draws(given), self._caller, answer)
            gone = torch.equal(again, image)
        except (AttributeError, TypeError, ValueError, RuntimeError):
            gone = False
        del self._first, self._caller
        if gone:
            self.nets = nn.ModuleDict(parts.networks(self.pipe))
        else:
            self.pipe = pipe

    def _measure(self, image: Tensor, call: dict[str, Any]) -> None:
        self.size = (int(image.shape[-2]), int(image.shape[-1]))
        given = call.get("height") and call.get("width")
        free = {"height", "width"} <= {*inspect.signature(type(self.pipe).__call__).parameters}
        asked = self.size if given else None
        resized = pictures.resized(self.name, self._resized, asked, free=free and not given)
        logs = [f"{self.name} says: {log[:200]}" for log in sorted(self._ignored)]
        told = {"call": "; ".join(logs), "resized": "; ".join(resized)}
        self.assumed = {**self.assumed, **{name: line for name, line in told.items() if line}}
        for one in self.assumed.values():
            warnings.warn(one, stacklevel=4)
        asked = (call.get("height") or self.size[0], call.get("width") or self.size[1])
        if asked != self.size:
            height, width = self.size
            cure = f"give height={height}, width={width}, or multiples that it knows"
            raise SpecError(
                f"{self.name} makes {height}x{width} pixels of the {asked[0]}x{asked[1]} that are "
                f"asked for; {cure if given else 'give both height and width'}"
            )

    def _finite(self, image: Tensor) -> None:
        """Looks whether pictures are finite. That of the first run is no real one, so one is made where it is not."""
        if image.isfinite().all():
            return
        rng = torch.Generator().manual_seed(0)
        z = torch.randn(len(self.asked), self.space.dim, generator=rng)
        with torch.no_grad():
            real = self(z.to(image.device, self.place[1]))
        if not real.isfinite().all():
            raise SpecError(
                f"{self.name} gives a picture that is not finite; check its scheduler's settings and the type of its "
                "numbers: bfloat16 overflows later than float16"
            )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "TextToImage":
        super()._apply(fn, recurse)
        move = lambda x: options.moved(fn, x) if isinstance(x, Tensor) else x
        self.call, self.own = pytree.tree_map(move, (self.call, self.own))
        parts.upcast(self.nets.values())
        gguf.follow(self.nets.values())
        return self
