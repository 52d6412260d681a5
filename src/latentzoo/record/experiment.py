"""From a record to networks: the generator, the energies, the kernel and the walk that a run names."""

import hashlib
import os
import platform
import time
from collections.abc import Callable
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from latentzoo import energies, kernels, picture, zoo
from latentzoo.energies.base import Energy
from latentzoo.errors import SpecError
from latentzoo.generator import Encodable, Generator, Restricted
from latentzoo.kernels.adapt import schedule
from latentzoo.kernels.types import Kernel
from latentzoo.posterior import Posterior
from latentzoo.record import spec
from latentzoo.record.folder import CHECKPOINT, RunFolder
from latentzoo.record.saved import SavedRun
from latentzoo.report import page
from latentzoo.rng import Domain, Rng
from latentzoo.run import state as checkpoint
from latentzoo.run.chain import Frame
from latentzoo.run.sampling import Result, finish, probe, seeds, usual_tries
from latentzoo.run.strength import find
from latentzoo.run.trace import Trace
from latentzoo.run.walk import Walk
from latentzoo.views.camera import Viewable, fan
from latentzoo.views.orbit import EachView, Views

CHECKPOINT_STEPS = 10
CHECKPOINT_SECONDS = float(os.environ.get("LATENTZOO_CHECKPOINT_SECONDS", "10"))


class Experiment:
    """Creates what a record describes; each part is made when it is first asked for.

    Arguments:
        run: The record.
    """

    def __init__(self, run: spec.Run) -> None:
        self.run = run
        self.device = _device(run.device)
        self.rng = Rng(*seeds(run.seed, run.chains), device=self.device)

    @cached_property
    def bare(self) -> Generator:
        """The generator itself, all of its blocks and one view."""
        run = self.run
        return zoo.load(
            run.generator,
            family=run.family,
            device=self.device,
            dtype=_dtype(run.dtype),
            **run.options,
        )

    @cached_property
    def generator(self) -> Generator:
        """The map that is sampled: the blocks that vary, the views that are rated."""
        generator = self.bare
        if self.run.energy_views > 1:
            if "camera" in generator.space.blocks:
                raise SpecError("energy_views has cameras of its own; leave out camera=latent")
            if not isinstance(generator, Viewable):
                raise SpecError(
                    f"'{self.run.generator}' has no camera, so it has one view; leave out energy_views"
                )
            generator = Views(generator, fan(generator.camera, self.run.energy_views))
        if self.run.vary is None:
            return generator
        rng = Rng(self.run.rest_seed, domain=Domain.HELD, device=self.device)
        rest = rng.normal(generator.space.dim)[0]
        return Restricted(generator, tuple(self.run.vary), rest)

    @cached_property
    def energies(self) -> dict[str, Energy]:
        named: dict[str, Energy] = {}
        terms: list[spec.Term] = []
        for term in self.run.energies:
            name = term.name or term.energy
            if name in named:
                name = f"{name}.{sum(other.split('.')[0] == name for other in named)}"
            model = term.model or zoo.companion(self.run.generator, term.energy)
            energy = energies.load(term.energy, term.target, model=model, **term.options)
            weight = energy.usual if term.weight is None else term.weight
            if self.run.energy_views > 1:
                energy = EachView(energy, self.run.energy_views)
            named[name] = weight * energy.to(self.device)
            terms.append(spec.replace(term, weight=weight))
        self.run = spec.replace(self.run, energies=terms)  # the record tells every weight
        return named

    @cached_property
    def kernel(self) -> Kernel:
        settings = dict(self.run.kernel.settings)
        if self.run.schedule is not None:
            saved = SavedRun(Path(self.run.schedule))
            settings["schedule"] = schedule(saved.column("beta"), saved.column("step_size"))
            if "precondition" in saved.record.kernel.settings:
                settings["precondition"] = _learned(saved) or "none"
        return kernels.load(self.run.kernel.name, **settings)

    @cached_property
    def posterior(self) -> Posterior:
        return Posterior(self.generator, self.energies, micro_batch=self.run.micro_batch)

    def walk(self) -> Walk:
        """The walk of this record, not yet begun."""
        run, phi = self.run, self.posterior
        tries = usual_tries(run.tries, phi, self.kernel, run.steps, given=run.init is not None)
        return Walk(phi, self.kernel, self.rng, steps=run.steps, tries=tries, best=run.best)

    def start(self, walk: Walk | None = None) -> Tensor:
        """Where the chains begin, (B, D): draws from the prior, of which a walk picks, or the latent of the
        picture `init`."""
        dim = self.generator.space.dim
        z = self.rng.normal(dim) if walk is None else walk.draw(dim)
        if self.run.init is None:
            return z
        if not isinstance(self.generator, Encodable):
            raise SpecError(
                f"the generator '{self.run.generator}' cannot encode a picture; leave out init, "
                "or take a diffusion model (`latentzoo list`)"
            )
        image = picture.read(self.run.init, self.generator.size).to(self.device)
        return self.generator.encode(image.expand(self.run.chains, -1, -1, -1), self.rng)

    def record(self) -> str:
        """The complete record as YAML, with versions, seeds and the weights' hash."""
        kernel = (
            msgspec.structs.replace(self.run.kernel, settings=kernels.settings(self.kernel))
            if self.run.energies
            else self.run.kernel
        )
        measured = {
            "versions": {name: version(name) for name in ("latentzoo", "torch", "numpy")}
            | {"python": platform.python_version()},
            "device": str(self.device),
            "seeds": list(self.rng.seeds),
            "weights": weights_hash(self.generator),
        }
        return spec.to_yaml(msgspec.structs.replace(self.run, kernel=kernel, record=measured))

    def execute(
        self, folder: RunFolder, *, watch: Callable[[Frame, Walk], Any] | None = None
    ) -> Result:
        """Makes the run in its folder, from its checkpoint if there is one; a kill at any moment
        loses little.

        Arguments:
            folder: The run folder, entered.
            watch: Called after every step.

        Raises:
            KeyboardInterrupt: After a checkpoint was written, if the user stops it.
        """
        notes = () if folder.resume else self._strengthen()
        walk = self.walk() if self.run.energies else None
        z = self.start(walk)
        notes = notes if walk is None else (*notes, *probe(self.posterior, z))
        if not folder.resume:  # only now: a mistake in the record leaves nothing behind
            folder.write_text("run.yaml", self.record())
        record = (folder.path / "run.yaml").read_text(encoding="utf-8")
        if walk is None:
            result = Result(z, z, Trace(self.rng.seeds), None, 0.0, generator=self.generator)
        else:
            seconds = make(walk, z, folder, watch)
            result = finish(walk, z, seconds=seconds, notes=notes)
        folder.write_result(result, record)
        page.write([folder.path], folder.path / "report.html")
        return result

    def _strengthen(self) -> tuple[str, ...]:
        """Multiplies the weights for the strength that is asked for, by one ramp; the record has the new weights."""
        nats = self.run.strength
        if nats is None or not self.run.energies:
            return ()
        target, dim = self.posterior, self.generator.space.dim
        run = self.run  # with the weights that the energies chose
        found = find(target, nats, dim=dim, steps=max(run.steps, 100), seed=run.seed)
        terms = [
            spec.replace(term, weight=(term.weight or 0.0) * found.factor) for term in run.energies
        ]
        self.run = spec.replace(run, energies=terms, strength=None)
        for name in ("energies", "posterior"):
            self.__dict__.pop(name, None)
        return (
            f"{found.nats:g} nats of guidance: the weights were multiplied by {found.factor:.4g}",
        )


def make(
    walk: Walk, z: Tensor, folder: RunFolder, watch: Callable[[Frame, Walk], Any] | None = None
) -> float:
    """Walks from `z`, or from the folder's checkpoint, to the end, leaving checkpoints on the way.

    Returns:
        The seconds it took.

    Raises:
        KeyboardInterrupt: After a checkpoint was written, if the user stops it.
    """
    began = time.perf_counter()
    if folder.resume and folder.checkpoint.exists():
        walk.resume(folder.checkpoint)
    else:
        walk.begin(z)
    saved_step, saved_at = walk.here.step, time.monotonic()
    try:
        for frame in walk:
            if watch is not None:
                watch(frame, walk)
            late = time.monotonic() - saved_at >= CHECKPOINT_SECONDS
            if late and frame.step - saved_step >= CHECKPOINT_STEPS:
                walk.save(folder.checkpoint)
                saved_step, saved_at = frame.step, time.monotonic()
    finally:
        walk.save(folder.checkpoint)
    return time.perf_counter() - began


def _learned(saved: SavedRun) -> Any:
    """What a saved run was preconditioned by, if it was."""
    record = saved.record.kernel
    if record.settings["precondition"] == "none":
        return None
    kernel = kernels.load(record.name, precondition="auto")
    return kernel.learned(checkpoint.read(saved.path / CHECKPOINT, kernel)[0].state)  # pyright: ignore[reportAttributeAccessIssue]


def weights_hash(module: torch.nn.Module) -> str:
    """The sha256 over all parameters and buffers of a network, names included."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise SpecError(
            f"the device '{name}' cannot be used ({reason}); give cpu, or auto"
        ) from None
    return device


def _dtype(name: str) -> torch.dtype:
    known = {
        str(t).removeprefix("torch."): t
        for t in (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    }
    if name not in known:
        raise SpecError(f"the dtype '{name}' is unknown; give one of {', '.join(known)}")
    return known[name]
