"""From a record to networks: the generator, the energies, the kernel and the walk that a run names."""

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import replace
from torch import Tensor

from latentzoo import energies, kernels, picture, zoo
from latentzoo.energies.base import Energy, PerChain
from latentzoo.errors import SpecError
from latentzoo.generator import Encodable, Generator, Restricted, encode
from latentzoo.kernels.types import Kernel
from latentzoo.place import number_type, usable
from latentzoo.posterior import Posterior
from latentzoo.record import held, origin, places, schedule, spec
from latentzoo.record.shard import Shard, splittable
from latentzoo.rng import Rng
from latentzoo.run.probe import probe
from latentzoo.run.sampling import seeds
from latentzoo.run.starts import usual_tries
from latentzoo.run.strength import Watch, find
from latentzoo.run.walk import Walk, require_targets
from latentzoo.views.camera import Viewable, fan
from latentzoo.views.orbit import EachView, Views

NETWORKS = (
    *("generator", "family", "card", "options", "vary", "rest_seed"),
    *("energies", "energy_views", "device", "dtype", "compile"),
)
"""The fields of a record by which its networks are made."""


class Experiment:
    """Creates what a record describes; each part is made when it is first asked for.

    Arguments:
        run: The record; it stays as it is, see `resolved`.
        shard: Which of the run's chains are made; None makes all.

    Raises:
        SpecError: If the device cannot be used, or the run cannot be split so.
    """

    def __init__(self, run: spec.Run, shard: Shard | None = None) -> None:
        self.run = run if shard is None else splittable(run, schedule.kernel(run))
        self.shard, self.device = shard, usable(run.device)
        self.chains = range(run.chains) if shard is None else shard.chains(run)
        of = seeds(run.seed, run.chains, run.stream)
        self.rng = Rng(*(of[chain] for chain in self.chains), device=self.device)

    @cached_property
    def bare(self) -> Generator:
        """The generator itself, all of its blocks and one view."""
        run = self.run
        return zoo.load(
            run.generator,
            family=run.family,
            card=run.card,
            device=self.device,
            dtype=number_type(run.dtype),
            **zoo.own(run.options),
        )

    @cached_property
    def generator(self) -> Generator:
        """The map that is sampled: the blocks that vary, the views that are rated.

        Raises:
            SpecError: If views are asked of a map without a camera, or beside camera=latent.
        """
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
        rest = held.rest(self.run, generator.space, self.device)
        return Restricted(generator, tuple(self.run.vary), rest)

    @cached_property
    def weighted(self) -> dict[str, tuple[float, Energy]]:
        """Each energy with its weight, by its name in the trace."""
        found: dict[str, tuple[float, Energy]] = {}
        for term in self.run.energies:
            name = term.name or term.energy
            if name in found:
                name = f"{name}.{sum(other.split('.')[0] == name for other in found)}"
            model = term.model or zoo.companion(self.run.card or self.run.generator, term.energy)
            energy = self._rated(term, model)
            weight = energy.usual if term.weight is None else term.weight
            if self.run.energy_views > 1:
                energy = EachView(energy, self.run.energy_views)
            found[name] = weight, energy.to(self.device)
        return found

    def _rated(self, term: spec.Term, model: str | None) -> Energy:
        """The energy of a term; one without a target has the generator's prompts."""
        rate = lambda target: energies.load(term.energy, target, model=model, **term.options)
        if term.target.strip():
            return rate(term.target)
        prompts = self.run.options.get("prompt")
        if isinstance(prompts, str):
            return rate(prompts)
        if not isinstance(prompts, list):
            raise SpecError(
                f"the energy '{term.energy}' has no target, and the generator no prompt; write "
                f"{term.energy}=TARGET"
            )
        first = rate(prompts[0])
        each = {prompt: first.about(prompt) or rate(prompt) for prompt in dict.fromkeys(prompts)}
        return PerChain([each[prompt] for prompt in prompts])

    @property
    def unexamined(self) -> dict[str, str]:
        """What of the inputs of energies nobody looked at, and why."""
        each = (energy.assumed for _, energy in self.weighted.values())
        return {names: why for assumed in each for names, why in assumed.items()}

    @cached_property
    def energies(self) -> dict[str, Energy]:
        """The weighted energies by name, at the run's strength."""
        scale = 1.0 if self.run.scale is None else self.run.scale
        return {name: scale * weight * energy for name, (weight, energy) in self.weighted.items()}

    @cached_property
    def kernel(self) -> Kernel:
        """The kernel of the record, with the schedule that it follows."""
        return schedule.kernel(self.run)

    @cached_property
    def whole(self) -> Posterior:
        """The posterior of all of the run's chains.

        Raises:
            SpecError: If its targets are one per chain, and of another number.
        """
        phi = Posterior(
            self.generator,
            self.energies,
            micro_batch=self.run.micro_batch,
            compile=self.run.compile,
        )
        require_targets(phi, self.run.chains)
        return phi

    @cached_property
    def posterior(self) -> Posterior:
        """The posterior of the chains that are made."""
        return self.whole if self.shard is None else self.whole.select(torch.tensor(self.chains))

    @property
    def map(self) -> Generator:
        """The map of the chains that are made, where each chain has its own."""
        index = torch.tensor(self.chains)
        return self.generator if self.shard is None else self.generator.select(index)

    @cached_property
    def tries(self) -> int:
        """Of how many draws of the prior each chain picks its start."""
        given = self.run.init is not None
        return usual_tries(
            self.run.tries, self.posterior, self.kernel, self.run.steps, given=given
        )

    @property
    def resolved(self) -> spec.Run:
        """The record with nothing left open: weights, settings, number of tries, places of files and
        of faces."""
        run = places.located(self.run)
        if not run.energies:
            return run
        terms = [
            replace(term, weight=weight, options={**term.options, **energy.settled})
            for term, (weight, energy) in zip(run.energies, self.weighted.values(), strict=True)
        ]
        kernel = replace(run.kernel, settings=kernels.settings(self.kernel))
        return replace(run, energies=terms, kernel=kernel, tries=self.tries)

    def scaled(self, climb: Watch | None = None) -> tuple["Experiment", tuple[str, ...]]:
        """Finds the factor of the weights for the strength that is asked for, by one ladder.

        Arguments:
            climb: Called after every step of it.

        Returns:
            The experiment at that strength, itself if nothing is to be found, and what was found in
            words.
        """
        run = self.run
        if run.strength is None or run.scale is not None or not run.energies:
            return self, ()
        _ = self.probed  # before the ramp takes its time
        dim = self.generator.space.dim
        budget = {"steps": max(run.steps, 100), "seed": run.seed, "watch": climb}
        found = find(self.posterior, run.strength, dim=dim, **budget)
        other = self.sharing(replace(run, scale=found.factor), self.shard)
        other.__dict__["probed"] = self.probed
        return other, (found.note,)

    def sharing(self, run: spec.Run, shard: Shard | None = None) -> "Experiment":
        """The experiment of another record, or of some of its chains, with the networks of this one if they are the
        same."""
        other = Experiment(run, shard)
        if _networks(other.run) == _networks(self.run):
            for name in ("bare", "generator", "weighted"):
                other.__dict__[name] = getattr(self, name)
        return other

    @cached_property
    def probed(self) -> tuple[str, ...]:
        """What is to be said of the networks before anything is sampled; see `probe`.

        They are looked at with the first chains of the run and its last, whichever of them are made.
        """
        chains = sorted({0, min(1, self.run.chains - 1), self.run.chains - 1})
        of = seeds(self.run.seed, self.run.chains, self.run.stream)
        rng = Rng(*(of[chain] for chain in chains), device=self.device)
        phi = self.whole.select(torch.tensor(chains))
        return probe(phi, rng.normal(self.generator.space.dim))

    def walk(self) -> Walk:
        """The walk of this record, not yet begun."""
        run = self.run
        return Walk(
            self.posterior,
            self.kernel,
            self.rng,
            steps=run.steps,
            plan=run.plan,
            tries=self.tries,
            best=run.best,
            keep=run.keep,
            sights=schedule.sights(run, self.posterior.dim),
            part=self.shard is not None,
        )

    def begin(self, notes: tuple[str, ...] = ()) -> Walk:
        """The walk of this record at its start; `notes` is what was noticed before."""
        said = [
            self.bare.assumptions(),
            *(f"{names}: {why}" for names, why in self.unexamined.items()),
        ]
        notes = (*filter(None, said), *self.probed, *notes)
        walk = self.walk()
        z = self.begun(walk.draw(self.generator.space.dim))
        walk.notes = notes
        walk.begin(z)
        return walk

    def prior(self) -> Tensor:
        """Draws from the prior, (B, D), or the latents that `init` names."""
        return self.begun(self.rng.normal(self.generator.space.dim))

    def begun(self, z: Tensor) -> Tensor:
        """Where the chains begin, (B, D): at `init`, or at the draws `z`.

        Raises:
            SpecError: If there is nothing at `init`.
        """
        init = self.run.init
        if init is None:
            return z
        run = origin.chain_of(init)
        if run is None and not Path(init).exists():
            raise SpecError(
                f"{init}: there is no such picture, and no run folder before a #; give the path of a picture, or "
                "RUN#CHAIN"
            )
        if run is None:
            return self.encoded(Path(init)).to(z)
        return origin.latent(*run, self.generator.space).to(z).expand_as(z).clone()

    def encoded(self, path: Path) -> Tensor:
        """The latent of a picture for every chain, (B, D), a micro-batch at a time.

        Raises:
            SpecError: If the generator cannot encode.
        """
        generator = self.generator
        if not isinstance(generator, Encodable):
            raise SpecError(
                f"the generator '{self.run.generator}' cannot encode a picture; leave out init, "
                "or take a diffusion model (`latentzoo list`)"
            )
        image = picture.read(path, generator.size)
        chains = torch.arange(len(self.rng))
        parts = [
            encode(generator, image.expand(len(part), -1, -1, -1), self.rng.select(part))
            for part in chains.split(self.run.micro_batch or len(chains))
        ]
        return torch.cat(parts)


def _networks(run: spec.Run) -> tuple[Any, ...]:
    """What of a record decides which networks are loaded, and how."""
    return tuple(getattr(run, name) for name in NETWORKS)
