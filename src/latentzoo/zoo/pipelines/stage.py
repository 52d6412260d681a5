"""A pipeline for one call: a copy whose schedulers, networks and text encoders are stand-ins.

The user's pipeline is not touched, so that several maps may look at one. Networks are shared with
the copy; what is around their calls is new for each call:

    | scheduler       a deep copy, whose steps tell the draws that they are steps
    | denoiser        runs with the mode of the draws taken off, kept or forgotten for the gradient
    | autoencoder     decodes in its own precision, a few pictures at a time
    | encode_prompt   is answered from memory
    | processor       leaves the clamp of pictures out
"""

import copy
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from weakref import WeakKeyDictionary

import torch
from diffusers.image_processor import VaeImageProcessor
from diffusers.models.autoencoders.vq_model import VQModel
from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.pag.pag_utils import PAGMixin
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor
from torch.utils import _pytree as pytree

from latentzoo.diffusion.memory import Budget
from latentzoo.errors import SpecError
from latentzoo.zoo.pipelines import parts, pictures
from latentzoo.zoo.pipelines.draws import Draws
from latentzoo.zoo.pipelines.habits import EXCHANGING
from latentzoo.zoo.pipelines.inside import Awake, Exact

Caller = Callable[[Callable[..., Any], Any, Any, dict[str, Any]], Any]
"""Runs `call(*args, **kwargs)` of a network."""
Encode = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
"""Answers `encode_prompt(*args, **kwargs)` of a pipeline."""

STEPS = ("step", "step_pred", "step_correct", "add_noise_to_input", "batch_step_no_noise")
"""The steps of schedulers by their methods: all have the first, some predict and correct, stir noise in before, or
make several at once."""


def plainly(call: Callable[..., Any], network: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Runs a network's call as it is."""
    del network
    return call(*args, **kwargs)


class Standin:
    """Creates what looks like a network to a pipeline, with some of its methods exchanged."""

    def __init__(self, network: Any, **methods: Callable[..., Any]) -> None:
        vars(self).update(_network=network, _methods=methods)

    @property
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # for isinstance
        return type(vars(self)["_network"])

    def __getattr__(self, name: str) -> Any:
        mine = vars(self)
        return mine["_methods"].get(name) or getattr(mine["_network"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(vars(self)["_network"], name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return vars(self)["_methods"]["forward"](*args, **kwargs)


class Stage:
    """Creates the copy of a pipeline for one call.

    Arguments:
        pipe: The pipeline.
        draws: The mode around the call.
        caller: How networks are run.
        encode: What answers for the text encoders.
        see: How autoencoders encode the pictures that are given.
        chunk: How many pictures are decoded at once.
        hushed: The names of networks that turn gradients off inside; None in a first run, which finds them.
        exact: Whether 64 bits are kept inside networks.

    Attributes:
        found: The names that the run found.
        exchanged: The networks whose attention the call exchanges.
        resized: The sizes of pictures that were given, before and after.
        steps: How often a scheduler's step ran; None without a scheduler.
    """

    def __init__(
        self,
        pipe: Any,
        draws: Draws,
        *,
        caller: Caller,
        encode: Encode,
        see: Caller = plainly,
        chunk: int,
        hushed: set[str] | None = None,
        exact: bool = False,
    ) -> None:
        self.draws, self.caller, self.encode, self.chunk = draws, caller, encode, chunk
        self.seer = see
        self.exact = Exact if exact else nullcontext
        self.hushed, self.found = hushed, set[str]()
        self.resized: set[tuple[pictures.Size, pictures.Size]] = set()
        self.steps: int | None = None
        self.names = {id(part): name for name, part in parts.networks(pipe).items()}
        self.guided = isinstance(pipe, PAGMixin) or type(pipe).__name__ in EXCHANGING
        self.exchanged = [part for part in vars(pipe).values() if self.guided and is_network(part)]
        self.pipe = self.copy(pipe)

    def copy(self, pipe: Any) -> Any:
        """The pipeline with stand-ins, and so the pipelines inside it."""
        new = copy.copy(pipe)
        for name, part in vars(pipe).items():
            if name.endswith("_pipe") and hasattr(part, "components"):
                vars(new)[name] = self.copy(part)
            elif isinstance(part, SchedulerMixin):
                vars(new)[name] = self.scheduler(part)
            elif is_network(part):
                vars(new)[name] = self.network(part)
            elif isinstance(part, VaeImageProcessor):
                vars(new)[name] = self.processor(part)
            elif isinstance(getattr(part, "_image_processor", None), VaeImageProcessor):
                vars(new)[name] = both = copy.copy(part)
                for inner in ("_image_processor", "_mask_processor"):
                    vars(both)[inner] = self.processor(getattr(part, inner))
        if hasattr(pipe, "encode_prompt"):
            answer = lambda *args, **kwargs: self.encode(pipe, args, kwargs)
            vars(new)["encode_prompt"] = functools.wraps(pipe.encode_prompt)(answer)
        return new

    def scheduler(self, scheduler: Any) -> Any:
        """A copy without a past, whose steps tell that they run. They keep their signatures: pipelines read there
        whether they take `eta`."""
        new, self.steps = copy.deepcopy(scheduler), 0
        for name in STEPS:
            if hasattr(new, name):
                setattr(new, name, self.stepping(getattr(new, name)))
        return new

    def stepping(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """A scheduler's step, whose draws are noise."""

        @functools.wraps(step)
        def run(*args: Any, **kwargs: Any) -> Any:
            self.draws.stepping, self.steps = True, (self.steps or 0) + 1
            try:
                return step(*args, **kwargs)
            finally:
                self.draws.stepping = False

        return run

    def processor(self, processor: VaeImageProcessor) -> Any:
        """A copy that leaves its clamp out, also of a picture alone, and notes whose size it changes."""
        new, resize = copy.copy(processor), processor.resize

        def resizing(image: Any, height: int, width: int, *args: Any, **kwargs: Any) -> Any:
            if (before := pictures.size(image)) is not None:
                self.resized.add((before, (height, width)))
            return resize(image, height, width, *args, **kwargs)

        vars(new)["denormalize"] = lambda images: images * 0.5 + 0.5
        vars(new)["resize"] = resizing
        return new

    def network(self, network: Any) -> Standin:
        """What stands in for a network: its calls go through this stage."""
        methods = {"forward": functools.partial(self.run, network, network)}
        if hasattr(network, "decode"):
            methods |= {"decode": functools.partial(self.decode, network)}
        if hasattr(network, "encode"):
            methods |= {"encode": functools.partial(self.see, network)}
        return Standin(network, **methods)

    def run(self, network: Any, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A network's call."""
        now = processors(network) if self.guided else None
        name = self.names[id(network)]

        def alone(*args: Any, **kwargs: Any) -> Any:
            awake = Awake() if self.hushed is None or name in self.hushed else nullcontext()
            with self.exact(), awake, with_processors(network, now):
                done = call(*args, **kwargs)
            if isinstance(awake, Awake) and awake.asked:
                self.found.add(name)
            return done

        with self.draws.away():
            return self.caller(alone, network, args, kwargs)

    @contextmanager
    def around(self) -> Iterator[None]:
        """Holds the networks whose attention the call exchanges, and puts it back where the call fails.

        Raises:
            SpecError: If another thread has exchanged that of one.
        """
        with held(self.exchanged):
            before = [(network, processors(network)) for network in self.exchanged]
            try:
                yield
            finally:
                for network, own in before:
                    if changed(network, own):
                        network.set_attn_processor(dict(own))

    def decode(self, network: Any, code: Tensor, *args: Any, **kwargs: Any) -> Any:
        """What an autoencoder makes of codes.

        Raises:
            SpecError: If it takes the nearest ones of a list.
        """
        if isinstance(network, VQModel) and not kwargs.get("force_not_quantize"):
            raise SpecError(
                "the VQModel decodes the nearest of a list of codes, so that its gradient is not that of its picture; "
                "take a pipeline with another autoencoder"
            )
        codes = code.to(network.dtype).split(self.chunk)
        done = [self.run(network, network.decode, part, *args, **kwargs) for part in codes]
        image = torch.cat([x[0] for x in done])
        return (image,) if isinstance(done[0], tuple) else type(done[0])(sample=image)

    def see(self, network: Any, *args: Any, **kwargs: Any) -> Any:
        """What an autoencoder sees in a picture that was given."""
        with self.draws.away(), self.exact():
            return self.seer(network.encode, network, args, kwargs)


def is_network(part: Any) -> bool:
    """Whether a part of a pipeline is a network of diffusers, compiled or not."""
    return isinstance(getattr(part, "_orig_mod", part), ModelMixin)


PLAIN = (int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size, type(None))
"""What is the same again when a network is run again; an object may have been emptied by then."""


class Spend:
    """Creates the caller of networks in a forward pass whose gradient may be asked for.

    A call that takes or gives an object is kept whatever the budget says: a cache of keys and values would be
    without a trace when it is filled, and empty when it is read again.

    Arguments:
        budget: The memory that the calls share.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget

    def __call__(
        self, call: Callable[..., Any], network: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        leaves, spec = pytree.tree_flatten((args, kwargs))
        at = [i for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.requires_grad]
        if not at or not torch.is_grad_enabled() or _objects(leaves):
            return call(*args, **kwargs)
        shape: list[Any] = []

        def step(x: tuple[Tensor, ...], item: None) -> tuple[Tensor, ...]:
            new = [*leaves]
            for i, value in zip(at, x, strict=True):
                new[i] = value
            a, k = pytree.tree_unflatten(new, spec)
            found, form = pytree.tree_flatten(call(*a, **k))
            tensors = [isinstance(y, Tensor) for y in found]
            shape[:] = [form, [None if t else y for t, y in zip(tensors, found, strict=True)]]
            return tuple(y for y in found if isinstance(y, Tensor))

        # Copies, so that the gradient is summed within each call first, kept or forgotten, and a pipeline may write
        # into what it gave.
        inputs = tuple(leaves[i].clone() for i in at)
        tensors = iter(self.budget.run(step, inputs, None))
        form, others = shape
        if _objects(others):
            return call(*args, **kwargs)
        return pytree.tree_unflatten([next(tensors) if y is None else y for y in others], form)


def _objects(leaves: Iterable[Any]) -> bool:
    """Whether something is neither a tensor nor plain."""
    return not all(isinstance(x, (Tensor, *PLAIN)) for x in leaves)


def processors(network: Any) -> dict[str, Any]:
    """The attention processors of this moment."""
    return dict(getattr(network, "attn_processors", {}))


def changed(network: Any, once: dict[str, Any]) -> bool:
    """Whether a network has other attention processors than once."""
    now = processors(network)
    return any(now[k] is not once[k] for k in now)


@contextmanager
def with_processors(network: Any, now: dict[str, Any] | None) -> Iterator[None]:
    """Attention as it was when the network was called: PAG exchanges it before a call and puts it
    back after, when the gradient that runs the network again is still to come."""
    if now is None or not changed(network, now):
        yield
        return
    then = processors(network)
    with held([network]):
        network.set_attn_processor(dict(now))
        try:
            yield
        finally:
            network.set_attn_processor(then)


BUSY: WeakKeyDictionary[Any, threading.RLock] = WeakKeyDictionary()


@contextmanager
def held(networks: Iterable[Any]) -> Iterator[None]:
    """Holds networks whose attention is exchanged for a call.

    Raises:
        SpecError: If another thread has exchanged that of one.
    """
    with ExitStack() as stack:
        for network in networks:
            lock = BUSY.setdefault(network, threading.RLock())
            if not lock.acquire(blocking=False):
                raise SpecError(
                    f"another map exchanges the attention of this {type(network).__name__} at this "
                    "moment; run the maps of a PAG pipeline one after the other, or load it twice"
                )
            stack.callback(lock.release)
        yield
