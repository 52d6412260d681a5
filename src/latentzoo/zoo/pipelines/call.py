r"""A pipeline's own call, made with given draws and texts, and what it shows of itself.

.. math:: x = P(\varepsilon_1, \dots, \varepsilon_k \mid c)
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from latentzoo.errors import SpecError
from latentzoo.zoo.pipelines import options, parts, pictures
from latentzoo.zoo.pipelines.asked import AGAINST, PROMPT, Asked, subject
from latentzoo.zoo.pipelines.blame import STEPLESS
from latentzoo.zoo.pipelines.draws import Draws
from latentzoo.zoo.pipelines.inside import Exact
from latentzoo.zoo.pipelines.quiet import heard, quiet
from latentzoo.zoo.pipelines.stage import Caller, Encode, Stage, plainly
from latentzoo.zoo.pipelines.texts import COUNT

IGNORED = re.compile(r"\bignor|not enabled|no effect|not used")
"""What diffusers says in its log where it does not do what it is asked for."""


class Call:
    """Creates the call of a pipeline.

    Arguments:
        pipe: The pipeline, see `parts.bare`.
        shared: The arguments that all chains have.
        own: What each place of chains has of its own, see `dealt`.
        chunk: How many pictures are decoded at once.

    Attributes:
        name: The class.
        subject: The argument that says what a picture should show; None for none.
        many: Whether the call is told how many pictures to make of a prompt.
        hushed: The names of networks that turn gradients off inside; None until the first runs are over.
        found: Such names so far.
        resized: The sizes of pictures that were given, before and after.
        ignored: What diffusers said in its log to ignore.
    """

    def __init__(
        self, pipe: Any, shared: dict[str, Any], own: dict[int, dict[str, Any]], chunk: int
    ) -> None:
        self.pipe, self.shared, self.own, self.chunk = pipe, shared, own, chunk
        self.name, self.subject = type(pipe).__name__, subject(type(pipe))
        self.many = COUNT in self.taken
        self.hushed: set[str] | None = None
        self.found: set[str] = set()
        self.resized: set[tuple[pictures.Size, pictures.Size]] = set()
        self.ignored: set[str] = set()

    @property
    def taken(self) -> Mapping[str, inspect.Parameter]:
        """The parameters of the pipeline's call."""
        return inspect.signature(type(self.pipe).__call__).parameters

    @property
    def networks(self) -> nn.ModuleDict:
        """The networks that the pipeline holds."""
        return nn.ModuleDict(parts.networks(self.pipe))

    def written(self, asked: Asked) -> list[str]:
        """The user's own texts."""
        more = (x for name, x in self.shared.items() if PROMPT in name)
        return [x for x in (asked.prompt, asked.against, *more) if isinstance(x, str)]

    def __call__(
        self,
        asked: Sequence[Asked],
        draws: Draws,
        caller: Caller,
        encode: Encode,
        *,
        exact: bool = False,
        see: Caller = plainly,
        change: Mapping[str, Any] | None = None,
    ) -> Tensor:
        """Makes the pictures.

        Arguments:
            asked: What each shows; all in one place.
            draws: What answers the draws.
            caller: How networks are run.
            encode: What answers for the text encoders.
            exact: Whether 64 bits are kept.
            see: How autoencoders encode the pictures that are given.
            change: Arguments that are other ones.

        Returns:
            The pictures (B, 3, H, W) in [0, 1], not clamped.

        Raises:
            SpecError: If no step is made, or no pictures whose gradient is known.
        """
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
        draws.count = len(asked)
        with ExitStack() as stack:
            if exact:
                stack.enter_context(Exact())
            stack.enter_context(stage.around())
            stack.enter_context(quiet())
            log = stack.enter_context(heard()) if self.hushed is None else ()
            stack.enter_context(draws)
            whole = self.shared | self.own[asked[0].own] | dict(change or {})
            given = stage.pipe(**self.said(asked), **whole, output_type="np")
        self.found |= stage.found
        self.resized |= stage.resized
        self.ignored |= {" ".join(line.split()) for line in log if IGNORED.search(line)}
        return self.judged(draws.image, given, stage.steps, len(asked))

    def said(self, asked: Sequence[Asked]) -> dict[str, Any]:
        """The arguments that say what pictures show, and how many there are."""
        first, against, _ = asked[0]
        how: dict[str, Any] = {COUNT: len(asked)} if self.many else {}
        if self.subject is not None:
            how[self.subject] = first if self.many else [a.prompt for a in asked]
        if against is not None:
            how[AGAINST] = against if self.many else [a.against for a in asked]
        return how

    def judged(self, image: Tensor | None, given: Any, steps: int | None, n: int) -> Tensor:
        """The pictures that were seen, where they are those that the call gives.

        Raises:
            SpecError: If no step was made, or the call gives other pictures than those.
        """
        if steps == 0:
            raise SpecError(STEPLESS.format(name=self.name))
        if image is None or len(image) != n:
            many = "no pictures" if image is None else f"{len(image)} pictures of {n}"
            raise SpecError(
                f"{self.name} gives {many}, so it is no map to an image; take a text-to-image pipeline"
            )
        if (size := pictures.made(given)) not in (None, image.shape[-2:]):
            raise SpecError(
                f"{self.name} makes its picture of {size[0]}x{size[1]} pixels out of an array, which has no gradient; "
                "take another pipeline"
            )
        return image

    def move(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Moves the tensors among the arguments, as networks are moved."""
        move = lambda x: options.moved(fn, x) if isinstance(x, Tensor) else x
        self.shared, self.own = pytree.tree_map(move, (self.shared, self.own))
