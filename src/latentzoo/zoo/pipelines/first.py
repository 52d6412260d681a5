"""The first run of a pipeline with each prompt: its draws, which of them matter, and what the texts are.

A first run's picture is no real one, as its networks are run once only (see `probe`).
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from latentzoo.errors import LatentzooError, SpecError
from latentzoo.zoo.pipelines import parts, pictures, probe, texts, words
from latentzoo.zoo.pipelines.asked import Asked
from latentzoo.zoo.pipelines.blame import refused
from latentzoo.zoo.pipelines.call import Call
from latentzoo.zoo.pipelines.draws import Draws, arrange, of_picture
from latentzoo.zoo.pipelines.habits import ALONE
from latentzoo.zoo.pipelines.stage import Caller
from latentzoo.zoo.pipelines.texts import Texts


class First:
    """Makes a first run with each prompt. A pipeline that fails where networks are run once only is looked at whole.

    Arguments:
        call: The pipeline's call.
        asked: The prompts.

    Attributes:
        known: The place of each prompt's texts.
        texts: What the text encoders said of each prompt.
        image: The picture of the last run (1, 3, H, W).
        drawn: Its draws.
        probe: What its networks said.
        space: The latent.
        places: Where in it each draw is.
        alone: Whether each picture needs a call of its own.

    Raises:
        SpecError: If the pipeline refuses the call, no draw matters, or prompts have different latents.
    """

    def __init__(self, call: Call, asked: Sequence[Asked]) -> None:
        self.call, self.last = call, asked[-1]
        self.known: dict[Asked, int] = {}
        self.texts: list[Texts] = []
        self.probe, shape = probe.Probe(), None
        for one in dict.fromkeys(asked):
            try:
                self.image, draws, memory = self.listen(one, self.probe)
            except LatentzooError:
                raise
            except Exception:  # whatever foreign code does
                self.probe = probe.Probe(whole=True)
                with refused(call.name, cure=pictures.cure(call.shared)):
                    self.image, draws, memory = self.listen(one, self.probe)
            self.known[one] = len(self.texts)
            self.texts.append(memory)
            found = self.arranged(draws)
            if len(self.known) > 1 and (found[0], self.image.shape) != (self.space, shape):
                raise SpecError(
                    f"the prompts have different latents, {self.space} and {found[0]}, or pictures of different "
                    "sizes; run them alone"
                )
            (self.space, self.places), shape, self.drawn = found, self.image.shape, draws.drawn
        self.image = self.image.detach()
        self.alone = self.needs_alone()

    def memory(self, asked: Asked) -> Texts:
        """What the text encoders said of a prompt."""
        return self.texts[self.known[asked]]

    def listen(self, asked: Asked, caller: Caller) -> tuple[Tensor, Draws, Texts]:
        """A run with a prompt: its picture, its draws, what the text encoders said."""
        draws, memory = Draws(), Texts()
        reader = words.Reader(self.call.written(asked))

        def encode(pipe: Any, args: Any, kwargs: Any) -> Any:
            encoder = texts.as_before(reader.hearing(pipe)).encode_prompt
            memory.keep(texts.ask(encoder, args, kwargs, many=self.call.many))
            said = memory.said(len(memory) - 1).one
            reader.compare(encoder, args, kwargs, said)
            return said

        with torch.enable_grad():
            image = self.call([asked], draws, caller, encode)
        reader.judge(self.call.name)
        return image, draws, memory

    def arranged(self, draws: Draws) -> Any:
        """The latent of the draws that matter, and where in it each is.

        Raises:
            SpecError: If none of them matters.
        """
        alive = probe.alive(self.image, draws.drawn)
        if not any(alive):
            raise SpecError(
                f"no draw of {self.call.name} has an influence on its picture that a gradient sees; "
                f"{pictures.drawless(self.call.shared)}"
            )
        return arrange([of_picture(x) for x in draws.drawn], draws.kinds, alive)

    def needs_alone(self) -> bool:
        """Whether pictures cannot be in one call: it knows one only, or draws once for all of them."""
        arguments = self.call.shared | self.call.own[0]
        seen = self.call.subject is None or any("image" in name for name in arguments)
        shared = any(of_picture(x) == tuple(x.shape) for x in self.drawn)
        return shared or self.call.name in ALONE or (seen and not self.batched())

    def batched(self) -> bool:
        """Whether each of two pictures gets draws of its own. What an autoencoder draws for a picture
        that is given is the same for all of a call, which then are one; and a call may know one only."""
        if not self.call.many and self.call.subject is None:
            return False
        draws, memory = Draws(), self.memory(self.last)
        try:
            with refused(self.call.name), torch.no_grad():
                self.call([self.last] * 2, draws, self.probe, texts.recited([memory] * 2))
        except SpecError:
            return False
        return all(len(x) == 2 for x in draws.drawn)

    def release(self) -> None:
        """Lets the text encoders go, where the pipeline makes the same picture without them."""
        pipe, memory = self.call.pipe, self.memory(self.last)
        self.call.pipe = parts.without(pipe, parts.encoders(pipe))
        given = Draws([x.detach() for x in self.drawn])
        try:
            with torch.no_grad():
                again = self.call([self.last], given, self.probe, texts.recited([memory]))
            gone = torch.equal(again, self.image)
        except (AttributeError, TypeError, ValueError, RuntimeError):
            gone = False
        if not gone:
            self.call.pipe = pipe
