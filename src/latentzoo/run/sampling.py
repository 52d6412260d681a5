r"""The main job in one call: draw latents from the posterior, and say what they are worth."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo import kernels, options
from latentzoo.errors import SpecError
from latentzoo.generator import Generator, required
from latentzoo.kernels.types import Function, Kernel, Potential
from latentzoo.place import number_type, usable
from latentzoo.posterior import Posterior
from latentzoo.rng import Rng
from latentzoo.run import pieces
from latentzoo.run.apart import Plan, batched, walked
from latentzoo.run.chain import Frame
from latentzoo.run.probe import probe
from latentzoo.run.progress import Log, climbed, gathered, logged, watched
from latentzoo.run.result import Result, finish
from latentzoo.run.starts import usual_tries
from latentzoo.run.strength import find
from latentzoo.run.trace import Trace
from latentzoo.run.walk import Walk

PLAIN = (
    *("dim", "chains", "steps", "seed", "stream", "kernel", "best", "tries", "keep", "strength"),
    "workers",
)
"""The arguments of `sample` that are plain values."""


def seeds(seed: int, chains: int, stream: int = 0) -> tuple[int, ...]:
    """The seeds of a run's chains, :math:`2^{32} s + k + c`: runs of different seeds share no chain.

    Arguments:
        seed: The run's seed s.
        chains: The number of chains c.
        stream: The number k of the first one's stream.

    Raises:
        SpecError: If there are no chains, or the seed or a stream is out of range.
    """
    if chains < 1:
        raise SpecError(f"chains is {chains}; a run needs at least one chain")
    if not 0 <= seed < 2**31:
        raise SpecError(f"the seed {seed} is out of range; give a whole number from 0 to 2^31 - 1")
    if not 0 <= stream <= 2**32 - chains:
        raise SpecError(
            f"the stream {stream} is out of range; give a whole number from 0 to 2^32 - {chains}"
        )
    return tuple(seed * 2**32 + stream + chain for chain in range(chains))


def sample(
    target: Potential | Generator | Callable[[Tensor], Tensor],
    *,
    dim: int | None = None,
    chains: int = 16,
    steps: options.Natural = 200,
    seed: int = 0,
    stream: int = 0,
    kernel: Kernel | str | None = None,
    best: str | None = None,
    tries: int | None = None,
    keep: int | None = None,
    strength: float | None = None,
    start: Float[Tensor, "B D"] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str = torch.float32,
    progress: bool = True,
    watch: Callable[[Frame], Any] | None = None,
    log: Log | None = None,
    workers: int | None = None,
) -> Result:
    """Samples N(z; 0, I) exp(-phi(z)). Ctrl-C gives back the result so far, but not from workers.

    Arguments:
        target: A `Posterior`; a differentiable potential, (B, D) -> (B,), with `dim`; or a generator.
        dim: The latent's dimension, for a bare potential.
        chains: How many chains B.
        steps: The budget of each chain in gradients.
        seed: The run's seed; chain c draws all its noise from the stream `seed * 2**32 + stream + c`.
        stream: The number of the first chain's stream: `chains=1, stream=2` is chain 2 of that run, alone.
        kernel: A kernel, its name, or None for the default.
        best: A term's name, to keep each chain's state of least energy, which is no sample.
        tries: Of how many draws of the prior each chain picks its start; see `usual_tries`.
        keep: Every how many steps the states are kept as draws along the chains; None keeps none.
        strength: How strong the guidance is, in nats; None takes the weights as they are.
        start: Where the chains begin, (B, D) or (1, D); None draws from the prior.
        device: Where the latents live; None takes the generator's. The networks stay where they are.
        dtype: The number type of the latents, float32 or float64, by its name too; networks keep theirs.
        progress: Whether a bar, or lines in a log, are shown on standard error.
        watch: Called with every frame.
        log: Called after every step with its mean numbers by name, and the step; see `tracker`.
        workers: How many processes share the chains, which are the same for any number; None walks here.

    Raises:
        SpecError, EnergyError: If what is given, or its potential, cannot be used; see `probe`.
    """
    rng = _streams(locals())
    if isinstance(target, Generator):
        return _drawn(target, rng)
    phi, dim = _potential(target, dim)
    chosen = kernel if isinstance(kernel, Kernel) else kernels.load(kernel or kernels.DEFAULT)
    first = None if start is None else _given(start, chains, dim).to(rng.device, rng.dtype)
    notes = probe(phi, _unspent(rng).normal(dim) if first is None else first)
    phi, *found = _scaled(phi, strength, dim, max(steps, 100), seed, progress)
    tries = usual_tries(tries, phi, chosen, steps, given=start is not None)
    walk = Walk(phi, chosen, rng, steps=steps, tries=tries, best=best, keep=keep)
    walk.notes = (*notes, *found)
    if workers is not None and _unwatched(watch, log):
        return _shared(walk, first, dim=dim, steps=steps, workers=workers, progress=progress)
    return _walked(walk, first, dim, progress=progress, watch=watch, log=log)


def _streams(given: Mapping[str, Any]) -> Rng:
    """The noise of a run, whose arguments are of the types that `sample` says.

    Raises:
        SpecError: If one is not.
    """
    plain = {name: given[name] for name in PLAIN}
    options.check(plain, options.parameters(sample), owner="sample", shown="help(lz.sample)")
    place = usable(given["device"] or _home(given["target"]))
    of = seeds(given["seed"], given["chains"], given["stream"])
    return Rng(*of, device=place, dtype=number_type(given["dtype"]))


def _scaled(
    phi: Potential, strength: float | None, dim: int, steps: int, seed: int, progress: bool
) -> tuple[Any, ...]:
    """The potential at a strength, and what was found, in words."""
    if strength is None:
        return (phi,)
    with climbed(shown=progress) as count:
        found = find(phi, strength, dim=dim, steps=steps, seed=seed, watch=count)
    return phi.scaled(found.factor), found.note


def _unspent(rng: Rng) -> Rng:
    """The same streams from their beginning; what is drawn here is not drawn there."""
    return Rng(*rng.seeds, device=rng.device, dtype=rng.dtype)


def _drawn(generator: Generator, rng: Rng) -> Result:
    """Draws of the prior."""
    z = rng.normal(required(generator).space.dim)
    return Result(z=z, start=z, trace=Trace(rng.seeds), generator=generator)


def _unwatched(*observers: Any) -> bool:
    """True, if nobody watches what workers do.

    Raises:
        SpecError: If somebody does.
    """
    if any(observer is not None for observer in observers):
        raise SpecError(
            "watch and log see frames, which stay with the workers; leave them out, or workers"
        )
    return True


def _shared(
    walk: Walk, start: Tensor | None, *, dim: int, steps: int, workers: int, progress: bool
) -> Result:
    """Has workers make a walk that is not begun.

    Raises:
        SpecError: If it cannot be split.
    """
    rng, phi, chains = walk.rng, walk.phi.phi, len(walk.rng)
    run = rng.seeds[0] // 2**32
    plan = Plan(
        phi=batched(phi, chains),
        kernel=walk.kernel,
        seeds=rng.seeds,
        pilot=seeds(pieces.pilot_seed(run), pieces.pilot_chains(chains)),
        dim=dim,
        start=None if start is None else start.cpu(),
        steps=steps,
        tries=walk.tries,
        best=None if walk.best is None else phi.names[walk.best],
        keep=walk.keep,
        device=rng.device,
        dtype=rng.dtype,
    )
    with gathered(shown=progress) as see:
        return finish(walked(plan, notes=walk.notes, workers=workers, watch=see))


def _walked(
    walk: Walk,
    start: Tensor | None,
    dim: int,
    *,
    progress: bool,
    watch: Callable[[Frame], Any] | None,
    log: Log | None,
) -> Result:
    """Walks to the end, or to a Ctrl-C once the chains have begun."""
    walk.begin(walk.draw(dim) if start is None else start)
    track = None if log is None else logged(log)
    try:
        with watched(shown=progress) as show:
            for frame in walk:
                show(frame, walk)
                if track is not None:
                    track(frame, walk)
                if watch is not None:
                    watch(frame)
    except KeyboardInterrupt:
        return finish(walk, stopped=True)
    return finish(walk)


def _potential(
    target: Potential | Callable[[Tensor], Tensor], dim: int | None
) -> tuple[Potential, int]:
    if not isinstance(target, Potential) and not callable(target):
        cure = "load it first: lz.load(NAME)" if isinstance(target, str) else "give a lz.Posterior"
        raise SpecError(f"{target!r} cannot be sampled; {cure}")
    phi = target if isinstance(target, Potential) else Function(target)
    own = getattr(phi, "dim", None)
    if None not in (dim, own) and dim != own:
        raise SpecError(f"dim is {dim}, and the potential's latent has {own}; leave out dim")
    dim = own if dim is None else dim
    if dim is None:
        raise SpecError(
            "a bare potential does not know its latent's dimension; give dim= (an nn.Module that makes "
            "images must be a lz.Generator)"
        )
    return phi, dim


def _home(target: Any) -> torch.device:
    """Where the networks of a target are; the CPU if it has none."""
    generator = target.generator if isinstance(target, Posterior) else target
    place = required(generator).place[0] if isinstance(generator, Generator) else None
    return place or torch.device("cpu")


def _given(start: Tensor, chains: int, dim: int) -> Tensor:
    if not isinstance(start, Tensor):
        raise SpecError(
            f"start is a {type(start).__name__}; give a tensor, ({chains}, {dim}) or (1, {dim})"
        )
    if start.shape[1:] != (dim,) or len(start) not in (1, chains):
        raise SpecError(
            f"start has shape {tuple(start.shape)}; give ({chains}, {dim}) or (1, {dim})"
        )
    return start.expand(chains, -1).clone()
